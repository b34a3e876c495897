"""Clients' connections: how many there are, and whether one more may be.

Rules of this file: a connection counts from the moment it is admitted until it is left, whatever becomes of the
policy in between; one that was refused counts for nothing.
"""

from __future__ import annotations

from collections import Counter

from policy.model.gateway import Limits


class Sessions:
    """Counts connections, in all and per client address."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._per_client: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, connection: str, address: str, limits: Limits) -> str | None:
        """Count the connection of that id, or say why there is no room for it."""
        if len(self._addresses) >= limits.connections:
            return f"limits.connections: there are {limits.connections} connections already"
        if self._per_client.get(address, 0) >= limits.per_client:
            return f"limits.per-client: there are {limits.per_client} connections of {address} already"
        self._addresses[connection] = address
        self._per_client[address] += 1
        return None

    def leave(self, connection: str) -> None:
        """The connection has ended. One that was not counted is none."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        self._per_client[address] -= 1
        if not self._per_client[address]:
            del self._per_client[address]

    def __repr__(self) -> str:
        return f"Sessions({len(self)} of {len(self._per_client)} clients)"
