"""Coded bodies that are something else to whoever does not decode them."""

from __future__ import annotations

import gzip

import pytest

from addons.body.polyglots import reads_as_a_file
from scanners.body import MemoryBody
from tests.http import samples
from tests.http.variants.packing import brotli_metadata

FILES = {
    "zip in metadata": brotli_metadata(b"page", samples.zipped()),
    "zip and 60 KB": samples.zipped() + bytes(60_000),
    "RAR": b"\x1f\x8b" + bytes(9000) + b"Rar!\x1a\7\1\0",
    "7z": b"\x1f\x8b7z\xbc\xaf\x27\x1c",
    "PDF": b"\x1f\x8b" + bytes(900) + b"%PDF-1.7",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_seen(name: str) -> None:
    """Where readers look for it there is an archive or a PDF."""
    assert reads_as_a_file(MemoryBody(FILES[name]))


@pytest.mark.parametrize("plain", [b"a page" * 999, samples.clean("coded", 300_000)], ids=["page", "noise"])
def test_what_is_coded_is_nothing_else(plain: bytes) -> None:
    """Usual bodies are not suspected, nor is an empty one."""
    assert not reads_as_a_file(MemoryBody(gzip.compress(plain)))
    assert not reads_as_a_file(MemoryBody(b""))
