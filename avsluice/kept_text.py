"""Quarantine entries as lines for people, and as JSON.

Rules of this file: whatever a peer chose is made visible before it gets to a terminal; content only where it was
asked for, cut and escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from avsluice.kept import Kept
from avsluice.table import align
from inspection.record import visible

SHOWN = 64 * 1024  # bytes of content that `show --content` shows
_HEAD = ("ID", "TIME", "SIZE", "STATUS", "VIRUS", "PROXY", "WHAT")
_WIDEST = 160  # characters of a cell


def spell_json(kept: Kept, **more: object) -> str:
    """One line: the metadata, and the directory."""
    known = {**kept.known, "id": kept.id, "size": kept.entry.size, "directory": str(kept.store.directory)}
    return json.dumps(known | more, default=str)


def spell_table(entries: list[Kept]) -> list[str]:
    """One line an entry under a head; nothing where there is none."""
    return align([_HEAD, *map(_row, entries)]) if entries else []


def _row(kept: Kept) -> tuple[str, ...]:
    known = kept.known
    time = str(known.get("time") or "-")[:19]
    cells = (kept.id, time, str(kept.entry.size), known.get("status"), known.get("virus"), known.get("proxy"))
    return tuple(visible(str(cell or "-"), _WIDEST) for cell in (*cells, describe(kept)))


def describe(kept: Kept) -> str:
    """What it is: a mail's sender, recipients and subject; a file's name, or where it came from."""
    known = kept.known
    if not kept.is_mail:
        return str(known.get("filename") or known.get("object") or known.get("content_type") or "")
    recipients = kept.texts("recipients")
    more = f" (+{len(recipients) - 1})" if len(recipients) > 1 else ""
    envelope = f"<{known.get('sender', '')}> -> {recipients[0]}{more}" if recipients else str(known.get("mailbox", ""))
    return f"{envelope}  {known['subject']}" if known.get("subject") else envelope


def spell_entry(kept: Kept, content: bytes | None = None) -> Iterator[str]:
    """All that is known, a line a field; lists below each other."""
    rows = {"id": kept.id, "directory": str(kept.store.directory), **kept.known, "size": kept.entry.size}
    for name, value in rows.items():
        if isinstance(value, list):
            yield visible(f"{name}:")
            yield from (f"  {visible(_spell_item(item))}" for item in value)
        elif value not in (None, ""):
            yield f"{visible(name)}: {visible(str(value))}"
    if content is not None:
        yield ""
        yield from (visible(line, SHOWN) for line in spell_content(content).split("\n"))
        if kept.entry.size > len(content):
            yield f"[{len(content)} of {kept.entry.size} bytes; `export` writes all of them]"


def _spell_item(item: object) -> str:
    if isinstance(item, Mapping):
        return "  ".join(f"{name}={value}" for name, value in item.items() if value is not None)
    return str(item)


def spell_content(content: bytes) -> str:
    """Content as text, what is no UTF-8 as \\xNN; still to be made visible."""
    return content.decode("utf-8", "backslashreplace").replace("\r\n", "\n")


def spell_done(kept: Kept, done: Mapping[str, Any], *, as_json: bool) -> str:
    """What was done to an entry."""
    if as_json:
        return json.dumps({"id": kept.id, **done}, default=str)
    return " ".join([f"{kept.id}:", *(visible(_spell_fact(name, value)) for name, value in done.items())])


def _spell_fact(name: str, value: object) -> str:
    if value is True:
        return name
    return f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
