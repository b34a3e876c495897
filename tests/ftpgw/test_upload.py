"""Uploads: conversations with a server that does what a test needs."""

import asyncio
import socket

import pytest

from ftpgw.data_stream import reset_at_close
from inspection.spool import Spool
from tests.fakes.ftp_server import Conversation
from tests.ftpgw.conftest import Stage, Talk
from tests.http import samples

DATA = samples.clean("upload", 50_000)


async def send(talk: Talk, line: str, data: bytes) -> None:
    """The whole upload, its reply not read."""
    _reader, writer = await talk.open_data()
    assert (await talk.ask(line))[:3] == "150"
    writer.write(data)
    writer.close()
    await writer.wait_closed()


async def is_checking(stage: Stage) -> None:
    """Until the engine has all of it."""
    scans = stage.engine.streams
    await stage.until(lambda: stage.engine.streams > scans)


async def test_an_upload(stage: Stage) -> None:
    """The server gets what came, once it was checked, and its word is the client's."""
    async with await stage.open() as talk:
        await talk.login()
        await send(talk, "STOR up", DATA)
        assert await talk.reply() == "226 got it"
    assert stage.upstream.stored == {"up": DATA}
    record = await stage.record()
    assert (record["action"], record["size"], record["direction"]) == ("accept", 50_000, "upload")


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_dies_in_the_check(stage: Stage, way: str) -> None:
    """Whoever has sent all and is gone before the verdict has stored nothing."""
    async with await stage.open() as talk:
        await talk.login()
        stage.engine.delay = 0.6
        await send(talk, "STOR lost", DATA)
        await is_checking(stage)
        if way == "reset":
            reset_at_close(talk.writer.get_extra_info("socket"))
        talk.writer.close()
        await stage.until(lambda: stage.upstream.open == 0)
    assert stage.upstream.commands("STOR") == []
    assert (await stage.record())["reason"] == "client-gone"


async def test_a_client_that_dies_before_the_server_is_asked(stage: Stage) -> None:
    """The same between the verdict and the STOR: the control connection is looked at right before it."""
    dying: list[Talk] = []

    async def meanwhile(session: Conversation, _argument: str) -> None:
        dying[0].writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        await session.say_passive(extended=True)

    stage.upstream.scripts["EPSV"] = meanwhile
    async with await stage.open() as talk:
        await talk.login()
        dying.append(talk)
        await send(talk, "STOR late", DATA)
        await stage.until(lambda: stage.upstream.open == 0)
    assert stage.upstream.commands("STOR") == []


async def test_abort_in_the_check(stage: Stage) -> None:
    """ABOR after all was sent: 426, 226, nothing is stored, and the session goes on."""
    async with await stage.open() as talk:
        await talk.login()
        stage.engine.delay = 5.0
        await send(talk, "STOR aborted", DATA)
        await is_checking(stage)
        assert (await talk.ask("ABOR"))[:3] == "426"
        assert (await talk.reply())[:3] == "226"
        assert (await talk.ask("NOOP"))[:3] == "200"
    assert stage.upstream.commands("STOR") == []


async def test_what_is_too_large_is_not_held_in_memory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `skipped` accepted what was spooled until then goes on from the file, not through one large piece."""
    pieces: list[int] = []
    read = Spool.read

    def watch(self: Spool, offset: int, size: int) -> bytes:
        pieces.append(size)
        return read(self, offset, size)

    monkeypatch.setattr(Spool, "read", watch)
    data = samples.clean("large", 3_000_000)
    accepts = "accept-antivirus-status: [skipped]\n"
    async with await stage.open(accepts, top="spool: {memory: 1000}\n", max_checked_size="2000000") as talk:
        await talk.login()
        await send(talk, "STOR large", data)
        assert await talk.reply() == "226 got it"
    assert stage.upstream.stored == {"large": data}
    assert max(pieces, default=0) <= 1 << 20
    assert (await stage.record())["status"] == "skipped"


@pytest.mark.parametrize("lines", [("REST 10", "STOR none"), ("APPE none",)])
async def test_continuing_what_is_not_there(stage: Stage, lines: tuple[str, ...]) -> None:
    """REST and STOR of a file that is not there is refused in the server's words; APPE makes it."""
    stage.upstream.scripts["RNFR"] = stage.upstream.scripts["MDTM"] = refuse
    async with await stage.open() as talk:
        await talk.login()
        _reader, writer = await talk.open_data()
        for line in lines[:-1]:
            await talk.ask(line)
        answer = await talk.ask(lines[-1])
        writer.close()
    assert answer == ("550 no such file: ask for another" if len(lines) == 2 else "150 Ok to send data.")
    assert stage.upstream.commands("STOR") == []


