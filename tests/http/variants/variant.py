"""One variant of an HTTP message: a rule that wraps any payload, EICAR and a harmless one in the same form.

Rules of this file: no sockets; a variant is frozen, its name is unique, and what it builds depends on the payload
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

CRLF = b"\r\n"
Field = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the client says: `body` is sent verbatim behind the fields, whatever they announce."""

    method: str = "GET"
    fields: tuple[str, ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """`kind` is the row of the table that it counts in. `valid`: the standards allow it, so a harmless payload
    should arrive. `reply` or `upload` wraps the payload; `ask` is the request that goes with a `reply`."""

    kind: str
    name: str
    reply: Callable[[bytes], bytes] | None = None
    upload: Callable[[bytes], Ask] | None = None
    ask: Ask = field(default_factory=Ask)
    valid: bool = True
    # For HTTP/2, where the form can be said there: the fields and the body of a reply.
    streamed: Callable[[bytes], tuple[list[Field], bytes]] | None = None

    @property
    def plain_get(self) -> bool:
        """True where any client can send the request."""
        return self.upload is None and self.ask == Ask()


def head(fields: Iterable[Field | bytes], first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Status line and fields; a field given as bytes is a whole line, verbatim."""
    lines = [f if isinstance(f, bytes) else f[0] + b": " + f[1] for f in fields]
    return CRLF.join([first, *lines, b"", b""])


def sized(fields: Iterable[Field | bytes], body: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A reply with a Content-Length."""
    return head([*fields, (b"Content-Length", b"%d" % len(body))], first) + body


def chunked(body: bytes, *, size: int = 40, end: bytes = b"0\r\n\r\n") -> bytes:
    """The body in chunks of so many bytes."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end
