"""Content-codings: every coding under every spelling, in stacks, in pieces, damaged, and where none is announced."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

from tests.http import samples
from tests.http.variants.packing import CODERS, brotli_metadata, gzip_comment, gzip_extra, gzip_with, zstd_skippable
from tests.http.variants.variant import Field, Variant, sized

CODING = b"Content-Encoding"
TYPE: Field = (b"Content-Type", b"text/plain")

# How the token `t` may stand in the header; whether RFC 9110 allows it.
SPELLINGS: dict[str, tuple[tuple[str, ...], bool]] = {
    "plain": (("{t}",), True),
    "upper": (("{T}",), True),
    "x-": (("x-{t}",), False),
    "blanks": (("  {t}  ",), True),
    "tab": (("\t{t}\t",), True),
    "empty item before": ((",{t}",), True),
    "empty item behind": (("{t},",), True),
    "empty items": ((" , {t} ,, ",), True),
    "identity before": (("identity, {t}",), False),
    "identity behind": (("{t}, identity",), False),
    "quoted": (('"{t}"',), False),
    "parameter": (("{t};q=1",), False),
    "unknown before": (("x-odd, {t}",), False),
    "unknown behind": (("{t}, x-odd",), False),
    "blank inside": (("{a} {b}",), False),
    "semicolon": (("identity; {t}",), False),
    "field identity before": (("identity", "{t}"), False),
    "field identity behind": (("{t}", "identity"), False),
    "field empty before": (("", "{t}"), True),
    "field unknown behind": (("{t}", "x-odd"), False),
}


def _coded(values: tuple[str, ...], body: bytes) -> tuple[list[Field], bytes]:
    return [TYPE, *((CODING, value.encode()) for value in values)], body


def _variant(kind: str, name: str, values: tuple[str, ...], pack: object, valid: bool, h2: bool = True) -> Variant:
    def build(payload: bytes) -> tuple[list[Field], bytes]:
        return _coded(values, pack(payload))  # type: ignore[operator]  # a packer

    return Variant(
        kind=kind,
        name=name,
        reply=lambda payload: sized(*build(payload)),
        streamed=build if h2 else None,
        valid=valid,
    )


def spellings() -> Iterator[Variant]:
    """Each coding under each spelling."""
    for (coder, (name, pack)), (how, (patterns, valid)) in itertools.product(CODERS.items(), SPELLINGS.items()):
        values = tuple(p.format(t=name, T=name.upper(), a=name[:1], b=name[1:]) for p in patterns)
        known = how != "x-" or name == "gzip"  # RFC 9110 8.4.1.3 knows x-gzip
        fine = (valid or how == "x-") and known and coder != "raw"
        # HTTP/2 libraries strip or refuse blanks around a value: those spellings are HTTP/1's.
        yield _variant("coding: spelling", f"{coder}: {how}", values, pack, fine, h2=how not in ("blanks", "tab"))


def stacks() -> Iterator[Variant]:
    """All pairs, and all triples of three."""
    orders = [*itertools.product(CODERS, repeat=2), *itertools.product(("gzip", "zlib", "br"), repeat=3)]
    for order, split in itertools.product(orders, (False, True)):
        tokens = tuple(CODERS[coder][0] for coder in order)
        if split and len(order) == 3:
            continue
        values = tokens if split else (", ".join(tokens),)
        pack = partial(_pack_all, order)
        name = f"{' then '.join(order)}{' in two fields' if split else ''}"
        yield _variant("coding: stack", name, values, pack, "raw" not in order)


def _pack_all(order: tuple[str, ...], data: bytes) -> bytes:
    for coder in order:
        data = CODERS[coder][1](data)
    return data


def _members(pack: object, data: bytes) -> bytes:
    middle = len(data) // 2
    return pack(data[:middle]) + pack(data[middle:])  # type: ignore[operator]  # a packer


# What is done to the packed bytes; the payload is given for what appends it again.
DAMAGES = {
    "last byte cut": lambda packed, payload: packed[:-1],
    "four bytes cut": lambda packed, payload: packed[:-4],
    "nine bytes cut": lambda packed, payload: packed[:-9],
    "half cut": lambda packed, payload: packed[: len(packed) // 2],
    "last byte changed": lambda packed, payload: packed[:-1] + bytes([packed[-1] ^ 1]),
    "check changed": lambda packed, payload: packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:],
    "byte behind": lambda packed, payload: packed + b"x",
    "zeros behind": lambda packed, payload: packed + bytes(16),
    "plain behind": lambda packed, payload: packed + payload,
    "blank before": lambda packed, payload: b"\n" + packed,
    "not packed at all": lambda packed, payload: payload,
    "first byte changed": lambda packed, payload: bytes([packed[0] ^ 1]) + packed[1:],
}


def damages() -> Iterator[Variant]:
    """Each coding with each damage."""
    for (coder, (token, pack)), (how, damage) in itertools.product(CODERS.items(), DAMAGES.items()):

        def broken(payload: bytes, pack: object = pack, damage: object = damage) -> bytes:
            return damage(pack(payload), payload)  # type: ignore[operator]  # two functions

        yield _variant("coding: damage", f"{coder}: {how}", (token,), broken, valid=False)


def members() -> Iterator[Variant]:
    """Several members or frames in one body, and bytes that only some readers see."""
    gz, zstd = CODERS["gzip"][1], CODERS["zstd"][1]
    forms = {
        "two gzip members": ("gzip", partial(_members, gz), True),
        "empty gzip member first": ("gzip", lambda data: gz(b"") + gz(data), True),
        "empty gzip member last": ("gzip", lambda data: gz(data) + gz(b""), True),
        "gzip harmless first": ("gzip", lambda data: gz(b"harmless\n" * 9) + gz(data), True),
        "two zstd frames": ("zstd", partial(_members, zstd), True),
        "zstd behind a skippable frame": ("zstd", lambda data: zstd_skippable(data, b"skip me"), True),
        "gzip with a name": ("gzip", partial(gzip_with, b"file.txt\0", 8), True),
        "gzip with a comment": ("gzip", lambda data: gzip_comment(data, b"a comment"), True),
        "gzip with an extra field": ("gzip", lambda data: gzip_extra(data, b"more"), True),
    }
    for name, (token, pack, valid) in forms.items():
        yield _variant("coding: members", name, (token,), pack, valid)


def hidden() -> Iterator[Variant]:
    """The payload where a decoder does not look, and a client that decodes nothing does."""
    innocent = b"nothing to see here\n" * 4
    forms = {
        "zip in gzip's extra field": ("gzip", lambda data: gzip_extra(innocent, samples.zipped(data))),
        "text in gzip's comment": ("gzip", lambda data: gzip_comment(innocent, data)),
        "zip in brotli's metadata": ("br", lambda data: brotli_metadata(innocent, samples.zipped(data))),
        "zip in a skippable zstd frame": ("zstd", lambda data: zstd_skippable(innocent, samples.zipped(data))),
    }
    for name, (token, pack) in forms.items():
        yield _variant("coding: hidden bytes", name, (token,), pack, valid=True)


def unannounced() -> Iterator[Variant]:
    """Packed bytes without a header, or with one that is no Content-Encoding."""
    lines = {
        "no field": [],
        "Content-Encodings": [(b"Content-Encodings", b"{t}")],
        "underscore": [(b"Content_Encoding", b"{t}")],
        "empty field": [(CODING, b"")],
        "identity": [(CODING, b"identity")],
    }
    for (coder, (token, pack)), (how, fields) in itertools.product(CODERS.items(), lines.items()):
        listed = [(name, value.replace(b"{t}", token.encode())) for name, value in fields]

        def build(payload: bytes, listed: object = listed, pack: object = pack) -> tuple[list[Field], bytes]:
            return [TYPE, *listed], pack(payload)  # type: ignore[misc,operator]  # fields, a packer

        yield Variant(
            kind="coding: not announced",
            name=f"{coder}: {how}",
            reply=lambda payload, build=build: sized(*build(payload)),
            streamed=build,
        )


def every() -> Iterator[Variant]:
    """All of this file."""
    for rule in (spellings, stacks, damages, members, hidden, unannounced):
        yield from rule()
