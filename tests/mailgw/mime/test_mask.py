"""What is covered in place keeps its length, its line ends and its form, and shows the replacement's text."""

from __future__ import annotations

import email
import re
from base64 import b64decode, b64encode
from quopri import encodestring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgw.mime.mask import Cover, blank, cover_document, mask, mask_mail
from scanners.body import MemoryBody
from scanners.specimens import EICAR
from tests.mailgw.corpus import hiding, ordinary
from tests.mailgw.mime import other_readers
from tests.mailgw.mime.views import finds, is_found, reading

TEXT = "The attachment {x} was infected by Eicar and has been removed.\nAsk the postmaster, and name the id 1234.\n"
_HONEST = {name: mail for name, mail in hiding.HONEST.items() if len(mail) < 200_000}


def cover_all(data: bytes, text: str = TEXT) -> bytes:
    """The mail with every leaf covered."""
    with reading(data) as mail:
        return b"".join(mask_mail(MemoryBody(data), [cover_document(leaf, text) for leaf in mail.leaves]))


def line_ends(data: bytes) -> list[tuple[int, bytes]]:
    """Every CR and LF and where it stands."""
    return [(found.start(), found[0]) for found in re.finditer(rb"[\r\n]", data)]


def squeeze(text: str | bytes) -> str:
    """Without what the layout of lines changes."""
    return "".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else text).split())


def lay_over(data: bytes, encoding: str, text: str = TEXT) -> bytes:
    """A body of that encoding, covered."""
    return b"".join(mask_mail(MemoryBody(data), [Cover(0, len(data), encoding, text)]))


def wrapped(data: bytes, width: int = 76) -> bytes:
    """In base64, in lines."""
    return b"".join(line + b"\r\n" for line in re.findall(b".{1,%d}" % width, b64encode(data)))


@pytest.mark.parametrize("name", _HONEST)
def test_no_reader_sees_the_payload_any_more(name: str) -> None:
    """Neither ours under any view, nor the engine in the raw mail, nor any other; where a payload lies between the
    parts, covering the whole body does it."""
    data = _HONEST[name]
    masked = cover_all(data)
    with reading(data) as mail, reading(masked) as again:
        if is_found(MemoryBody(masked)) or finds(again):
            top = mail.parts[0].body
            masked = b"".join(mask_mail(MemoryBody(data), [Cover(top, len(data), "7bit", TEXT)]))
    assert len(masked) == len(data)
    assert line_ends(masked) == line_ends(data)
    assert not is_found(MemoryBody(masked))
    with reading(masked) as mail:
        assert not finds(mail)
    for read in other_readers.READERS.values():
        assert not any(EICAR in shown for shown in read(masked))


@pytest.mark.parametrize("name", ordinary.MAILS)
def test_the_shape_of_a_mail_stays(name: str) -> None:
    """Our reader sees the same parts at the same offsets, of the same decoded sizes, and nothing ambiguous."""
    data = ordinary.MAILS[name]
    masked = cover_all(data)
    assert line_ends(masked) == line_ends(data)
    with reading(data) as before, reading(masked) as after:
        assert after.ambiguities == ()
        shapes = [
            [
                (leaf.part, leaf.start, leaf.body, leaf.end, leaf.encoding, leaf.size, leaf.filename)
                for leaf in mail.leaves
            ]
            for mail in (before, after)
        ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", list(ordinary.MAILS)[::7])
def test_siblings_keep_their_octets(name: str) -> None:
    """Of a mail with one leaf covered all else is as it was."""
    data = ordinary.MAILS[name]
    with reading(data) as mail:
        for leaf in mail.leaves:
            masked = b"".join(mask_mail(MemoryBody(data), [cover_document(leaf, TEXT)]))
            assert masked[: leaf.body] == data[: leaf.body]
            assert masked[leaf.end :] == data[leaf.end :]
            assert len(masked) == len(data)


@settings(max_examples=150, deadline=2000, database=None, derandomize=True)
@given(st.binary(max_size=4000), st.integers(1, 80), st.text(max_size=300))
def test_base64_stays_base64_of_as_many_octets(content: bytes, width: int, text: str) -> None:
    """It decodes strictly, to the text as far as it goes, and blanks behind it."""
    body = wrapped(content, width)
    masked = lay_over(body, "base64", text)
    assert line_ends(masked) == line_ends(body)
    decoded = b64decode(masked.replace(b"\r\n", b""), validate=True)
    assert len(decoded) == len(content)
    shown = squeeze(decoded)
    wanted = squeeze(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text))
    assert wanted.startswith(shown) or shown == wanted


