"""The end of the gateway's work: nobody new comes in, who is here may finish, and then it is over visibly.

Rules of this file: it is asked for once, a second time means now; whoever is still served at the end sees a failure,
a reset where a close would look like an end; it takes no longer than its patience and a moment.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.proxyserver import Proxyserver

from addons.visit import visits
from inspection.host import Orders, Witness
from policy.scalars import parse_duration

logger = logging.getLogger(__name__)

PATIENCE = "30s"  # for the transfers under way
_LOOK = 0.05  # seconds between two looks at who is still here
_LAST_WORDS = 1.0  # seconds for the error pages and resets of what was cut


class Drain:
    """`cut` ends all transfers. `then` is called, once, when nobody is served any more."""

    def __init__(self, server: Proxyserver | None, cut: Callable[[], None], then: Callable[[], None]) -> None:
        self._server = server
        self._cut = cut
        self._then = then
        self._loop = asyncio.get_running_loop()
        self._until: float | None = None  # the end of the patience
        self._task: asyncio.Task[None] | None = None

    def begin(self, patience: float) -> None:
        """Take leave of everybody, in the background, for `patience` seconds at the most; called again, at once."""
        if self._until is not None:
            logger.warning("antivirus: asked to end a second time: what is under way is cut")
            self._until = self._loop.time()
            return
        logger.info("antivirus: no new connections; what is under way has %g s", patience)
        self._until = self._loop.time() + patience
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            if self._server is not None:
                await self._server.servers.update([])
            await self._see_off()
        finally:
            for visit in visits():
                visit.cut()
            self._then()

    async def _see_off(self) -> None:
        if await self._empties():
            return
        logger.warning("antivirus: %d connections are still served: they are cut", len(visits()))
        self._cut()
        self._until = self._loop.time() + _LAST_WORDS
        await self._empties()

    async def _empties(self) -> bool:
        """Bow everybody out who is not served, as soon as that is so; False where some are left in the end."""
        while True:
            for visit in visits():
                if not visit.is_busy:
                    visit.bow_out()
            if not visits():
                return True
            if self._until is None or self._loop.time() >= self._until:
                return False
            await asyncio.sleep(_LOOK)


class DrainAddon:
    """Lets mitmproxy drain where a signal asks it to end: SIGTERM, and SIGINT but for the console, which asks first."""

    name = "sluice-drain"

    def __init__(self, cut: Callable[[], None], witness: Witness, reload: Callable[[], None]) -> None:
        self._cut = cut
        self._witness = witness
        self._reload = reload
        self._attends = False
        self._signals: list[signal.Signals] = []
        self._drain: Drain | None = None

    def load(self, loader: Loader) -> None:
        """The one option."""
        loader.add_option("av_drain", str, PATIENCE, "How long transfers under way may take after SIGTERM, e.g. 30s.")

    def configure(self, updated: set[str]) -> None:
        """Refuse what is no duration."""
        if "av_drain" in updated:
            try:
                parse_duration(ctx.options.av_drain)
            except ValueError as error:
                raise exceptions.OptionsError(f"av_drain: {error}") from error

    def running(self) -> None:
        """Take the signals over. May be called twice."""
        self._signals = [signal.SIGTERM]
        if not hasattr(ctx.master, "prompt_for_exit"):
            self._signals.append(signal.SIGINT)
        for number in self._signals:
            asyncio.get_running_loop().add_signal_handler(number, self.begin)
        if not self._attends:
            self._attends = True
            self._witness.attend(Orders(self._begin_once, self._end_now, self._reload))

    def done(self) -> None:
        """Give the signals back to mitmproxy."""
        for number in self._signals:
            asyncio.get_running_loop().add_signal_handler(number, ctx.master.shutdown)
        self._signals.clear()

    def begin(self) -> None:
        """End, in an orderly way; asked again, at once."""
        if self._drain is None:
            server: Proxyserver | None = ctx.master.addons.get("proxyserver")
            self._drain = Drain(server, self._cut, ctx.master.shutdown)
            self._witness.stopping()
        self._drain.begin(parse_duration(ctx.options.av_drain))

    def _begin_once(self) -> None:
        if self._drain is None:
            self.begin()

    def _end_now(self) -> None:
        self._begin_once()
        self.begin()
