"""Lines of the head: bytes that some readers take for a line end, at every place, with a coding to smuggle in;
status codes and status lines; interim replies before the last one; replies that have no body and bring one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.http.variants.packing import CODERS
from tests.http.variants.variant import Ask, Field, Variant, head, sized

TYPE: Field = (b"Content-Type", b"application/octet-stream")

CHARACTERS = {
    "CR": b"\r",
    "LF": b"\n",
    "NUL": b"\0",
    "VT": b"\v",
    "FF": b"\f",
    "CRCR": b"\r\r",
    "CRNUL": b"\r\0",
    "FS": b"\x1c",
    "US": b"\x1f",
    "DEL": b"\x7f",
    "NEL": b"\x85",
    "SOH": b"\x01",
    "LS": "\u2028".encode(),
    "fold": b"\r\n ",
    "fold by tab": b"\r\n\t",
}

# A line break in there changes what the body is: `c` is the character, `t` the token of a coding.
PLACES = {
    "between two fields": "X-A: a{c}Content-Encoding: {t}",
    "at a value's start": "X-A:{c}a",
    "in a value": "X-A: a{c}b",
    "at a value's end": "Content-Encoding: {t}{c}",
    "before a name": "{c}Content-Encoding: {t}",
    "in a name": "X-{c}A: a",
    "before the colon": "Content-Encoding{c}: {t}",
    "behind the colon": "Content-Encoding:{c}{t}",
    "in the coding": "Content-Encoding: {t}{c}, identity",
}


def lines() -> Iterator[Variant]:
    """Each character at each place."""
    for (what, character), (where, pattern) in itertools.product(CHARACTERS.items(), PLACES.items()):
        token, pack = CODERS["raw" if where == "between two fields" else "br"]
        line = pattern.format(c=character.decode("latin-1"), t=token).encode("latin-1")

        def build(payload: bytes, line: bytes = line, pack: object = pack) -> bytes:
            return sized([TYPE, line], pack(payload))  # type: ignore[operator]  # a packer

        yield Variant(kind="head: odd bytes in a line", name=f"{what} {where}", reply=build, valid=False)


ODD_LINES = {
    "blank before the first name": (b" X-A: a", True),
    "blank before the colon": (b"Content-Encoding : br", False),
    "tab before the colon": (b"Content-Encoding\t: br", False),
    "no colon": (b"Content-Encoding br", False),
    "no name": (b": br", False),
    "semicolon": (b"Content-Encoding; br", False),
    "quoted name": (b'"Content-Encoding": br', False),
    "name beyond ASCII": ("Content-Encod\u0131ng: br".encode(), False),
    "bracket": (b"Content-Encoding(: br", False),
    "two colons": (b"Content-Encoding:: br", False),
    "head of 100 fields": (b"\r\n".join(b"X-%d: a" % n for n in range(100)), False),
    "field of 30,000 bytes": (b"X-A: " + b"a" * 30_000, False),
}


def names() -> Iterator[Variant]:
    """Names that one reader takes for Content-Encoding and another does not."""
    for name, (line, first) in ODD_LINES.items():
        valid = name.startswith(("head of", "field of"))

        def build(payload: bytes, line: bytes = line, first: bool = first, valid: bool = valid) -> bytes:
            body = payload if valid else CODERS["br"][1](payload)
            return sized([line, TYPE] if first else [TYPE, line], body)

        yield Variant(kind="head: odd names", name=name, reply=build, valid=valid)
    for name, end in {"LF line ends": b"\n", "CR line ends": b"\r", "mixed line ends": b"\n\r\n"}.items():

        def ended(payload: bytes, end: bytes = end) -> bytes:
            body = CODERS["br"][1](payload)
            fields = [TYPE, (b"Content-Encoding", b"br"), (b"Content-Length", b"%d" % len(body))]
            return head(fields).replace(b"\r\n", end) + body

        yield Variant(kind="head: odd names", name=name, reply=ended, valid=False)


CODES = [200, 201, 202, 203, 205, 206, 226, 299, 300, 302, 400, 404, 410, 418, 451, 499, 500, 503, 599, 600, 999]


def statuses() -> Iterator[Variant]:
    """Each status code with a body, coded and not."""
    for code, coder in itertools.product(CODES, (None, "br")):
        first = b"HTTP/1.1 %d Whatever" % code

        def build(payload: bytes, coder: str | None = coder, code: int = code) -> tuple[list[Field], bytes]:
            del code
            if coder is None:
                return [TYPE], payload
            return [TYPE, (b"Content-Encoding", CODERS[coder][0].encode())], CODERS[coder][1](payload)

        yield Variant(
            kind="status: code",
            name=f"{code}{f', {coder}' if coder else ''}",
            reply=lambda payload, build=build, first=first: sized(*build(payload), first),  # type: ignore[misc]
            valid=code not in (205, 206, 226, 600, 999),
        )


FIRST_LINES = {
    "no reason": (b"HTTP/1.1 200", True),
    "empty reason": (b"HTTP/1.1 200 ", True),
    "two blanks": (b"HTTP/1.1  200 OK", False),
    "tabs": (b"HTTP/1.1\t200\tOK", False),
    "VT": (b"HTTP/1.1\v200 OK", False),
    "blank before": (b" HTTP/1.1 200 OK", False),
    "lower case": (b"http/1.1 200 OK", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK", True),
    "HTTP/1.2": (b"HTTP/1.2 200 OK", True),
    "HTTP/0.9": (b"HTTP/0.9 200 OK", False),
    "HTTP/2.0": (b"HTTP/2.0 200 OK", False),
    "HTTP/2": (b"HTTP/2 200 OK", False),
    "HTTP/3.0": (b"HTTP/3.0 200 OK", False),
    "HTTP/1.10": (b"HTTP/1.10 200 OK", False),
    "HTTP/01.1": (b"HTTP/01.1 200 OK", False),
    "ICY": (b"ICY 200 OK", False),
    "four digits": (b"HTTP/1.1 0200 OK", False),
    "five digits": (b"HTTP/1.1 20000 OK", False),
    "two digits": (b"HTTP/1.1 20 OK", False),
    "plus": (b"HTTP/1.1 +200 OK", False),
    "minus": (b"HTTP/1.1 -200 OK", False),
    "underscore": (b"HTTP/1.1 2_00 OK", False),
    "fraction": (b"HTTP/1.1 200.0 OK", False),
    "no blank": (b"HTTP/1.1 200OK", False),
    "CR in the reason": (b"HTTP/1.1 200 OK\rContent-Encoding: br", False),
    "NUL in the reason": (b"HTTP/1.1 200 O\0K", False),
    "reason beyond ASCII": (b"HTTP/1.1 200 \xe9t\xe9", True),
    "line end before": (b"\r\nHTTP/1.1 200 OK", False),
    "LF before": (b"\nHTTP/1.1 200 OK", False),
    "other line before": (b"hello\r\nHTTP/1.1 200 OK", False),
    "fold behind": (b"HTTP/1.1 200 OK\r\n folded: a", False),
}


def first_lines() -> Iterator[Variant]:
    """Each odd status line."""
    for name, (line, valid) in FIRST_LINES.items():
        yield Variant(
            kind="status: line",
            name=name,
            reply=lambda payload, line=line: sized([TYPE], payload, line),  # type: ignore[misc]  # bound at once
            valid=valid,
        )
    yield Variant(kind="status: line", name="none (HTTP/0.9)", reply=bytes, valid=False)


def interims() -> Iterator[Variant]:
    """Interim replies before the last one, with and without fields."""
    for code, fields, times in itertools.product((100, 102, 103, 199), (False, True), (1, 2)):
        added: list[Field] = [(b"Link", b"</style.css>; rel=preload"), (b"Content-Encoding", b"br")] if fields else []
        first = head(added, b"HTTP/1.1 %d Interim" % code) * times
        yield Variant(
            kind="status: interim",
            name=f"{code}{' with fields' if fields else ''}{' twice' if times == 2 else ''}",
            reply=lambda payload, first=first: first + sized([TYPE], payload),  # type: ignore[misc]  # bound at once
            valid=True,
        )
    upgrade: list[Field] = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    for name, fields_of in {"101": [], "101 to a WebSocket": upgrade, "101 to another": [(b"Upgrade", b"x")]}.items():
        for behind in ("bytes", "reply"):

            def build(payload: bytes, fields_of: list[Field] = fields_of, behind: str = behind) -> bytes:
                rest = payload if behind == "bytes" else sized([TYPE], payload)
                return head(fields_of, b"HTTP/1.1 101 Switching Protocols") + rest

            yield Variant(kind="status: interim", name=f"{name}, {behind} behind", reply=build, valid=False)


def bodiless() -> Iterator[Variant]:
    """Bodies on replies that have none."""
    for code, chunks in itertools.product((204, 304, 100), (False, True)):
        fields: list[Field] = [(b"Transfer-Encoding", b"chunked")] if chunks else []

        def build(payload: bytes, code: int = code, fields: list[Field] = fields) -> bytes:
            first = b"HTTP/1.1 %d None" % code
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(payload), payload)
            return head([TYPE, *fields], first) + body if fields else sized([TYPE], payload, first)

        name = f"{code}{' in chunks' if chunks else ''}"
        yield Variant(kind="status: body where there is none", name=name, reply=build, valid=False)
    yield Variant(
        kind="status: body where there is none",
        name="HEAD",
        reply=lambda payload: sized([TYPE], payload),
        ask=Ask(method="HEAD"),
        valid=False,
    )


def every() -> Iterator[Variant]:
    """All of this file."""
    for rule in (lines, names, statuses, first_lines, interims, bodiless):
        yield from rule()
