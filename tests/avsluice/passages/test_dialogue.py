"""Replies of three digits, as FTP and SMTP have them."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from avsluice.passages.dialogue import Dialogue, Reply


async def read(data: bytes) -> Reply:
    """The reply that a peer's octets are, before it goes."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await Dialogue(reader, cast("asyncio.StreamWriter", None)).reply()


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b"220 ready\r\n", Reply(220, "ready")),
        (b"220\n", Reply(220, "")),
        (b"250-one\r\n250 two\r\n", Reply(250, "two")),
        (b"211-Features:\r\n 200 of no account\r\n211 End\r\n", Reply(211, "End")),
    ],
)
async def test_replies(data: bytes, reply: Reply):
    """One line, several, and FTP's with lines that are no replies between."""
    assert await read(data) == reply


@pytest.mark.parametrize("data", [b"", b"220 half", b"250-one\r\n"])
async def test_an_end_is_an_end(data: bytes):
    """A peer that goes before its reply is whole has not replied."""
    with pytest.raises(OSError, match="closed"):
        await read(data)


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n", b"\r\n", b"220-a\r\n" * 300])
async def test_what_is_no_reply(data: bytes):
    """Another protocol's words, and what does not end."""
    with pytest.raises(ValueError, match="reply"):
        await read(data)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("5.7.1 not accepted: found, id hoeyk644qng242ny9g9p", True),
        ("Infected with X: refused (doc-acl D, engine E, status found, id hoeyk5w8afo8erwoq83o)", True),
        ("2.0.0 Ok: queued as 855E0248430", False),
        ("5.7.1 id", False),
        ("Permission denied.", False),
    ],
)
def test_whose_word_it_is(text: str, ours: bool):
    """A gateway's verdict ends in a record's id."""
    assert Reply(550, text).ours is ours


def test_a_line_is_one_line():
    """What would be two commands is never sent."""
    dialogue = Dialogue(asyncio.StreamReader.__new__(asyncio.StreamReader), cast("asyncio.StreamWriter", None))
    with pytest.raises(ValueError, match="control characters"):
        dialogue.say("USER me\r\nDELE x")
