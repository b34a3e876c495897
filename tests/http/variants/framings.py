"""How the end of a body is told: lengths, chunks and closings, plain and odd, over plain and coded bodies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import brotli

from tests.http.variants.variant import CRLF, Field, Variant, chunked, head, sized

Body = tuple[list[Field | bytes], bytes]

CHUNKED: Field = (b"Transfer-Encoding", b"chunked")
TYPE: Field = (b"Content-Type", b"application/octet-stream")

# Over what each framing is laid: a body whose coding is lost with the framing must not pass either.
CONTENTS: dict[str, Callable[[bytes], Body]] = {
    "identity": lambda payload: ([TYPE], payload),
    "br": lambda payload: ([TYPE, (b"Content-Encoding", b"br")], brotli.compress(payload)),
}


def _each(kind: str, name: str, frame: Callable[[list[Field | bytes], bytes], bytes], valid: bool) -> Iterator[Variant]:
    for content, lay in CONTENTS.items():
        yield Variant(
            kind=kind,
            name=f"{name}, {content}",
            reply=lambda payload, lay=lay: frame(*lay(payload)),  # type: ignore[misc]  # bound at once
            valid=valid,
        )


def plain() -> Iterator[Variant]:
    """The framings that everybody uses."""
    old = b"HTTP/1.0 200 OK"
    forms = {
        "length": sized,
        "chunks": lambda fields, body: head([*fields, CHUNKED]) + chunked(body),
        "one chunk a byte": lambda fields, body: head([*fields, CHUNKED]) + chunked(body, size=1),
        "closing": lambda fields, body: head(fields) + body,
        "HTTP/1.0 length": lambda fields, body: sized(fields, body, old),
        "HTTP/1.0 closing": lambda fields, body: head(fields, old) + body,
        "connection close": lambda fields, body: sized([*fields, (b"Connection", b"close")], body),
        "keep-alive": lambda fields, body: sized([*fields, (b"Connection", b"keep-alive")], body),
    }
    for name, frame in forms.items():
        yield from _each("framing: plain", name, frame, valid=True)  # type: ignore[arg-type]  # all take both


# One chunk size line of `n` bytes; whether RFC 9112 section 7.1 allows it.
SIZE_LINES: dict[str, tuple[Callable[[int], bytes], bool]] = {
    "upper case": (lambda n: b"%X\r\n" % n, True),
    "one leading zero": (lambda n: b"0%x\r\n" % n, True),
    "fifteen leading zeros": (lambda n: b"%018x\r\n" % n, True),
    "forty leading zeros": (lambda n: b"%042x\r\n" % n, True),
    "plus": (lambda n: b"+%x\r\n" % n, False),
    "minus": (lambda n: b"-%x\r\n" % n, False),
    "0x": (lambda n: b"0x%x\r\n" % n, False),
    "underscore": (lambda n: b"0_%x\r\n" % n, False),
    "blank before": (lambda n: b" %x\r\n" % n, False),
    "blank behind": (lambda n: b"%x \r\n" % n, False),
    "tab behind": (lambda n: b"%x\t\r\n" % n, False),
    "VT behind": (lambda n: b"%x\v\r\n" % n, False),
    "CR behind": (lambda n: b"%x\r\r\n" % n, False),
    "LF for the end": (lambda n: b"%x\n" % n, False),
    "CR for the end": (lambda n: b"%x\r" % n, False),
    "extension": (lambda n: b"%x;name=value\r\n" % n, True),
    "extension without a value": (lambda n: b"%x;name\r\n" % n, True),
    "quoted extension": (lambda n: b'%x;name="a;b\\"c"\r\n' % n, True),
    "quoted line end": (lambda n: b'%x;name="a\nb"\r\n' % n, False),
    "blank extension": (lambda n: b"%x ;name\r\n" % n, False),
    "empty extension": (lambda n: b"%x;\r\n" % n, False),
    "CR in the extension": (lambda n: b"%x;a\rb\r\n" % n, False),
    "LF in the extension": (lambda n: b"%x;a\nb\r\n" % n, False),
    "NUL in the extension": (lambda n: b"%x;a\0b\r\n" % n, False),
    "extension of 5,000 bytes": (lambda n: b"%x;%b\r\n" % (n, b"x" * 5000), True),
    "junk behind": (lambda n: b"%xg\r\n" % n, False),
    "beyond 64 bits": (lambda n: b"1%016x\r\n" % n, False),
    "comma": (lambda n: b"%x,%x\r\n" % (n, n), False),
    "empty": (lambda n: b"\r\n%x\r\n" % n, False),
}

# What ends the chunks; `{}` is the last chunk's data already ended by CRLF.
ENDS: dict[str, tuple[bytes, bool]] = {
    "three zeros": (b"000\r\n\r\n", True),
    "last chunk with an extension": (b"0;a=b\r\n\r\n", True),
    "no last chunk": (b"", False),
    "cut in the last chunk": (b"0\r\n", False),
    "LF only": (b"0\n\n", False),
    "bytes behind": (b"0\r\n\r\nmore bytes", False),
    "second reply behind": (b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", False),
    "trailer": (b"0\r\nX-Check: 1\r\n\r\n", True),
    "trailers": (b"0\r\nX-Check: 1\r\nX-More: 2\r\n\r\n", True),
    "trailer with a coding": (b"0\r\nContent-Encoding: gzip\r\n\r\n", False),
    "trailer with a length": (b"0\r\nContent-Length: 3\r\n\r\n", False),
    "broken trailer": (b"0\r\nno colon here\r\n\r\n", False),
    "folded trailer": (b"0\r\nX-Check: 1\r\n 2\r\n\r\n", False),
    "trailer cut": (b"0\r\nX-Check: 1\r\n", False),
}


def chunks() -> Iterator[Variant]:
    """Each size line, each end."""
    for name, (line, valid) in SIZE_LINES.items():

        def odd(fields: list[Field | bytes], body: bytes, line: Callable[[int], bytes] = line) -> bytes:
            return head([*fields, CHUNKED]) + line(len(body)) + body + b"\r\n0\r\n\r\n"

        yield from _each("framing: chunk size", name, odd, valid)
    for name, (end, valid) in ENDS.items():
        kind = "framing: trailers" if "trailer" in name else "framing: last chunk"

        def ended(fields: list[Field | bytes], body: bytes, end: bytes = end) -> bytes:
            return head([*fields, CHUNKED]) + chunked(body, end=end)

        yield from _each(kind, name, ended, valid)
    for name, (off, foot) in {"size too small": (-3, CRLF), "size too large": (3, CRLF), "no CRLF": (0, b"")}.items():

        def wrong(fields: list[Field | bytes], body: bytes, off: int = off, foot: bytes = foot) -> bytes:
            return head([*fields, CHUNKED]) + b"%x\r\n" % (len(body) + off) + body + foot + b"0\r\n\r\n"

        yield from _each("framing: chunk size", name, wrong, valid=False)


TRANSFER_CODINGS: dict[str, tuple[bytes, ...]] = {
    "odd case": (b"ChUnKeD",),
    "empty item before": (b",chunked",),
    "empty item behind": (b"chunked,",),
    "twice": (b"chunked, chunked",),
    "two fields": (b"chunked", b"chunked"),
    "identity before": (b"identity, chunked",),
    "identity": (b"identity",),
    "identity field before": (b"identity", b"chunked"),
    "unknown": (b"xchunked",),
    "unknown before": (b"x, chunked",),
    "gzip before": (b"gzip, chunked",),
    "parameter": (b"chunked;a=b",),
    "quoted": (b'"chunked"',),
    "VT before": (b"\vchunked",),
    "cow": (b"cow",),
    "empty": (b"",),
}


def transfer_codings() -> Iterator[Variant]:
    """Each Transfer-Encoding with a chunked body and with a plain one, with and without a length beside it."""
    for (name, values), is_chunked, length in itertools.product(
        TRANSFER_CODINGS.items(), (True, False), (None, "before", "behind")
    ):

        def frame(
            fields: list[Field | bytes],
            body: bytes,
            values: tuple[bytes, ...] = values,
            is_chunked: bool = is_chunked,
            length: str | None = length,
        ) -> bytes:
            wire = chunked(body) if is_chunked else body
            codings: list[Field] = [(b"Transfer-Encoding", value) for value in values]
            sizes: list[Field] = [(b"Content-Length", b"%d" % len(body))]
            listed = {None: codings, "before": sizes + codings, "behind": codings + sizes}[length]
            return head([*fields, *listed]) + wire

        valid = length is None and ((name == "odd case" and is_chunked) or (name == "identity" and not is_chunked))
        if length == "behind" and name not in ("odd case", "identity", "gzip before"):
            continue
        text = f"{name}, {'chunks' if is_chunked else 'no chunks'}{f', length {length}' if length else ''}"
        yield Variant(
            kind="framing: transfer coding",
            name=text,
            reply=lambda payload, frame=frame: frame([TYPE], payload),  # type: ignore[misc]  # bound at once
            valid=valid,
        )


# Content-Length lines for a body of `n` bytes.
LENGTHS: dict[str, Callable[[int], list[bytes]]] = {
    "twice the same": lambda n: [b"%d" % n, b"%d" % n],
    "larger first": lambda n: [b"%d" % (n + 5), b"%d" % n],
    "smaller first": lambda n: [b"%d" % (n - 5), b"%d" % n],
    "list of the same": lambda n: [b"%d, %d" % (n, n)],
    "list of two": lambda n: [b"%d, %d" % (n - 5, n)],
    "plus": lambda n: [b"+%d" % n],
    "minus": lambda n: [b"-%d" % n],
    "leading zero": lambda n: [b"0%d" % n],
    "hexadecimal": lambda n: [b"0x%x" % n],
    "underscore": lambda n: [b"%d_%d" % divmod(n, 10)],
    "blank inside": lambda n: [b"%d %d" % divmod(n, 10)],
    "blank behind": lambda n: [b"%d  " % n],
    "empty": lambda n: [b""],
    "fraction": lambda n: [b"%d.0" % n],
    "beyond 64 bits": lambda n: [b"%d" % (n + (1 << 64))],
    "zero": lambda n: [b"0"],
    "too small": lambda n: [b"%d" % (n - 5)],
    "too large": lambda n: [b"%d" % (n + 5)],
    "other digits": lambda n: ["".join(chr(0x660 + int(d)) for d in str(n)).encode()],
    "junk": lambda n: [b"%dbytes" % n],
}


def lengths() -> Iterator[Variant]:
    """Each spelling of the length."""
    for name, spell in LENGTHS.items():

        def frame(fields: list[Field | bytes], body: bytes, spell: Callable[[int], list[bytes]] = spell) -> bytes:
            return head([*fields, *((b"Content-Length", value) for value in spell(len(body)))]) + body

        yield from _each("framing: length", name, frame, name == "blank behind")


def every() -> Iterator[Variant]:
    """All of this file."""
    for rule in (plain, chunks, transfer_codings, lengths):
        yield from rule()
