"""The true type by content."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.magic import HEAD, recognise


def packed_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("a", "a")
    return out.getvalue()


def packed_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        t.addfile(tarfile.TarInfo("a"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"MZ\x90\x00", "application/x-dosexec"),
        (b"\x7fELF\x02", "application/x-executable"),
        (packed_zip(), "application/zip"),
        (packed_tar(), "application/x-tar"),
        (b"junk\n%PDF-1.7", "application/pdf"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\xef\xbb\xbf  <!DOCTYPE html>", "text/html"),
        (b"<?xml version='1.0'?>", "text/xml"),
        (b"#!/bin/sh\n", "text/x-shellscript"),
        (b"hello", "text/plain"),
        (b"\xff\xfeh\x00", "text/plain"),
        (b"\x00\x01\x02", "application/octet-stream"),
        (b"", "application/x-empty"),
    ],
)
def test_type_is_told_by_the_first_bytes(head: bytes, name: str):
    """Programs, archives, documents, pictures and text are told apart without a name."""
    assert recognise(head) == name


@given(st.binary(max_size=64))
def test_any_bytes_have_one_type(data: bytes):
    """Whatever comes has a type, and bytes beyond the head change nothing."""
    name = recognise(data.ljust(HEAD, b"x"))
    assert "/" in name
    assert recognise(data.ljust(HEAD, b"x") + b"\x00MZ") == name
