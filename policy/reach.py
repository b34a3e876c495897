"""Which ACLs of a list can ever match, judged from their conditions alone.

Rules of this file: an ACL is called unreachable only where that is certain; conditions on different things
are taken as independent; the statuses and directions, which are few, are judged one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from typing import Any, Protocol

from policy.comparison import Comparison
from policy.conditions import When
from policy.globs import compile_globs, is_glob
from policy.verdict import Status

type Cell = tuple[Status, str]

CELLS: tuple[Cell, ...] = tuple(product(Status, ("download", "upload")))


class Rule(Protocol):
    """Any ACL."""

    @property
    def name(self) -> str: ...
    @property
    def when(self) -> When: ...


def find_covers(acls: Sequence[Rule]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each ACL that can never match, by number, and the earlier ones that take all it would."""
    for n, acl in enumerate(acls):
        covers = [_cover(acl, acls[:n], cell) for cell in CELLS if _asks_for(acl, cell)]
        if covers and all(covers):
            yield n, tuple(earlier.name for earlier in acls[:n] if any(earlier is c for c in covers))


def candidates[A: Rule](acls: Sequence[A], status: Status) -> Iterator[A]:
    """The ACLs that could be the first to match something of that status."""
    for n, acl in enumerate(acls):
        cells = [c for c in CELLS if c[0] is status and _asks_for(acl, c)]
        if any(_cover(acl, acls[:n], cell) is None for cell in cells):
            yield acl


def _asks_for(acl: Rule, cell: Cell) -> bool:
    statuses, directions = _named(acl, "virus_status"), _named(acl, "direction")
    return cell[0] in (statuses or Status) and cell[1] in (directions or (cell[1],))


def _cover(acl: Rule, earlier: Iterable[Rule], cell: Cell) -> Rule | None:
    return next((e for e in earlier if _asks_for(e, cell) and _is_wider(e, acl)), None)


def _named(acl: Rule, key: str) -> tuple[Any, ...]:
    return getattr(acl.when, key, None) or ()


def _is_wider(wide: Rule, narrow: Rule) -> bool:
    """Whether everything that `narrow` matches would match `wide`, statuses and directions aside."""
    commands = getattr(wide, "commands", None)
    if commands is not None and not set(commands) >= set(getattr(narrow, "commands", None) or {""}):
        return False
    keys = wide.when.model_fields_set - {"virus_status", "direction"}
    return all(_contains(_named(wide, key), _named(narrow, key), key) for key in keys)


def _contains(wide: tuple[Any, ...], narrow: tuple[Any, ...], key: str) -> bool:
    return bool(narrow) and all(any(_one_contains(w, n, key) for w in wide) for n in narrow)


def _one_contains(wide: object, narrow: object, key: str) -> bool:
    if wide == narrow:
        return True
    if isinstance(wide, str) and isinstance(narrow, str):
        if key == "extension":
            wide, narrow = wide.removeprefix("."), narrow.removeprefix(".")
        return wide == "*" or (not is_glob(narrow) and _matcher(wide)(narrow))
    if isinstance(wide, IPv4Network) and isinstance(narrow, IPv4Network):
        return narrow.subnet_of(wide)
    if isinstance(wide, IPv6Network) and isinstance(narrow, IPv6Network):
        return narrow.subnet_of(wide)
    if isinstance(wide, Comparison) and isinstance(narrow, Comparison):
        return wide.lowest <= narrow.lowest and narrow.highest <= wide.highest
    return False


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], bool]:
    return compile_globs([pattern])
