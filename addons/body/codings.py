"""Content-codings taken off for the check (RFC 9110 section 8.4), within a bound on the output.

Rules of this file: what cannot be decoded, or could be decoded in two ways, raises and never passes as data;
the output comes lazily in pieces of at most 64 KiB, so that a bomb costs only what the caller takes of it;
nothing is kept but what the decoders need (about 16 MiB a brotli layer, 8 MiB zstd, 40 KiB gzip).

The caller's loop, where `await` gives the event loop its turn:

    decoder = Decoder(coding.layers, max_output)
    for piece in decoder.feed(chunk):       # b"" is a place to breathe, not an end
        spool.append(piece)                 # and now and then: await asyncio.sleep(0)
    ...
    decoder.finish()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from addons.body.coding_layers import (
    PIECE,
    Ambiguous,
    BrotliLayer,
    CodingError,
    DeflateLayer,
    GzipLayer,
    Layer,
    TooLarge,
    Undecodable,
    pieces,
)
from addons.body.zstd_layer import ZstdLayer

__all__ = ["Ambiguous", "Coding", "CodingError", "Decoder", "TooLarge", "Undecodable", "plan"]

MAX_LAYERS = 5
# A step of every layer takes this much at most: compressed blocks that decode to nothing cost time, too.
_SLICE = 8 * 1024

_LAYERS: dict[str, Callable[[], Layer]] = {
    "gzip": GzipLayer,
    "deflate": DeflateLayer,
    "br": BrotliLayer,
    "zstd": ZstdLayer,
}
_ALIASES = {"x-gzip": "gzip", "x-compress": "compress"}


@dataclass(frozen=True, slots=True)
class Coding:
    """What a body's Content-Encoding fields say.

    `layers` stand in the order in which they are taken off (the reverse of the header's). With `passthrough`
    the client gets the origin's bytes and `header` as its Content-Encoding (None: no such field); without it
    the client gets identity from the first byte, and `header` is None.
    """

    layers: tuple[str, ...]
    passthrough: bool
    header: str | None = None


def plan(headers_values: Sequence[str]) -> Coding:
    """Reads all Content-Encoding field lines of one message, in their order.

    Empty items and `identity` are dropped, names compare without case, `x-gzip` is `gzip`. Only one field
    line holding exactly one canonical name passes through; every other spelling is one that some client
    reads differently. Raises `Undecodable` on an unknown name (compress is one: no client decodes it) and
    above 5 layers.
    """
    tokens = [item.strip(" \t").lower() for line in headers_values for item in line.split(",")]
    names = [_ALIASES.get(token, token) for token in tokens if token not in ("", "identity")]
    if len(names) > MAX_LAYERS:
        raise Undecodable(f"more than {MAX_LAYERS} content-codings")
    for name in names:
        if name not in _LAYERS:
            raise Undecodable(f"unknown content-coding {name[:40]!a}")
    if not names:
        return Coding((), passthrough=True)
    plain = len(headers_values) == 1 and headers_values[0].strip(" \t") == names[0]
    return Coding(tuple(reversed(names)), passthrough=plain, header=names[0] if plain else None)


class Decoder:
    """Takes off the layers of one body, incrementally. Not for several threads at once.

    `max_output` is in bytes and holds for the decoded object; exactly that much is allowed. What lies between
    two layers may be larger by a 16th, for packed data can be larger than what it packs.
    """

    def __init__(self, layers: Sequence[str], max_output: int) -> None:
        self._layers = [_LAYERS[name]() for name in layers]
        self._limits = [max_output + max_output // 16 + PIECE] * len(self._layers)
        self._limits[-1:] = [max_output]
        self._sizes = [0] * len(self._limits)
        self._open = False
        self._finished = False

    def __repr__(self) -> str:
        state = "finished" if self._finished else "open" if self._open else "idle"
        return f"<Decoder {len(self._layers)} layers, {self.size} of {self._limits[-1]} bytes out, {state}>"

    @property
    def size(self) -> int:
        """Decoded bytes so far."""
        return self._sizes[-1]

    @property
    def plain(self) -> bool:
        """False where the body has several gzip members or zstd frames, of which some clients read only the
        first: such a body must not pass through as it came. Final once `finish` has returned."""
        return all(layer.plain for layer in self._layers)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The next bytes of the body; gives decoded pieces of at most 64 KiB, some of them empty.

        Between two pieces lies a bounded amount of work (under a millisecond a layer for all but contrived
        input), whatever the data. The iterator must be drained before the next call; one that is dropped
        half-way, or that raised, leaves a decoder that can only fail. Raises `CodingError`."""
        self._refuse_reuse()
        self._open = True
        return self._drain(data)

    def finish(self) -> None:
        """The body is complete. Raises `Ambiguous` where a layer is not."""
        self._refuse_reuse()
        for layer in self._layers:
            layer.finish()
        self._finished = True

    def _refuse_reuse(self) -> None:
        if self._open or self._finished:
            raise Undecodable("the decoder was not run to its end" if self._open else "the decoder is finished")

    def _drain(self, data: bytes) -> Iterator[bytes]:
        if self._layers:
            yield from self._take_off(0, data)
        else:
            for piece in pieces(data):
                self._count(0, piece)
                yield piece
        self._open = False

    def _take_off(self, depth: int, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _SLICE):
            for piece in self._layers[depth].feed(data[start : start + _SLICE]):
                self._count(depth, piece)
                if piece and depth + 1 < len(self._layers):
                    yield from self._take_off(depth + 1, piece)
                else:
                    yield piece

    def _count(self, depth: int, piece: bytes) -> None:
        self._sizes[depth] += len(piece)
        if self._sizes[depth] > self._limits[depth]:
            raise TooLarge(f"more than {self._limits[depth]} bytes once decoded")
