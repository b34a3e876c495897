"""Archives that say what they are, and archives that say something else: by name, type, and what stands around."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from tests.http.variants.packing import ARCHIVES, CODERS
from tests.http.variants.variant import Field, Variant, sized

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"

# The fields beside the archive.
GUISES: dict[str, list[Field]] = {
    "octet-stream": [(b"Content-Type", b"application/octet-stream")],
    "image/jpeg": [(b"Content-Type", b"image/jpeg"), (b"Content-Disposition", b"inline; filename=a.jpg")],
    "text/html": [(b"Content-Type", b"text/html; charset=utf-8")],
    "video": [(b"Content-Type", b"video/mp4"), (b"Content-Disposition", b'attachment; filename="a.mp4"')],
    "no type": [],
    "two types": [(b"Content-Type", b"image/png"), (b"Content-Type", b"application/zip")],
    "broken type": [(b"Content-Type", b";;=")],
}

# What stands around a zip, which its readers look for from the end. The harmless ones are no clean files to anybody.
SURROUNDINGS: dict[str, Callable[[bytes], bytes]] = {
    "JPEG before": lambda data: JPEG + data,
    "GIF before": lambda data: GIF + data,
    "PDF before": lambda data: PDF + data,
    "HTML before": lambda data: b"<!doctype html><p>hello</p><!--\n" + data,
    "a kilobyte before": lambda data: b"\n" * 1024 + data,
    "a megabyte before": lambda data: b"\n" * (1 << 20) + data,
    "comment behind": lambda data: data[:-2] + b"\7\0comment",
    "bytes behind": lambda data: data + b"bytes behind the end",
    "line end behind": lambda data: data + b"\r\n",
    "zip before": lambda data: ARCHIVES["zip"](b"harmless") + data,
}


def guises() -> Iterator[Variant]:
    """Each archive in each guise, and under a coding."""
    for (archive, pack), (guise, fields) in itertools.product(ARCHIVES.items(), GUISES.items()):
        yield Variant(
            kind="archive: guise",
            name=f"{archive} as {guise}",
            reply=lambda payload, pack=pack, fields=fields: sized(fields, pack(payload)),  # type: ignore[misc]
        )
    for (archive, pack), (coder, (token, code)) in itertools.product(ARCHIVES.items(), CODERS.items()):
        fields = [(b"Content-Type", b"text/plain"), (b"Content-Encoding", token.encode())]
        yield Variant(
            kind="archive: under a coding",
            name=f"{archive} under {coder}",
            reply=lambda payload, pack=pack, fields=fields, code=code: sized(fields, code(pack(payload))),  # type: ignore[misc]
            valid=coder != "raw",
        )


def surroundings() -> Iterator[Variant]:
    """A zip with bytes before and behind."""
    for (name, surround), guise in itertools.product(SURROUNDINGS.items(), ("octet-stream", "image/jpeg")):

        def build(payload: bytes, surround: Callable[[bytes], bytes] = surround, guise: str = guise) -> bytes:
            return sized(GUISES[guise], surround(ARCHIVES["zip"](payload)))

        valid = name not in ("zip before", "bytes behind", "line end behind")
        yield Variant(kind="archive: surroundings", name=f"{name}, {guise}", reply=build, valid=valid)


def every() -> Iterator[Variant]:
    """All of this file."""
    yield from guises()
    yield from surroundings()
