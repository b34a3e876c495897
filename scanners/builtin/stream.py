"""Bytes in sequence, and how they are looked at while they pass.

Rules of this file: a stream is read once, in chunks; everything read through a sieve was searched, over the
borders of chunks too; memory is bounded by the chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from scanners.specimens import EICAR, GTUBE

CHUNK = 64 * 1024

_STRINGS = {EICAR: "Eicar-Test-Signature", GTUBE: "Gtube-Test-Signature"}
_OVERLAP = max(map(len, _STRINGS)) - 1


class Found(Exception):
    """A signature matched; the argument is its name."""

    @property
    def name(self) -> str:
        """The virus."""
        return str(self.args[0])


@dataclass(frozen=True)
class Signatures:
    """What is looked for: the test strings anywhere, and whole layers by their SHA-256 (hex, lower case)."""

    hashes: Mapping[str, str] = field(default_factory=dict)

    def search(self, window: bytes) -> None:
        """Found where a test string stands in it."""
        for string, name in _STRINGS.items():
            if string in window:
                raise Found(name)

    def compare(self, sha256: str) -> None:
        """Found where the digest is listed."""
        if name := self.hashes.get(sha256):
            raise Found(name)


class Stream:
    """Chunks from an iterator, read by length; `unread` puts bytes back."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        parts, length = [self._held], len(self._held)
        while length < size and (part := next(self._chunks, None)) is not None:
            parts.append(part)
            length += len(part)
        data = b"".join(parts)
        self._held = data[size:]
        return data[:size]

    def unread(self, data: bytes) -> None:
        """Puts bytes back in front."""
        self._held = data + self._held

    def peek(self, size: int) -> bytes:
        """The next bytes, left where they are."""
        data = self.read(size)
        self.unread(data)
        return data

    def rest(self) -> Iterator[bytes]:
        """All that is left, chunk by chunk."""
        while data := self.read(CHUNK):
            yield data


def sift(chunks: Iterable[bytes], signatures: Signatures) -> Iterator[bytes]:
    """The same chunks, searched; the digest is compared once the end has been reached."""
    digest = hashlib.sha256() if signatures.hashes else None
    tail = b""
    for chunk in chunks:
        window = tail + chunk
        signatures.search(window)
        tail = window[-_OVERLAP:]
        if digest is not None:
            digest.update(chunk)
        yield chunk
    if digest is not None:
        signatures.compare(digest.hexdigest())