async def refuse(session: Conversation, _name: str) -> None:
    """No."""
    session.say("550 it is not there")


async def test_what_cannot_be_read_is_not_continued(stage: Stage) -> None:
    """A file that is there and may not be fetched is not appended to: nobody could check the whole."""
    stage.upstream.files["secret"] = b"x"
    stage.upstream.scripts["RETR"] = refuse
    async with await stage.open() as talk:
        await talk.login()
        _reader, writer = await talk.open_data()
        answer = await talk.ask("APPE secret")
        writer.close()
    assert answer[:3] == "550"
    assert "unknown" in answer


async def test_magic_waits_one_interval(stage: Stage) -> None:
    """An upload that begins as a picture is under the ACL of pictures after one interval, although its client waits."""
    passes = "- {name: PICTURES, when: {magic: image/gif}, action: accept}\n"
    async with await stage.open("interval: 200ms\nchunk: 10\n", before=passes) as talk:
        await talk.login()
        _reader, writer = await talk.open_data()
        assert (await talk.ask("STOR picture"))[:3] == "150"
        writer.write(b"GIF89a" + bytes(94))
        await stage.until(lambda: stage.upstream.commands("STOR"))
        writer.write(DATA)
        writer.close()
        assert (await talk.reply())[:3] == "226"
    assert stage.upstream.stored == {"picture": b"GIF89a" + bytes(94) + DATA}
    assert (await stage.record())["acl"] == "PICTURES"


async def test_a_server_that_refuses_at_the_end(stage: Stage) -> None:
    """A last word that is no success is the client's last word, and the record names the server."""

    async def full(session: Conversation, _name: str) -> None:
        session.say("150 go on")
        reader, _writer = await session.data()
        await reader.read()
        session.say("452 disk full")

    stage.upstream.scripts["STOR"] = full
    async with await stage.open() as talk:
        await talk.login()
        await send(talk, "STOR up", DATA)
        assert await talk.reply() == "452 disk full"
    assert (await stage.record())["reason"] == "upstream"


async def test_commands_wait_for_the_upload(stage: Stage) -> None:
    """What comes during a check is answered behind it, in order."""
    async with await stage.open() as talk:
        await talk.login()
        stage.engine.delay = 0.2
        await send(talk, "STOR up", DATA)
        talk.send("NOOP")
        talk.send("PWD")
        async with asyncio.timeout(5):
            assert [(await talk.reply())[:3] for _ in range(3)] == ["226", "200", "257"]


@pytest.mark.parametrize("way", ["gone", "ABOR"])
async def test_a_client_that_leaves_while_its_upload_is_stored(stage: Stage, way: str) -> None:
    """What has passed and begun to reach the server is stored whole though its client is gone; ABOR breaks it off."""
    begun, left = asyncio.Event(), asyncio.Event()

    async def slowly(session: Conversation, name: str) -> None:
        session.say("150 go on")
        reader, _writer = await session.data()
        begun.set()
        await left.wait()
        try:
            stage.upstream.stored[name] = await reader.read()
        except ConnectionResetError:
            session.say("426 broken off")
            return
        session.say("226 got it")

    stage.upstream.scripts["STOR"] = slowly
    data = samples.clean("leaves", 20_000_000)
    async with await stage.open(max_checked_size="30000000") as talk:
        await talk.login()
        await send(talk, "STOR up", data)
        await begun.wait()
        if way == "ABOR":
            assert (await talk.ask("ABOR"))[:3] == "426"
        else:
            talk.writer.close()
            await stage.until(lambda: next(iter(stage.hosted._sessions)).is_gone)
        left.set()
        await stage.until(stage.lines)
    assert (stage.upstream.stored == {"up": data}) is (way == "gone")
    record = await stage.record()
    assert (record["action"], record["reason"]) == (("accept", None) if way == "gone" else ("deny", "client-gone"))
