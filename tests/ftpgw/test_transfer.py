"""What downloads and uploads have in common: how they end where a peer does not do its part."""

import asyncio

import pytest

from ftpgw.data_stream import reset_at_close
from tests.fakes.ftp_server import Conversation, Script
from tests.ftpgw.conftest import Stage
from tests.http import samples

TRICKLE = "interval: 200ms\nchunk: 1000\nlimit: 10000\n"
DATA = samples.clean("transfer", 30_000)


async def pour(session: Conversation, _name: str) -> None:
    """More than a connection holds, then nothing."""
    session.say("150 here it comes")
    _reader, writer = await session.data()
    writer.write(bytes(20_000_000))


async def hang(session: Conversation, _name: str) -> None:
    """Data, and no word behind it, also when the data connection is broken."""
    session.say("150 here it comes")
    _reader, writer = await session.data()
    writer.write(DATA)


@pytest.mark.parametrize(("command", "script"), [("RETR", hang), ("LIST", pour)])
async def test_a_server_that_hangs_holds_up_no_reply(stage: Stage, command: str, script: Script) -> None:
    """A client that resets its data connection is answered within a second, whatever its server does not say."""
    stage.upstream.scripts[command] = script
    async with await stage.open(TRICKLE) as talk:
        await talk.login()
        reader, writer = await talk.open_data()
        assert (await talk.ask(f"{command} file"))[:3] == "150"
        assert await reader.read(1)
        reset_at_close(writer.get_extra_info("socket"))
        writer.close()
        async with asyncio.timeout(1):
            assert (await talk.reply())[:3] == "426"


async def test_abort_of_a_server_that_hangs(stage: Stage) -> None:
    """ABOR is answered within a second, too."""
    stage.upstream.scripts["RETR"] = hang
    async with await stage.open(TRICKLE) as talk:
        await talk.login()
        reader, _writer = await talk.open_data()
        assert (await talk.ask("RETR file"))[:3] == "150"
        assert await reader.read(1)
        async with asyncio.timeout(1):
            assert (await talk.ask("ABOR"))[:3] == "426"
            assert (await talk.reply())[:3] == "226"


async def test_a_client_that_never_opens_its_data_connection(stage: Stage) -> None:
    """It is a 425 after `header`, and the session goes on."""
    stage.upstream.files["file"] = DATA
    async with await stage.open(more="limits: {header: 300ms, stall: 5s}\n") as talk:
        await talk.login()
        await talk.ask("EPSV")
        assert (await talk.ask("RETR file"))[:3] == "425"
        assert (await talk.ask("NOOP"))[:3] == "200"


async def test_a_server_that_stalls(stage: Stage) -> None:
    """After `stall` it has failed: 451, and a record that names it."""
    stage.upstream.scripts["RETR"] = hang
    async with await stage.open(more="limits: {stall: 300ms}\n") as talk:
        await talk.login()
        await talk.open_data()
        assert (await talk.ask("RETR file"))[:3] == "451"
    assert (await stage.record())["reason"] == "upstream"


async def test_the_spool_is_given_back(stage: Stage) -> None:
    """After each transfer, however it ends, no byte of a spool is in use."""
    stage.upstream.files["file"] = DATA
    stage.upstream.files["bad"] = samples.infected("given back", 30_000)
    async with await stage.open(TRICKLE) as talk:
        await talk.login()
        for name, code in (("file", "150"), ("bad", "550")):
            reader, _writer = await talk.open_data()
            assert (await talk.ask(f"RETR {name}"))[:3] == code
            if code == "150":
                assert await reader.read() == DATA
                assert (await talk.reply())[:3] == "226"
        assert stage.hosted.gateway.room.used == 0
        assert stage.hosted.gateway.under_way == 0


async def test_abort_before_150(stage: Stage) -> None:
    """ABOR amid the check of a download of which nothing has left: 426, 226, and no byte of it."""
    stage.upstream.files["file"] = DATA
    async with await stage.open() as talk:
        await talk.login()
        stage.engine.delay = 5.0
        reader, _writer = await talk.open_data()
        scans = stage.engine.streams
        talk.send("RETR file")
        await stage.until(lambda: stage.engine.streams > scans)
        assert (await talk.ask("ABOR"))[:3] == "426"
        assert (await talk.reply())[:3] == "226"
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert (await stage.record())["reason"] == "client-gone"


async def test_quit_during_a_transfer(stage: Stage) -> None:
    """The transfer ends whole, then QUIT is answered, then the connection ends (RFC 959, 4.1.1)."""
    stage.upstream.files["file"] = DATA
    async with await stage.open() as talk:
        await talk.login()
        stage.engine.delay = 0.3
        reader, _writer = await talk.open_data()
        talk.send("RETR file")
        talk.send("QUIT")
        assert [(await talk.reply())[:3] for _ in range(3)] == ["150", "226", "221"]
        assert await reader.read() == DATA
        assert await talk.reply() == ""
