"""Who logs in, read from what passes."""

from __future__ import annotations

from base64 import b64encode

import pytest

from mailgw.imap.login import Identity, find_user

BOB = Identity("bob", "bob")


@pytest.mark.parametrize(
    ("mechanism", "text", "who"),
    [
        (b"PLAIN", b"\0bob\0secret", BOB),
        (b"plain", b"bob\0bob\0secret", BOB),
        (b"PLAIN", b"boss\0bob\0secret", Identity(None, "boss\0bob")),
        (b"PLAIN", b"bob", Identity()),
        (b"LOGIN", b"bob", BOB),
        (b"CRAM-MD5", b"bob 0123", BOB),
        (b"SCRAM-SHA-256", b"n,,n=bob,r=x", BOB),
        (b"SCRAM-SHA-1", b"n,a=boss,n=b=2Cb,r=x", Identity(None, "boss\0b,b")),
        (b"OAUTHBEARER", b"n,a=bob,\x01auth=Bearer x\x01\x01", Identity("bob")),
        (b"XOAUTH2", b"user=bob\x01auth=Bearer x\x01\x01", Identity("bob")),
        (b"OTHER", b"bob", Identity()),
    ],
)
def test_the_user_is_found(mechanism: bytes, text: bytes, who: Identity) -> None:
    """By each mechanism; of two that differ none is believed; a token proves no name to us."""
    assert find_user(mechanism, b64encode(text) + b"\r\n") == who


def test_what_is_no_base64_names_nobody() -> None:
    """Nor does an empty response."""
    assert find_user(b"PLAIN", b"*\r\n") == find_user(b"PLAIN", b"=\r\n") == Identity()
