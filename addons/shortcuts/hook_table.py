"""mitmproxy's way from an event to the addons, remembered instead of searched anew at every event.

Rules of this file: the same addons are called in the same order and with the same rules as by
`AddonManager.trigger_event`, but for those that would look and leave (`resting_addons`); whatever adds or removes an
addon, or changes an option, empties the table; a mitmproxy whose manager is not the one that this was
written against keeps its own way.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from mitmproxy import exceptions, hooks, version
from mitmproxy.addonmanager import AddonManager, safecall

from addons.shortcuts import lookups
from addons.shortcuts.resting_addons import rests

# Whose AddonManager was read and compared with, rule by rule.
KNOWN_VERSIONS = ("12.2.",)

# The hook functions of one addon of the chain and of what it holds: an error in one keeps the rest of its group silent.
type _Group = tuple[Callable[..., Awaitable[None] | None], ...]


class HookTable:
    """Stands in for one manager's `trigger_event` between `install` and `remove`; each may be called twice.

    mitmproxy asks each of its three dozen addons at each of some ten events of a request whether it has a function of
    that name; few have. Addons that get hook functions after they were registered are found at the next change."""

    def __init__(self, manager: AddonManager) -> None:
        self._manager = manager
        self._groups: dict[str, tuple[_Group, ...]] = {}
        self._chain: list[object] = []
        self._length = 0

    @staticmethod
    def fits(mitmproxy: str = version.VERSION) -> bool:
        """True for a mitmproxy whose own way is known here."""
        return mitmproxy.startswith(KNOWN_VERSIONS)

    def install(self) -> None:
        """Take over. The manager's own methods stay what they are; the object gets others."""
        self._groups.clear()
        lookups.install()
        vars(self._manager).update(
            trigger_event=self.trigger_event,
            register=self._then_forget(AddonManager.register),
            remove=self._then_forget(AddonManager.remove),
        )

    def remove(self) -> None:
        """Give the manager its own way back."""
        lookups.remove()
        for name in ("trigger_event", "register", "remove"):
            vars(self._manager).pop(name, None)

    def forget(self) -> None:
        """To be called when options have changed: who rests may not rest any more."""
        self._groups.clear()

    def _then_forget(self, method: Callable[[AddonManager, object], object]) -> Callable[[object], object]:
        def change(addon: object) -> object:
            try:
                return method(self._manager, addon)
            finally:  # also where it failed half-way
                self._groups.clear()

        return change

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Call every addon's function for an event, in the chain's order, until one halts it."""
        groups = self._find(event)
        args = event.args() if groups else ()
        for group in groups:
            try:
                for function in group:
                    result = function(*args)
                    if result is not None and inspect.isawaitable(result):
                        await result
            except exceptions.AddonHalt:
                return
            except Exception as error:
                with safecall():  # mitmproxy's own word on what may go on, and its log
                    raise error

    def _find(self, event: hooks.Hook) -> tuple[_Group, ...]:
        chain = self._manager.chain
        if chain is not self._chain or len(chain) != self._length:
            self._chain, self._length = chain, len(chain)
            self._groups.clear()
        groups = self._groups.get(event.name)
        if groups is None:
            groups = self._groups[event.name] = self._search(event)
        return groups

    def _search(self, event: hooks.Hook) -> tuple[_Group, ...]:
        found = (tuple(self._functions(addon, event)) for addon in self._chain)
        return tuple(group for group in found if group)

    def _functions(self, addon: object, event: hooks.Hook) -> Iterator[Callable[..., Any]]:
        """What is no function and no module is an error at each event, as in mitmproxy."""
        options = self._manager.master.options
        try:
            for holder, function in self._manager._iter_hooks(addon, event):
                if not rests(holder, event.name, options):
                    yield function
        except exceptions.AddonManagerError as error:
            yield partial(_fail, str(error))


def _fail(why: str, *_args: object) -> None:
    raise exceptions.AddonManagerError(why)