@settings(max_examples=150, deadline=2000, database=None, derandomize=True)
@given(st.binary(max_size=3000), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_quoted_printable_keeps_its_decoded_length(content: bytes, text: str) -> None:
    """And its line ends, hard and soft; the standard library decodes as many octets as before."""
    body = encodestring(content.replace(b"\r", b" ")).replace(b"\n", b"\r\n")
    masked = lay_over(body, "quoted-printable", text)
    assert line_ends(masked) == line_ends(body)
    before, after = (
        email.message_from_bytes(b"Content-Transfer-Encoding: quoted-printable\n\n" + octets).get_payload(decode=True)
        for octets in (body, masked)
    )
    assert isinstance(before, bytes)
    assert isinstance(after, bytes)
    assert len(after) == len(before)
    shown, wanted = squeeze(after), squeeze(text)
    common = min(len(wanted), len(shown) // 2)
    assert [_like(a, b) for a, b in zip(shown[:common], wanted[:common], strict=True)] == [True] * common


def _like(shown: str, wanted: str) -> bool:
    """An equals sign cannot stand for itself in quoted-printable; a line's last blank is a dot."""
    return shown == wanted or (wanted == "=" and shown == "-") or shown == "."


@settings(max_examples=150, deadline=2000, database=None, derandomize=True)
@given(st.binary(max_size=3000), st.sampled_from(["7bit", "8bit", "binary", "x-unknown"]), st.text(max_size=200))
def test_plain_text_keeps_its_line_ends(content: bytes, encoding: str, text: str) -> None:
    """Whatever stood between them, bare CR and LF too; what is laid in is ASCII, and no line of it a boundary."""
    masked = lay_over(content, encoding, text)
    assert line_ends(masked) == line_ends(content)
    assert masked.isascii()
    assert not re.search(rb"^--", masked.replace(b"\r", b"\n"), re.MULTILINE)


def test_the_text_is_laid_line_by_line_where_it_fits() -> None:
    """Broken between words, padded with blanks."""
    body = b"x" * 20 + b"\r\n\r\n" + b"y" * 20 + b"\r\n" + b"z" * 30
    assert lay_over(body, "7bit", "one two three four five\nsix") == (
        b"one two three four  \r\n\r\nfive                \r\nsix" + b" " * 27
    )


def test_the_text_is_packed_where_lines_are_few() -> None:
    """As much as there is room for."""
    assert lay_over(b"x" * 20 + b"\r\n", "8bit", "one\ntwo\nthree four five six") == b"one two three four f\r\n"


def test_quoted_printable_is_written_over_octet_by_octet() -> None:
    """Escapes stay escapes, soft breaks stay, no blank ends a line."""
    body = b"abc=C3=A4def=\r\nghi =\r\njkl  \r\nmnop\r\n"
    masked = lay_over(body, "quoted-printable", "12345678901 345\nab")
    assert masked == b"123=34=35678=\r\n901 =\r\n345  \r\nab .\r\n"


def test_a_signature_line_of_the_text_is_no_boundary() -> None:
    """Two hyphens at a line's begin could be one."""
    assert lay_over(b"x" * 10 + b"\r\n", "7bit", "--b1") == b" -b1      \r\n"


def test_a_large_body_is_covered_in_pieces() -> None:
    """None of them is longer than the reader's window, together they are all of it."""
    content = b"\0\1\2" * 700_001
    body = wrapped(content)
    edits = list(mask(MemoryBody(body), [Cover(0, len(body), "base64", TEXT)]))
    assert max(len(data) for _, data in edits) <= 256 * 1024
    assert [offset for offset, _ in edits] == [sum(len(d) for _, d in edits[:n]) for n in range(len(edits))]
    decoded = b64decode(b"".join(data for _, data in edits))
    assert decoded.startswith(TEXT.replace("\n", "\r\n").encode())
    assert decoded.strip() == TEXT.strip().replace("\n", "\r\n").encode()
    assert len(decoded) == len(content)


@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
def test_a_body_of_one_endless_line_is_covered(encoding: str) -> None:
    """Line ends divide the pieces only where there are any."""
    body = b"=41" * 100_000 if encoding == "quoted-printable" else b"QUJD" * 60_000
    masked = lay_over(body, encoding)
    assert len(masked) == len(body)
    assert b"QUJDQUJD" not in masked
    assert b"=41=41" not in masked
    assert len(re.findall(b"=[0-9A-F]{2}", masked)) == body.count(b"=41")


@pytest.mark.parametrize("body", [b"", b"\r\n", b"QQ", b"=", b"A=B=C", b"====", b"QUJD=QUJD", b"Q\r\nU\r\nJ\r\nD"])
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "7bit"])
def test_tiny_and_broken_bodies_keep_their_length(body: bytes, encoding: str) -> None:
    """Whatever their form."""
    masked = lay_over(body, encoding)
    assert len(masked) == len(body)
    assert line_ends(masked) == line_ends(body)
    assert b"QUJD" not in masked


