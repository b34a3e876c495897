"""What an engine says, made fit for people and records.

Rule of this file: whatever the bytes, no control or bidi character gets through, and little of them.
"""

from __future__ import annotations

_NAME_LIMIT = 255


def printable(words: bytes) -> str:
    """For people and records: control characters and what is not UTF-8 as escapes, at most 255 characters."""
    text = words[: 4 * _NAME_LIMIT].decode(errors="backslashreplace")
    if text.isprintable() and len(text) <= _NAME_LIMIT:
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= _NAME_LIMIT else shown[: _NAME_LIMIT - 3] + "..."
