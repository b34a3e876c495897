"""The endpoints that stand behind one policy section.

Rules of this file: the endpoints are equal; of the healthiest the one with the fewest checks is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from policy.verdict import Coverage
from scanners.endpoint import Endpoint


class Pool:
    """A set of endpoints, at least one."""

    banner: str | None = None

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self._on_fall: Callable[[], None] | None = None
        self._on_wait: Callable[[float], None] | None = None

    def watch(self, on_fall: Callable[[], None]) -> None:
        """Calls this whenever one of the endpoints fails to prove itself."""
        self._on_fall = on_fall
        self._serve(self.endpoints)

    def observe_waits(self, observe: Callable[[float], None]) -> None:
        """Calls this with the seconds that each check waited for its place."""
        self._on_wait = observe
        self._serve(self.endpoints)

    def _serve(self, endpoints: Sequence[Endpoint]) -> None:
        """From now on these are the endpoints."""
        self.endpoints = tuple(endpoints)
        for endpoint in self.endpoints:
            endpoint.watch(self._on_fall)
            endpoint.on_wait = self._on_wait

    @property
    def coverage(self) -> Coverage:
        """What the engine behind it can know."""
        return self.endpoints[0].engine.coverage

    @property
    def proven(self) -> bool:
        """Whether at least one endpoint can be used."""
        return any(e.proven for e in self.endpoints)

    async def start(self) -> None:
        """Every endpoint's first proof, side by side."""
        async with asyncio.TaskGroup() as tasks:
            for endpoint in self.endpoints:
                tasks.create_task(endpoint.start())

    async def close(self) -> None:
        """Closes every endpoint."""
        for endpoint in self.endpoints:
            await endpoint.close()

    def skips(self, size: int) -> bool:
        """Whether no endpoint scans an object of that size."""
        return all(e.skips(size) for e in self.endpoints)

    def pick(self, size: int, but: Collection[Endpoint] = ()) -> Endpoint | None:
        """The healthiest, least busy endpoint for an object of that size; None where all are in `but`."""
        if len(self.endpoints) == 1:
            return None if but else self.endpoints[0]
        left = [e for e in self.endpoints if e not in but]
        return min(left, key=lambda e: (e.skips(size), e.health, e.load), default=None)