def test_a_blank_is_as_long() -> None:
    """Line ends stay."""
    assert blank(b"a\r\n\0\xffb\n") == b" \r\n   \n"


_ENCODED = {
    "base64": wrapped,
    "quoted-printable": lambda data: encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"),
    "7bit": lambda data: data + b"\r\n",
}
_WORDS = st.lists(st.sampled_from([b"hello", b"world", b" ", b"\r\n", b"= ", b"a.b", b"-", b"."])).map(b"".join)
_PARTS = st.lists(st.tuples(st.sampled_from(sorted(_ENCODED)), _WORDS, st.booleans()), min_size=1, max_size=5)


def put_together(parts: list[tuple[str, bytes, bool]]) -> bytes:
    """A mail of these parts: encoding, text, and whether there is a virus before it."""
    mail = b'Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b!b"\r\n\r\n'
    for encoding, words, infected in parts:
        body = _ENCODED[encoding]((EICAR + b"\r\n" if infected else b"") + b"text " + words)
        kind = b"application/octet-stream" if infected else b"text/plain"
        mail += b"--b!b\r\nContent-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding.encode()
        mail += b"\r\n\r\n" + body.removesuffix(b"\r\n") + b"\r\n"
    return mail + b"--b!b--\r\n"


@settings(max_examples=80, deadline=5000, database=None, derandomize=True)
@given(_PARTS)
def test_of_a_mail_put_together_only_infected_parts_change(parts: list[tuple[str, bytes, bool]]) -> None:
    """Afterwards no view shows the virus, the text stands where it was, siblings and sizes are as before."""
    data = put_together(parts)
    with reading(data) as mail:
        assert len(mail.leaves) == len(parts)
        covers = [
            cover_document(leaf, "removed: virus")
            for leaf, (_, _, infected) in zip(mail.leaves, parts, strict=True)
            if infected
        ]
        masked = b"".join(mask_mail(MemoryBody(data), covers))
        assert line_ends(masked) == line_ends(data)
        assert not is_found(MemoryBody(masked))
        with reading(masked) as again:
            assert not finds(again)
            assert again.ambiguities == ()
            for before, after, (_, _, infected) in zip(mail.leaves, again.leaves, parts, strict=True):
                old, new = (leaf.views[0].body.read(0, leaf.size) for leaf in (before, after))
                assert len(old) == len(new)
                assert squeeze(new).startswith("removed:virus") if infected else new == old
