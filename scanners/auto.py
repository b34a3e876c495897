"""The engine `auto`: a proven clamd at the usual places, else the built-in engine, said loudly.

Rules of this file: a clamd is taken only once it was proven, an answer to PING is worth nothing; while there
is none the places are looked at again every minute; a clamd once taken is never given up for the built-in
engine: its loss is `error`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence

from policy.address import Address
from scanners.endpoint import Endpoint
from scanners.pool import Pool

_log = logging.getLogger("avsluice.scanners")

LOOK_AGAIN = 60.0
"""Seconds between two looks while no clamd was found."""

VARIABLE = "AVSLUICE_CLAMD"
"""Addresses to look at instead of the usual places, separated by commas; empty: none."""

CLAMD_PORT = 3310

BANNER = """\
************************************************************************************
*  NO ANTIVIRUS ENGINE WAS FOUND. Sluice runs on its built-in test signatures:     *
*  it recognises EICAR and GTUBE and NO REAL VIRUS. This is for trying things out. *
*  Install ClamAV's clamd; it will be found within a minute.                       *
************************************************************************************"""

_PLACES = (
    "/run/clamav/clamd.ctl",  # Debian, Ubuntu
    "/run/clamd.scan/clamd.sock",  # Fedora, RHEL
    "/run/clamav/clamd.sock",  # Alpine, Arch, containers
    "/tmp/clamd.socket",  # noqa: S108  (ClamAV's own sample configuration; what answers there must prove itself)
    "/opt/homebrew/var/run/clamav/clamd.sock",
    "/usr/local/var/run/clamav/clamd.sock",
    "127.0.0.1:3310",
)


def find_places(environment: Mapping[str, str] = os.environ) -> list[Address]:
    """Where a clamd may be. A ValueError names the environment's variable where it holds no addresses."""
    words = environment.get(VARIABLE)
    texts = _PLACES if words is None else [w.strip() for w in words.split(",") if w.strip()]
    try:
        return [Address.parse(text, CLAMD_PORT) for text in texts]
    except ValueError as why:
        raise ValueError(f"{VARIABLE}: {why}") from why


class AutoPool(Pool):
    """A pool of one: the clamd that was found, or the built-in engine for as long as there is none."""

    def __init__(self, places: Sequence[Address], open_clamd: Callable[[Address], Endpoint], builtin: Endpoint) -> None:
        super().__init__([builtin])
        self._places = tuple(places)
        self._open_clamd = open_clamd
        self._builtin = builtin
        self._told: list[str] = []
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks once, and goes on looking where nothing was found."""
        if await self._look():
            return
        self.banner = BANNER
        await super().start()
        # Held here until close() ends and awaits it.
        self._watch = asyncio.get_running_loop().create_task(self._look_again())

    async def close(self) -> None:
        """Ends the looking and closes what serves."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await super().close()
        await self._builtin.close()

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            try:
                found = await self._look()
            except Exception:
                _log.exception("looking for clamd failed; once more in %g s", LOOK_AGAIN)
                continue
            if found:
                # The built-in engine is closed with us: some check may still be asking it.
                self.banner = None
                return

    async def _look(self) -> bool:
        """Takes the first place, in their order, where a clamd proves itself; all are tried side by side."""
        tried = [self._open_clamd(place) for place in self._places if _may_be_there(place)]
        for endpoint in tried:
            endpoint.hush(quiet=True)
        taken: Endpoint | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for endpoint in tried:
                    tasks.create_task(endpoint.start())
            taken = next((e for e in tried if e.proven), None)
            self._tell_refused([e.failure for e in tried if not e.proven])
        finally:
            for endpoint in tried:
                if endpoint is not taken:
                    await endpoint.close()
        if taken is None:
            return False
        taken.hush(quiet=False)
        self._serve([taken])
        _log.info("auto: found %s, %s", taken.engine, taken.version or "which tells no version")
        return True

    def _tell_refused(self, failures: list[str]) -> None:
        """Once, not every minute."""
        if failures != self._told:
            self._told = failures
            for failure in failures:
                _log.info("auto: not taken: %s", failure)


def _may_be_there(place: Address) -> bool:
    return place.unix is None or os.path.exists(place.unix)
