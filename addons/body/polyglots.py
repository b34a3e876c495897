"""Coded bodies that are a file of another kind to whoever does not decode them.

Rules of this file: pure; a suspicion and no proof, which costs a second check or a delivery as identity; it is looked
for where readers look: an archive's end near the end, other archives behind a loader, a PDF near its beginning.
"""

from __future__ import annotations

from typing import Protocol

# As far back as readers of zip files look for their end (APPNOTE 4.3.16: 22 bytes and a comment), and some more.
_BACK = 66 * 1024
_AHEAD = 1024 * 1024  # as far as 7-Zip looks for an archive behind a loader
_PDF_AHEAD = 1024  # as far as readers of PDF look for its header

_ZIP_END = b"PK\5\6"
_BEGINNINGS = (b"Rar!\x1a\7", b"7z\xbc\xaf\x27\x1c", b"MSCF\0\0\0\0")
_PDF = b"%PDF-"


class Bytes(Protocol):
    """Bytes at any place."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`."""


def reads_as_a_file(coded: Bytes) -> bool:
    """True where the bytes of a complete coded body hold what makes an archive or a PDF."""
    if _ZIP_END in coded.read(max(0, coded.size - _BACK), _BACK):
        return True
    ahead = coded.read(0, _AHEAD)
    return _PDF in ahead[:_PDF_AHEAD] or any(beginning in ahead for beginning in _BEGINNINGS)
