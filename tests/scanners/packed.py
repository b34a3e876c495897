"""Objects packed in many ways, made by the standard library and not by the code under test."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file with another member before the data."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("first.txt", b"first")
        archive.writestr("data.bin", data)
    return out.getvalue()


def encrypted_zip(data: bytes) -> bytes:
    """A zip file whose second member says that it is encrypted."""
    raw = bytearray(zipped(data, zipfile.ZIP_STORED))
    local, central = raw.rindex(b"PK\x03\x04"), raw.rindex(b"PK\x01\x02")
    raw[local + 6] |= 1
    raw[central + 8] |= 1
    return bytes(raw)


def tarred(data: bytes, mode: str = "w", form: int = tarfile.USTAR_FORMAT, name: str = "data.bin") -> bytes:
    """A tar file with another member before the data; `mode` as tarfile has it, e.g. "w:gz"."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as archive:  # type: ignore[call-overload]  # any mode
        for member, content in (("first.txt", b"first"), (name, data)):
            head = tarfile.TarInfo(member)
            head.size = len(content)
            archive.addfile(head, io.BytesIO(content))
    return out.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
    "zip-stored": lambda data: zipped(data, zipfile.ZIP_STORED),
    "tar": tarred,
    "tar.gz": lambda data: tarred(data, "w:gz"),
    "tar.bz2": lambda data: tarred(data, "w:bz2"),
    "tar.xz": lambda data: tarred(data, "w:xz"),
}
