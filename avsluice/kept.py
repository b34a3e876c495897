"""The entries that a `quarantine` command is about: in which directories, and which of them.

Rules of this file: running gateways may add and remove entries meanwhile, and that is no error; an id is looked at
before it is used as a name; what was written by a peer is compared, never believed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.quarantine import Quarantine
from inspection.record import is_id
from inspection.shelf import Entry, Shelf
from policy.model import Policy
from policy.model.stores import Quarantine as Section


@dataclass(frozen=True, slots=True)
class Store:
    """One quarantine of the policy: its directory and its terms."""

    directory: Path
    section: Section

    @property
    def shelf(self) -> Shelf:
        """The entries' files."""
        return Shelf(self.directory)

    def open(self, max_age: float | None = None) -> Quarantine:
        """The quarantine, to be expired; `max_age` in seconds instead of the policy's."""
        section = self.section
        return Quarantine(
            self.directory,
            max_age=section.max_age if max_age is None else max_age,
            max_size=section.max_size,
            on_full=section.on_full,
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry, and where it lies."""

    store: Store
    entry: Entry

    @property
    def id(self) -> str:
        """One of `new_id`."""
        return self.entry.id

    @property
    def known(self) -> Mapping[str, Any]:
        """The metadata."""
        return self.entry.metadata

    @property
    def is_mail(self) -> bool:
        """Whether a mail gateway kept it."""
        return self.known.get("event") == "mail"

    @property
    def at(self) -> datetime:
        """When it was kept. Where its time cannot be read: 1970, so that it counts as old."""
        try:
            at = datetime.fromisoformat(str(self.known.get("time")))
        except ValueError:
            return datetime.fromtimestamp(0, UTC)
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    def texts(self, name: str) -> list[str]:
        """A field as texts: a list's members, or the one that there is."""
        value = self.known.get(name)
        return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]


def find_stores(policy: Policy) -> list[Store]:
    """The policy's own quarantine and those of its gateways, disabled ones too; each directory once."""
    sections = [policy.quarantine, *(g.quarantine for _, g in policy.gateways() if g.quarantine is not None)]
    found: dict[Path, Store] = {}
    for section in sections:
        if section.directory is not None:
            found.setdefault(section.directory.resolve(), Store(section.directory, section))
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which entries. What is None or empty asks nothing; texts may hold `*` and `?`, case does not matter.

    `older`, `newer` in seconds before now."""

    older: float | None = None
    newer: float | None = None
    status: tuple[str, ...] = ()
    virus: str | None = None
    sender: str | None = None
    recipient: str | None = None
    proxy: str | None = None
    tag: str | None = None

    @property
    def asks(self) -> bool:
        """Whether it leaves anything out."""
        return self != Filter()

    def matches(self, kept: Kept, now: datetime) -> bool:
        """Whether the entry is one of those asked for."""
        age = (now - kept.at).total_seconds()
        return all(
            (
                self.older is None or age >= self.older,
                self.newer is None or age <= self.newer,
                not self.status or kept.known.get("status") in self.status,
                _like(self.virus, [*kept.texts("virus"), *_viruses(kept)]),
                _like(self.sender, kept.texts("sender")),
                _like(self.recipient, kept.texts("recipients")),
                _like(self.proxy, kept.texts("proxy")),
                _like(self.tag, kept.texts("tag")),
            )
        )


def _viruses(kept: Kept) -> Iterator[str]:
    documents = kept.known.get("documents")
    for document in documents if isinstance(documents, list) else []:
        if isinstance(document, dict) and document.get("virus"):
            yield str(document["virus"])


def _like(pattern: str | None, texts: Iterable[str]) -> bool:
    return pattern is None or any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for text in texts)


def find_all(stores: Iterable[Store], wanted: Filter) -> list[Kept]:
    """The entries that the filter asks for, the oldest first. OSError where a directory cannot be read."""
    now = datetime.now(UTC)
    found = [Kept(store, entry) for store in stores for entry in store.shelf.entries()]
    return sorted((kept for kept in found if wanted.matches(kept, now)), key=lambda kept: kept.id)


def find_by_id(stores: Iterable[Store], ids: Iterable[str], missing: Callable[[str], None]) -> Iterator[Kept]:
    """The entries of those ids, each once; `missing` is told of each that is not there."""
    stores = list(stores)
    for entry_id in dict.fromkeys(ids):
        entries = ((store, store.shelf.read(entry_id)) for store in stores) if is_id(entry_id) else iter(())
        found = next((Kept(store, entry) for store, entry in entries if entry is not None), None)
        if found is None:
            missing(entry_id)
        else:
            yield found
