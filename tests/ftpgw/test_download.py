"""Downloads: conversations with a server that does what a test needs."""

import asyncio

import pytest

from tests.fakes.ftp_server import Conversation
from tests.ftpgw.conftest import Stage
from tests.http import samples

PROGRAM = b"MZ" + bytes(98)
NO_PROGRAMS = "- {name: NOPROGRAM, when: {magic: application/x-dosexec}, action: deny}\n"
INTERVAL = "interval: 200ms\nchunk: 10\n"


def begin_with(data: bytes) -> object:
    """A RETR that sends so much, and then nothing."""

    async def script(session: Conversation, _name: str) -> None:
        session.say("150 here it comes")
        _reader, writer = await session.data()
        writer.write(data)

    return script


async def test_magic_waits_one_interval(stage: Stage) -> None:
    """What begins as a program is refused after one interval, although 4 KiB are not there and its server waits."""
    stage.upstream.scripts["RETR"] = begin_with(PROGRAM)  # type: ignore[assignment]
    async with await stage.open(INTERVAL, before=NO_PROGRAMS) as talk:
        await talk.login()
        _reader, writer = await talk.open_data()
        async with asyncio.timeout(2):
            answer = await talk.ask("RETR slow")
        writer.close()
    assert answer[:3] == "550"
    assert "NOPROGRAM" in answer


async def test_magic_lets_others_trickle(stage: Stage) -> None:
    """What begins as something else is under the next ACL after one interval, and trickles."""
    stage.upstream.scripts["RETR"] = begin_with(b"GIF89a" + bytes(94))  # type: ignore[assignment]
    async with await stage.open(INTERVAL, before=NO_PROGRAMS) as talk:
        await talk.login()
        reader, writer = await talk.open_data()
        async with asyncio.timeout(2):
            assert (await talk.ask("RETR slow"))[:3] == "150"
            assert await reader.read(100) == b"GIF89a" + bytes(4)
        writer.close()


async def test_magic_of_what_is_short(stage: Stage) -> None:
    """A program of less than 4 KiB is known at its end."""
    stage.upstream.files["short"] = PROGRAM
    async with await stage.open(before=NO_PROGRAMS) as talk:
        await talk.login()
        _reader, writer = await talk.open_data()
        assert "NOPROGRAM" in await talk.ask("RETR short")
        writer.close()


async def test_rest_behind_the_end(stage: Stage) -> None:
    """It is a 554 and nothing is fetched for it; the data connection that was laid serves the next command."""
    stage.upstream.files["file"] = b"0123456789"
    async with await stage.open() as talk:
        await talk.login()
        reader, _writer = await talk.open_data()
        await talk.ask("REST 11")
        assert (await talk.ask("RETR file"))[:3] == "554"
        assert stage.upstream.commands("RETR") == []
        assert (await talk.ask("RETR file"))[:3] == "150"
        assert await reader.read() == b"0123456789"
        assert (await talk.reply())[:3] == "226"


@pytest.mark.parametrize("offset", [0, 3])
async def test_type_a(stage: Stage, offset: int) -> None:
    """Line ends become CR LF, and REST counts what travels."""
    stage.upstream.files["text"] = b"a\nb\r\nc\n"
    async with await stage.open() as talk:
        await talk.login()
        await talk.ask("TYPE A")
        reader, _writer = await talk.open_data()
        await talk.ask(f"REST {offset}")
        assert (await talk.ask("RETR text"))[:3] == "150"
        assert await reader.read() == b"a\r\nb\r\nc\r\n"[offset:]
    assert b"TYPE A\r\n" not in stage.upstream.lines


async def test_what_is_too_large_streams(stage: Stage) -> None:
    """With `skipped` accepted what is too large to check is recorded as skipped, and only the tail is asked for."""
    data = samples.clean("streams", 100_000)
    stage.upstream.files["large"] = data

    async def from_there(session: Conversation, _name: str) -> None:
        session.say("150 from 99990")
        _reader, writer = await session.data()
        writer.write(data[99_990:])
        writer.close()
        session.say("226 that was it")

    stage.upstream.scripts["RETR"] = from_there
    async with await stage.open("accept-antivirus-status: [skipped]\n", max_checked_size="1000") as talk:
        await talk.login()
        reader, _writer = await talk.open_data()
        await talk.ask("REST 99990")
        assert (await talk.ask("RETR large"))[:3] == "150"
        assert await reader.read() == data[99_990:]
        assert (await talk.reply()) == "226 that was it"
    assert b"REST 99990\r\n" in stage.upstream.lines
    assert (await stage.record())["status"] == "skipped"


@pytest.mark.parametrize(("size", "asked"), [(10, 0), (11, 1)])
async def test_the_version_of_what_cannot_trickle(stage: Stage, size: int, asked: int) -> None:
    """A file of one chunk never leaves early, so nobody has to know its version."""
    stage.upstream.files["file"] = bytes(size)
    async with await stage.open(INTERVAL) as talk:
        await talk.login()
        reader, _writer = await talk.open_data()
        await talk.ask("RETR file")
        assert await reader.read() == bytes(size)
    assert len(stage.upstream.commands("MDTM")) == asked
