"""The one shape of an engine.

Rules of this file: a body is complete and never changes while an engine reads it; an engine answers with data
and never raises, whatever the peer does (only cancellation passes through); `free` is an engine's to grant on
one documented reply alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from policy.verdict import Coverage, Status


class Body(Protocol):
    """The bytes of one document, complete and frozen. Whoever made it closes it, after the last check
    ended."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def sha256(self) -> str:
        """Lower-case hex digest of the whole."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, without moving any shared position; b"" at the end."""

    def descriptor(self) -> int:
        """A new read-only descriptor at offset 0 with a position of its own; the caller closes it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine said of one body. `detail` is for people: the engine's words, or why there are none."""

    status: Status
    virus: str | None = None
    detail: str = ""


class Engine(Protocol):
    """One transport to one endpoint of one engine: asks, and understands the reply. Nothing else.

    `str()` of it names it for people: what it is, where, and by which transport.
    """

    @property
    def protocol(self) -> str:
        """The policy's word for what is spoken, e.g. `clamav-net`."""

    @property
    def coverage(self) -> Coverage:
        """What it can know."""

    @property
    def limit_setting(self) -> str:
        """What an administrator turns to have larger objects scanned; for a warning."""

    async def ask(self, body: Body) -> Answer:
        """Have the body scanned. Never raises but for cancellation, upon which every socket is closed at
        once.

        The caller bounds the time (`asyncio.timeout`); the engine has no deadline of its own."""

    async def version(self) -> str:
        """The engine and database version as the engine tells it; "" where it cannot be had. Never raises."""

    async def close(self) -> None:
        """Let go of what is held between two checks. Nothing is asked after this."""
