"""Addresses: host and port, or a Unix socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.address import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3310", Address(host="127.0.0.1", port=3310)),
        ("[::1]:25", Address(host="::1", port=25)),
        ("mail.example.com:0", Address(host="mail.example.com", port=0)),
        ("/run/clamav/clamd.ctl", Address(unix="/run/clamav/clamd.ctl")),
    ],
)
def test_address_is_read_and_written_back(text: str, address: Address):
    """Each form is understood, and str() gives back what was written."""
    assert Address.parse(text) == address
    assert str(address) == text


def test_a_default_port_stands_in():
    """Where there is a default the port may be left out, with brackets too."""
    assert Address.parse("av.example.com", 3310).port == 3310
    assert Address.parse("[::1]", 1344) == Address(host="::1", port=1344)


def test_an_address_passes_through():
    """What is parsed already stays as it is."""
    address = Address(host="a", port=1)
    assert Address.parse(address) is address


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", ":1", "a:", "a:65536", "a:-1", "::1", "[::1", "[::1]1", "[a]:1", "1.2.3:4", "a b:1"),
        *("a:\u0663", "/" + "x" * 107, "/a\nb", "a" * 64 + ":1", "-a:1", 8080, None),
    ],
)
def test_what_is_no_address_is_refused(text: object):
    """Anything that could not be dialled is refused, with a word on what to write where that helps."""
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(text)


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_written_back(text: str):
    """No text makes the parser raise anything but ValueError, and what it takes it gives back."""
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert Address.parse(str(address)) == address
