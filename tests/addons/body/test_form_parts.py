"""Forms: divided in one way, or refused."""

from __future__ import annotations

import pytest

from addons.body.form_parts import MAX_PARTS, FormError, find_boundary, find_parts
from scanners.body import MemoryBody

FORM = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--b\r\n\r\n\r\ntwo\r\n\r\n--b--\r\n'


def parts(body: bytes) -> list[tuple[bytes, str]]:
    return [(body[p.start : p.stop], p.coding) for p in find_parts(MemoryBody(body), b"b") if p is not None]


def test_the_parts_of_a_form() -> None:
    """Line ends inside of a part belong to it, the one before a boundary does not."""
    assert parts(FORM) == [(b"one", ""), (b"\r\ntwo\r\n", "")]


def test_a_transfer_coding_is_told() -> None:
    """Only those that change the bytes count."""
    head = b"--b\r\nContent-Transfer-Encoding: %b\r\n\r\nYQ==\r\n--b--"
    assert [parts(head % name)[0][1] for name in (b"BASE64", b"binary", b"8bit")] == ["base64", "", ""]


def test_boundaries_across_pieces_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the body is read in small pieces, the same parts come out."""
    for size in range(1, 40):
        monkeypatch.setattr("addons.body.form_parts._PIECE", size)
        assert parts(FORM) == [(b"one", ""), (b"\r\ntwo\r\n", "")]


ODD = {
    "cut": FORM[:-8],
    "goes on": FORM + b"more",
    "goes on with a part": FORM + b"--b\r\n\r\nx\r\n--b--",
    "something before": b"x" + FORM,
    "line before": b"x\r\n" + FORM,
    "LF": FORM.replace(b"\r\n", b"\n"),
    "LF before a boundary": FORM.replace(b"one\r\n--b", b"one\n--b"),
    "boundary goes on": FORM.replace(b"--b\r\n\r\n", b"--bb\r\n\r\n"),
    "blank behind": FORM.replace(b"--b\r\n\r\n", b"--b \r\n\r\n"),
    "boundary in a part": FORM.replace(b"two", b"tw--bo"),
    "no head": b"--b\r\nno end\r\n--b--",
    "folded head": FORM.replace(b"form-data; ", b"form-data;\r\n "),
    "two codings": FORM.replace(
        b"Content-", b"Content-Transfer-Encoding: a\r\nContent-Transfer-Encoding: b\r\nContent-"
    ),
    "form in a form": FORM.replace(b"Content-Disposition: form-data", b"Content-Type: multipart/mixed"),
    "not a form": b"hello",
    "too many": b"--b\r\n\r\n\r\n" * (MAX_PARTS + 1) + b"--b--",
}


@pytest.mark.parametrize("name", ODD)
def test_what_could_be_divided_otherwise_is_refused(name: str) -> None:
    """Each of these is one form to one reader and another to the next."""
    with pytest.raises(FormError):
        parts(ODD[name])


def test_an_empty_body_has_no_parts() -> None:
    """Nothing is nothing, to everybody."""
    assert parts(b"") == []


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/form-data; boundary=b", b"b"),
        ('Multipart/Form-Data; charset=utf-8; BOUNDARY="a b"', b"a b"),
        ("multipart/mixed;boundary=b", b"b"),
        ("text/plain; note=multipart", None),
        (None, None),
    ],
)
def test_the_boundary(kind: str | None, boundary: bytes | None) -> None:
    """It is the one plain parameter of that name."""
    assert find_boundary(kind) == boundary


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary*=utf-8''b",
        "multipart/form-data; boundary=b, multipart/form-data; boundary=c",
        "multipart/form-data; boundary= b",
        'multipart/form-data; boundary="b',
        'multipart/form-data; boundary=""',
        "multipart form-data; boundary=b",
        "text/plain, multipart/form-data; boundary=b",
        "text/plain; multipart/form-data; boundary=b",
        "\u00a0multipart/form-data; boundary=b",
    ],
)
def test_a_boundary_that_readers_take_differently_is_refused(kind: str) -> None:
    """No boundary, two, or one in a spelling that not everybody reads."""
    with pytest.raises(FormError):
        find_boundary(kind)
