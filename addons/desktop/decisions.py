"""The last decisions, for whoever sits at this machine and asks why.

Rules of this file: bounded in number; what was refused is not pushed out by what passed; nothing is kept that the
audit record would not say, so nothing outlives the process either.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from itertools import islice

from addons.desktop.account import Account, passed

CAPACITY = 200  # of all, and again of those that were refused


class Decisions:
    """Remembers accounts by their ids. `counts` are those since the start, by status (None: no engine was asked)."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.counts: Counter[str | None] = Counter()
        self.refusals = 0
        self._capacity = capacity
        self._all: OrderedDict[str, Account] = OrderedDict()
        self._refused: OrderedDict[str, Account] = OrderedDict()

    def __repr__(self) -> str:
        return f"Decisions({len(self._all)}, {len(self._refused)} refused)"

    def note(self, account: Account) -> None:
        """One more; the oldest is forgotten where there are too many."""
        self.counts[account["status"]] += 1
        self._keep(self._all, account)
        if not passed(account):
            self.refusals += 1
            self._keep(self._refused, account)

    def _keep(self, kept: OrderedDict[str, Account], account: Account) -> None:
        kept[account["id"]] = account
        if len(kept) > self._capacity:
            kept.popitem(last=False)

    def latest(self, limit: int = CAPACITY, *, refused: bool = False) -> list[Account]:
        """The newest first, at most `limit`; with `refused` only those that did not pass."""
        return list(islice(reversed((self._refused if refused else self._all).values()), limit))

    def find(self, entry: str) -> Account | None:
        """The account of that id, as long as it is remembered."""
        return self._refused.get(entry) or self._all.get(entry)
