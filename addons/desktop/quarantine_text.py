"""A quarantine's entries as lines for people.

Rules of this file: blocks, for it reads the directory; content is never read; whatever a peer chose is made visible.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspection.quarantine import Entry, Quarantine
from inspection.record import visible

LISTED = 50  # entries that a list shows, the newest first


def list_entries(quarantine: Quarantine) -> Iterator[str]:
    """One line an entry. Raises QuarantineError."""
    entries = quarantine.entries()
    size = sum(entry.size for entry in entries)
    yield f"quarantine: {len(entries)} entries, {size} B" + (f"; the newest {LISTED}:" if len(entries) > LISTED else "")
    for entry in entries[: -LISTED - 1 : -1]:
        known = entry.metadata
        words = [entry.id, known.get("time"), known.get("status"), known.get("virus"), f"{entry.size} B"]
        yield "  " + visible(" ".join(str(word) for word in [*words, known.get("filename")] if word))


def show_entry(quarantine: Quarantine, entry: str) -> Iterator[str]:
    """All that is known of one entry. Raises QuarantineError; LookupError where there is no such entry."""
    found = next((known for known in quarantine.entries() if known.id == entry), None)
    if found is None:
        raise LookupError(f"the quarantine has no entry {visible(entry, 40)}")
    yield from _show(found)


def _show(entry: Entry) -> Iterator[str]:
    yield f"quarantine entry {entry.id}"
    for name, value in entry.metadata.items():
        if value not in (None, ""):
            yield visible(f"  {name + ':':<14}{value}")
