"""Uploads: the same codings and framings in requests, forms with files in them, and requests that servers read
differently."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator

from tests.http.variants import codings, framings
from tests.http.variants.packing import ARCHIVES, CODERS
from tests.http.variants.variant import Ask, Variant, chunked

TYPE = "Content-Type: application/octet-stream"


def _sized(body: bytes, *fields: str) -> Ask:
    return Ask(method="POST", fields=(*fields, f"Content-Length: {len(body)}"), body=body)


def _chunked(body: bytes, *fields: str) -> Ask:
    return Ask(method="POST", fields=(*fields, "Transfer-Encoding: chunked"), body=chunked(body))


FRAMES: dict[str, Callable[..., Ask]] = {"length": _sized, "chunks": _chunked}


def coded() -> Iterator[Variant]:
    """Each coding, each framing, some spellings, each damage."""
    for (coder, (token, pack)), (framing, frame) in itertools.product(CODERS.items(), FRAMES.items()):
        yield Variant(
            kind="upload: coding",
            name=f"{coder}, {framing}",
            upload=lambda payload, pack=pack, frame=frame, token=token: frame(  # type: ignore[misc]  # bound at once
                pack(payload), TYPE, f"Content-Encoding: {token}"
            ),
            valid=coder != "raw",
        )
    for coder, how in itertools.product(
        CODERS, ("upper", "empty items", "identity before", "unknown behind", "quoted")
    ):
        token, pack = CODERS[coder]
        pattern = codings.SPELLINGS[how][0][0]
        value = pattern.format(t=token, T=token.upper())
        yield Variant(
            kind="upload: coding",
            name=f"{coder}: {how}",
            upload=lambda payload, pack=pack, value=value: _sized(  # type: ignore[misc]  # bound at once
                pack(payload), TYPE, f"Content-Encoding: {value}"
            ),
            valid=how in ("upper", "empty items") and coder != "raw",
        )
    for (coder, (token, pack)), (how, damage) in itertools.product(CODERS.items(), codings.DAMAGES.items()):
        yield Variant(
            kind="upload: damaged coding",
            name=f"{coder}: {how}",
            upload=lambda payload, pack=pack, damage=damage, token=token: _sized(  # type: ignore[misc]
                damage(pack(payload), payload), TYPE, f"Content-Encoding: {token}"
            ),
            valid=False,
        )


def framed() -> Iterator[Variant]:
    """Each chunk size line, each end of chunks, each transfer coding and length."""
    te = "Transfer-Encoding: chunked"
    for name, (line, valid) in framings.SIZE_LINES.items():
        yield Variant(
            kind="upload: framing",
            name=f"chunk size: {name}",
            upload=lambda payload, line=line: Ask(  # type: ignore[misc]  # bound at once
                method="POST", fields=(TYPE, te), body=line(len(payload)) + payload + b"\r\n0\r\n\r\n"
            ),
            valid=valid,
        )
    for name, (end, valid) in framings.ENDS.items():
        yield Variant(
            kind="upload: trailers" if "trailer" in name else "upload: framing",
            name=f"end: {name}",
            upload=lambda payload, end=end: Ask(method="POST", fields=(TYPE, te), body=chunked(payload, end=end)),  # type: ignore[misc]
            valid=valid,
        )
    for name, values in framings.TRANSFER_CODINGS.items():
        lines = tuple(f"Transfer-Encoding: {value.decode()}" for value in values)
        yield Variant(
            kind="upload: framing",
            name=f"transfer coding: {name}",
            upload=lambda payload, lines=lines: Ask(method="POST", fields=(TYPE, *lines), body=chunked(payload)),  # type: ignore[misc]
            valid=name == "odd case",
        )
    for name, spell in framings.LENGTHS.items():

        def sized(payload: bytes, spell: Callable[[int], list[bytes]] = spell) -> Ask:
            lines = [f"Content-Length: {value.decode('latin-1')}" for value in spell(len(payload))]
            return Ask(method="POST", fields=(TYPE, *lines), body=payload)

        valid = name == "blank behind"
        yield Variant(kind="upload: framing", name=f"length: {name}", upload=sized, valid=valid)


BOUNDARY = "----boundary7MA4YWxk"


def form(
    data: bytes, *, lines: tuple[str, ...] = (), kind: str = "application/octet-stream", name: str = "a.bin"
) -> bytes:
    """A form with a field before and behind the file."""
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="before"\r\n\r\nvalue\r\n'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\nContent-Type: {kind}\r\n'
    tail = f"\r\n--{BOUNDARY}--\r\n"
    extra = "".join(f"{line}\r\n" for line in lines)
    return (field + head + extra + "\r\n").encode() + data + tail.encode()


def forms() -> Iterator[Variant]:
    """Files in forms, plain and packed, under other names and types."""
    packers = {"plain": bytes, **ARCHIVES}
    guises = {"honest": ("application/octet-stream", "a.bin"), "a picture": ("image/jpeg", "a.jpg")}
    for (packer, pack), (guise, (kind, name)), (framing, frame) in itertools.product(
        packers.items(), guises.items(), FRAMES.items()
    ):

        def build(
            payload: bytes,
            pack: Callable[[bytes], bytes] = pack,
            kind: str = kind,
            name: str = name,
            frame: Callable[..., Ask] = frame,
        ) -> Ask:
            body = form(pack(payload), kind=kind, name=name)
            return frame(body, f"Content-Type: multipart/form-data; boundary={BOUNDARY}")

        yield Variant(kind="upload: form", name=f"{packer} as {guise}, {framing}", upload=build)


BOUNDARIES = {
    "quoted": f'multipart/form-data; boundary="{BOUNDARY}"',
    "upper case": f"MULTIPART/FORM-DATA; BOUNDARY={BOUNDARY}",
    "two": f"multipart/form-data; boundary=x; boundary={BOUNDARY}",
    "none": "multipart/form-data",
    "another": "multipart/form-data; boundary=another",
    "RFC 2231": f"multipart/form-data; boundary*=utf-8''{BOUNDARY}",
    "blank before": f"multipart/form-data; boundary= {BOUNDARY}",
    "mixed": f"multipart/mixed; boundary={BOUNDARY}",
}


def odd_forms() -> Iterator[Variant]:
    """A zip in a form whose boundary, or whose parts, are read differently."""
    pack = ARCHIVES["zip"]
    for name, kind in BOUNDARIES.items():
        yield Variant(
            kind="upload: odd form",
            name=f"boundary: {name}",
            upload=lambda payload, kind=kind: _sized(form(pack(payload)), f"Content-Type: {kind}"),  # type: ignore[misc]
            valid=name in ("quoted", "upper case"),
        )
    honest = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    changes: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
        "binary": (lambda data: form(pack(data), lines=("Content-Transfer-Encoding: binary",)), True),
        "base64": (lambda data: form(base64.encodebytes(data), lines=("Content-Transfer-Encoding: base64",)), False),
        "LF only": (lambda data: form(pack(data)).replace(b"\r\n", b"\n"), False),
        "not closed": (lambda data: form(pack(data)).removesuffix(b"--\r\n"), False),
        "bytes behind": (lambda data: form(pack(data)) + b"epilogue", False),
        "bytes before": (lambda data: b"preamble\r\n" + form(pack(data)), False),
        "no blank line": (lambda data: form(pack(data)).replace(b"octet-stream\r\n\r\n", b"octet-stream\r\n"), False),
        "blanks behind a boundary": (lambda data: form(pack(data)).replace(b"Wxk\r\n", b"Wxk \r\n"), False),
    }
    for name, (build, valid) in changes.items():
        yield Variant(
            kind="upload: odd form",
            name=f"part: {name}",
            upload=lambda payload, build=build: _sized(build(payload), honest),  # type: ignore[misc]  # bound at once
            valid=valid,
        )


def every() -> Iterator[Variant]:
    """All of this file."""
    for rule in (coded, framed, forms, odd_forms):
        yield from rule()
