"""Harmless test bodies: EICAR bare and wrapped, and clean bytes that no two tests share.

Rules of this file: EICAR is put together at run time, so that no engine takes this file for it; clean bodies
are made from a name, so that no verdict cache can answer one test for another.
"""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import zipfile

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-" + b"TEST-FILE!$H+H*"


def clean(name: str, size: int) -> bytes:
    """So many pseudo-random bytes, the same for the same name, and no others."""
    return random.Random(name).randbytes(size)  # noqa: S311 - a pattern, not a secret


def infected(name: str, size: int) -> bytes:
    """Clean bytes of that size of which the last 68 are EICAR."""
    return clean(name, size - len(EICAR)) + EICAR


def zipped(data: bytes = EICAR, name: str = "eicar.com", depth: int = 1) -> bytes:
    """The data in a zip in so many zips."""
    for _ in range(depth):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        data, name = packed.getvalue(), "inner.zip"
    return data


def gzipped(data: bytes = EICAR) -> bytes:
    """The data as a gzip file."""
    return gzip.compress(data, mtime=0)


def tarred(data: bytes = EICAR) -> bytes:
    """The data in a tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("eicar.com")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def docx(data: bytes = EICAR) -> bytes:
    """A zip laid out like a word processor's file, the data as an embedded object."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", '<?xml version="1.0"?><Types/>')
        archive.writestr("word/document.xml", '<?xml version="1.0"?><w:document/>')
        archive.writestr("word/embeddings/oleObject1.bin", data)
    return packed.getvalue()


def multipart(data: bytes, boundary: str = "boundary7x") -> bytes:
    """A form upload with the data as one file."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="e.com"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    return (head + kind).encode() + data + f"\r\n--{boundary}--\r\n".encode()
