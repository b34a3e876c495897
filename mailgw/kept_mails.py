"""Mails that are in the quarantine already, though the client will come for them, or with them, again.

Rules of this file: no I/O; a bounded number; the oldest is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict

_REMEMBERED = 1000


class KeptMails:
    """Which entry a mail is kept as, by whatever tells mails apart."""

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[object, ...], str] = OrderedDict()

    def remember(self, key: tuple[object, ...], entry: str) -> None:
        """The mail of this key is kept as `entry`, and will come again."""
        self._ids[key] = entry
        self._ids.move_to_end(key)
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)

    def recall(self, key: tuple[object, ...]) -> str | None:
        """The entry of a mail that came before."""
        return self._ids.get(key)

    def forget(self, key: tuple[object, ...]) -> None:
        """The mail went on: should it come again, it is another one."""
        self._ids.pop(key, None)
