"""What could be got out of received bytes, by an eager reader that knows none of the gateway's code.

Rules of this file: it errs on the side of finding; damaged data are decoded as far as they go; depth and size are
bounded.
"""

from __future__ import annotations

import bz2
import io
import itertools
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import brotli
import zstandard

from tests.http import samples

Reader = Callable[[bytes], Iterator[bytes]]

MAX_DEPTH = 6
MAX_SIZE = 4 << 20

# What some reader takes for a line end in a head.
_LINE_ENDS = re.compile(rb"[\r\n\v\f\0\x1c-\x1e]+|\x85|\xe2\x80[\xa8\xa9]")
_ANNOUNCED = re.compile(rb"(?i)[\s\"\x01-\x1f\x7f]*content-encoding[\s\x01-\x1f\x7f]*:+[^\n]*(?:deflate|br)")
_CHUNKED = re.compile(rb"(?i)[\s\x01-\x1f\x7f]*transfer-encoding[\s\x01-\x1f\x7f]*:+[^\n]*chunk")


def holds_eicar(data: bytes, *, pieces: bool = False) -> bool:
    """Whether EICAR is in there, bare or in layers; with `pieces`, half of it is enough."""
    wanted = (samples.EICAR[:27], samples.EICAR[28:52]) if pieces else (samples.EICAR,)
    return any(fragment in view for view in views(data) for fragment in wanted)


def views(data: bytes) -> Iterator[bytes]:
    """The bytes themselves, and everything that some reader could make of them.

    zlib, raw deflate and brotli have no name of their own: they are tried where a reader could see them announced, or
    sees no head at all."""
    head = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[0] if data.startswith(b"HTTP/") else None
    announced = head is None or any(_ANNOUNCED.match(line) for line in _LINE_ENDS.split(head))
    readers = READERS if announced else tuple(r for r in READERS if r not in NAMELESS)
    yield from _views(data, readers, 0, set())


def _views(data: bytes, readers: tuple[Reader, ...], depth: int, seen: set[bytes]) -> Iterator[bytes]:
    if data in seen or len(data) > MAX_SIZE:
        return
    seen.add(data)
    yield data
    if depth < MAX_DEPTH:
        for inner in itertools.chain.from_iterable(reader(data) for reader in readers):
            if inner:
                yield from _views(inner, tuple(r for r in readers if r is not _bodies), depth + 1, seen)


def _step_by_step(machine: Callable[[bytes], bytes], data: bytes) -> bytes:
    """What comes out until the machine chokes."""
    out = bytearray()
    for start in range(0, len(data), 16):
        step = data[start : start + 16]
        try:
            out += machine(step)
        except Exception:  # whatever a decoder raises
            break
        if len(out) > MAX_SIZE:
            break
    return bytes(out)


def _bodies(data: bytes) -> Iterator[bytes]:
    """What may follow a head, whatever is taken for line ends."""
    if not data.startswith(b"HTTP/"):
        return
    for end in (rb"\r\n\r\n", rb"\n\r?\n", rb"\r\r", rb"(?:\r\n|\r(?!\n)|(?<!\r)[\n\v\f\0]){2}"):
        if match := re.search(end, data[:65536]):
            yield data[match.end() :]
            if any(_CHUNKED.match(line) for line in _LINE_ENDS.split(data[: match.start()])):
                yield from _unchunked(data[match.end() :])


def _unchunked(data: bytes) -> Iterator[bytes]:
    """Chunks, sizes read as far as they are digits, up to where none is left."""
    rest, out = data, b""
    while match := re.match(rb"[\s+]*(?:0[xX])?([0-9a-fA-F]{1,40})[^\n]{0,6000}?\r?\n", rest):
        size = int(match[1], 16) & 0xFFFFFFFF
        out += rest[match.end() : match.end() + size]
        rest = rest[match.end() + size :].lstrip(b"\r\n")
        if not size:
            break
    if out:
        yield out


def _inflated(data: bytes) -> Iterator[bytes]:
    yield _step_by_step(zlib.decompressobj(15).decompress, data)
    yield _step_by_step(zlib.decompressobj(-15).decompress, data)


def _gunzipped(data: bytes) -> Iterator[bytes]:
    for at in _places(data, b"\x1f\x8b\x08"):
        out, rest = b"", data[at:]
        while rest[:2] == b"\x1f\x8b":
            part, rest = _gunzip_member(rest)
            out += part
        yield out
        yield _step_by_step(zlib.decompressobj(-15).decompress, data[at + 10 :])  # some do not mind the header


def _gunzip_member(data: bytes) -> tuple[bytes, bytes]:
    """What one member gives, as far as it goes, and what stands behind it."""
    machine, out = zlib.decompressobj(31), b""
    for start in range(0, len(data), 16):
        try:
            out += machine.decompress(data[start : start + 16])
        except zlib.error:
            break
        if machine.eof:
            return out, machine.unused_data + data[start + 16 :]
    return out, b""


def _unbrotlied(data: bytes) -> Iterator[bytes]:
    yield _step_by_step(brotli.Decompressor().process, data)


def _unzstded(data: bytes) -> Iterator[bytes]:
    for at in _places(data, b"\x28\xb5\x2f\xfd"):
        yield _step_by_step(zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress, data[at:])


def _others(data: bytes) -> Iterator[bytes]:
    if data.startswith(b"BZh"):
        yield _step_by_step(bz2.BZ2Decompressor().decompress, data)
    if data.startswith(b"\xfd7zXZ"):
        yield _step_by_step(lzma.LZMADecompressor().decompress, data)


def _places(data: bytes, magic: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(magic), data)][:20]


def _members(data: bytes) -> Iterator[bytes]:
    if b"PK\5\6" in data:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                yield from [archive.read(name) for name in archive.namelist()[:20]]
        except Exception:  # noqa: S110 - no zip to this reader
            pass
    for at in _places(data, b"PK\3\4"):  # a reader that goes by the members
        if len(data) > at + 30:
            skip = (
                30
                + int.from_bytes(data[at + 26 : at + 28], "little")
                + int.from_bytes(data[at + 28 : at + 30], "little")
            )
            yield _step_by_step(zlib.decompressobj(-15).decompress, data[at + skip :])
    if data[257:262] == b"ustar":
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                yield from [found.read() for entry in tar if (found := tar.extractfile(entry))]
        except Exception:  # noqa: S110 - no tar to this reader
            pass


READERS: tuple[Reader, ...] = (
    _bodies,
    _gunzipped,
    _inflated,
    _unbrotlied,
    _unzstded,
    _others,
    _members,
)
NAMELESS = (_inflated, _unbrotlied)
