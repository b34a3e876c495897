"""What `read_mail` tells of a mail that is not ambiguous: parts, names, offsets, views."""

from __future__ import annotations

import base64

import pytest

from inspection.spool import SpoolFull, SpoolRoom
from mailgw.mime.reader import Limits, read_mail
from mailgw.mime.rules import Rule
from scanners.body import MemoryBody
from tests.mailgw.corpus import structures
from tests.mailgw.corpus.structures import TOP, multipart, part
from tests.mailgw.mime.views import reading


@pytest.mark.parametrize(
    ("structure", "numbers"),
    [
        ("single", ["1"]),
        ("mixed", ["1", "2"]),
        ("nested", ["1.1", "1.2.1", "1.2.2", "2"]),
        ("attached", ["1", "2.1", "2.2"]),
        ("digest", ["1.1", "2.1"]),
        ("report", ["1", "2", "3.1"]),
    ],
)
def test_numbers(structure: str, numbers: list[str]) -> None:
    """Leaves are numbered as IMAP numbers them."""
    with reading(structures.HONEST[structure](b"Content-Type: text/plain", b"hello")) as mail:
        assert [leaf.part for leaf in mail.documents] == numbers


def test_offsets() -> None:
    """A leaf's header and body lie where the offsets say, without the line end before the boundary."""
    data = structures.mixed(b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64", b"QUJD")
    with reading(data) as mail:
        leaf = mail.documents[1]
        assert data[leaf.start : leaf.body].startswith(b"Content-Type: a/b\r\n")
        assert data[leaf.body : leaf.end] == b"QUJD"
        assert (leaf.content_type, leaf.encoding, leaf.size) == ("a/b", "base64", 3)
        assert leaf.content is not None
        assert leaf.content.read(0, 10) == b"ABC"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (b'Content-Disposition: attachment; filename="a b.pdf"', "a b.pdf"),
        (b"Content-Disposition: attachment; filename*=utf-8''p%C5%99.pdf", "př.pdf"),
        (b'Content-Disposition: attachment; filename*0="long"; filename*1=".pdf"', "long.pdf"),
        (b"Content-Disposition: attachment; filename*0*=iso-8859-2''p%F8; filename*1=.pdf", "př.pdf"),
        (b'Content-Type: a/b; name="=?utf-8?b?cMWZLnBkZg==?="', "př.pdf"),
        (b'Content-Type: a/b; name="=?iso-8859-2?q?p=F8?=\r\n =?iso-8859-2?q?=2Epdf?="', "př.pdf"),
        ('Content-Type: a/b; name="př.pdf"'.encode(), "př.pdf"),
        (b'Content-Type: a/b; name="a.pdf"\r\nContent-Disposition: attachment; filename="b.pdf"', "b.pdf"),
        (b"Content-Disposition: attachment; filename=\"a.pdf\"; filename*=utf-8''%C5%99.pdf", "ř.pdf"),
        (b"Content-Disposition: attachment; filename=my file.pdf", "my file.pdf"),
        (b"Content-Disposition: attachment; filename*=nonsense''a.pdf", "a.pdf"),
        (b"Content-Disposition: attachment", None),
    ],
)
def test_filename(fields: bytes, name: str | None) -> None:
    """A name is read by RFC 2231 and 2047, and as clients write it; a name alone makes no mail ambiguous."""
    with reading(TOP + fields + b"\r\n\r\nhello\r\n") as mail:
        assert mail.documents[0].filename == name
        assert not mail.ambiguous


def test_names_that_differ() -> None:
    """Two names of different extensions make a mail ambiguous."""
    with reading(TOP + b'Content-Type: a/b; name="a.exe"\r\nContent-Disposition: x; filename="a.txt"\r\n\r\nx') as mail:
        assert [found.rule for found in mail.ambiguities] == [Rule.FILENAME]
        assert str(mail.ambiguities[0]) == "filename (mail): several names that differ"


def test_ambiguous_document() -> None:
    """An ambiguous mail is one document as large as the mail, with the views of every leaf."""
    data = TOP + multipart(b"mixed", b"b", part(b"X-A: b", b"one"), part(b"Content-Transfer-Encoding: odd", b"two"))
    with reading(data) as mail:
        (document,) = mail.documents
        assert (document.part, document.content_type, document.size) == ("", "message/rfc822", len(data))
        assert {b"one", b"two"} <= {view.body.read(0, 10) for view in document.views}


def test_no_room() -> None:
    """Without room for a part SpoolFull is raised, and what was kept is let go."""
    room = SpoolRoom(max_total=1000)
    with pytest.raises(SpoolFull):
        read_mail(MemoryBody(structures.mixed(b"X-A: b", b"x" * 2000)), room)
    assert room.used == 0


def test_depth() -> None:
    """The limits are the caller's to set."""
    data = structures.nested(b"X-A: b", b"x")
    with reading(data, Limits(depth=4)) as mail:
        assert not mail.ambiguous
    with reading(data, Limits(depth=1)) as mail:
        assert [found.rule for found in mail.ambiguities if found.rule is Rule.LIMIT]


def test_long_leaves() -> None:
    """Large leaves are no reason to be ambiguous, although the second opinion sees their ends only."""
    text = base64.encodebytes(bytes(range(256)) * 2000).replace(b"\n", b"\r\n")
    lines = b"-- a comment\r\n" * 30_000
    data = TOP + multipart(
        b"mixed",
        b"b",
        part(b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64", text),
        part(b"Content-Type: text/plain", lines),
    )
    with reading(data) as mail:
        assert mail.ambiguities == ()
        assert [leaf.size for leaf in mail.documents] == [512_000, len(lines)]
