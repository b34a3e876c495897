"""Servers that go wrong: the right reply, and nothing half stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.ftp_server import Conversation, FakeFtpServer
from tests.fakes.loop_thread import LoopThread
from tests.fakes.patience import wait_until
from tests.ftp.conftest import DATA
from tests.ftp.gateway import FtpGateway
from tests.ftp.policies import policy, proxy
from tests.ftp.wire import Wire, read_all


def retrieve(wire: Wire, name: str = "file") -> tuple[bytes, str]:
    """RETR; what came, and the last reply."""
    port = wire.passive()
    with wire.connect_data(port) as data:
        answer = wire.ask(f"RETR {name}")
        if not answer.startswith("1"):
            return b"", answer
        got = read_all(data)
    return got, wire.reply()


def store(wire: Wire, name: str, content: bytes = DATA) -> str:
    """STOR; the last reply."""
    with wire.open_data() as data:
        answer = wire.ask(f"STOR {name}")
        if not answer.startswith("1"):
            return answer
        data.sendall(content)
    return wire.reply()


def test_the_fake_serves(upstream: FakeFtpServer) -> None:
    """What goes wrong below does so because of the scripts: without them the fake server itself serves."""
    with Wire(upstream.port) as direct:
        direct.login()
        assert retrieve(direct) == (DATA, "226 done")
        assert store(direct, "up") == "226 got it"
    assert upstream.stored == {"up": DATA}


def test_nothing_wrong(wire: Wire, upstream: FakeFtpServer) -> None:
    """Through the gateway it serves as well."""
    got, answer = retrieve(wire)
    assert (got == DATA, answer[:3]) == (True, "226")
    assert store(wire, "up").startswith("226")
    assert upstream.stored == {"up": DATA}


async def reset_midway(session: Conversation, _name: str) -> None:
    """RST amid the file."""
    session.say("150 here it comes")
    _reader, writer = await session.data()
    writer.write(DATA[:20_000])
    await writer.drain()
    session.reset_data(writer)
    session.say("426 broken")


async def end_and_fail(session: Conversation, _name: str) -> None:
    """A proper end of half the data, and a 426."""
    session.say("150 here it comes")
    _reader, writer = await session.data()
    writer.write(DATA[:20_000])
    writer.close()
    session.say("426 broken")


async def end_and_vanish(session: Conversation, _name: str) -> None:
    """A proper end of half the data, and the control connection is gone."""
    session.say("150 here it comes")
    _reader, writer = await session.data()
    writer.write(DATA[:20_000])
    writer.close()
    session.writer.close()


async def hang(session: Conversation, _name: str) -> None:
    """Half the data, then nothing any more."""
    session.say("150 here it comes")
    _reader, writer = await session.data()
    writer.write(DATA[:20_000])


async def never_connect(session: Conversation, _name: str) -> None:
    """No reply at all."""


@pytest.mark.parametrize("script", [reset_midway, end_and_fail, end_and_vanish, hang, never_connect])
def test_a_download_that_breaks(wire: Wire, upstream: FakeFtpServer, running: FtpGateway, script: object) -> None:
    """Half a file is never reported as a whole one: the reply is a 4xx, and the client gets none of it as checked."""
    name = script.__name__  # type: ignore[attr-defined]
    upstream.files[name] = DATA
    upstream.scripts["RETR"] = script  # type: ignore[assignment]
    got, answer = retrieve(wire, name)
    assert answer[:1] == "4", answer
    assert len(got) < 20_000
    record = running.record_of_path(f"/{name}")
    assert record["reason"] == "upstream", record


async def refuse_after_data(session: Conversation, name: str) -> None:
    """All is taken, and then it is no good."""
    session.say("150 go on")
    reader, _writer = await session.data()
    await reader.read(-1)
    session.say("452 disk full on the server")


async def close_after_data(session: Conversation, name: str) -> None:
    """All is taken, and the server is gone."""
    session.say("150 go on")
    reader, _writer = await session.data()
    await reader.read(-1)
    session.writer.close()


async def refuse(session: Conversation, name: str) -> None:
    """No."""
    session.say("553 not this name")


@pytest.mark.parametrize(
    ("script", "code"), [(refuse_after_data, "4"), (close_after_data, "4"), (refuse, "553"), (never_connect, "4")]
)
def test_an_upload_that_breaks(wire: Wire, upstream: FakeFtpServer, script: object, code: str) -> None:
    """An upload that the server did not confirm is not reported as stored."""
    upstream.scripts["STOR"] = script  # type: ignore[assignment]
    assert store(wire, "up").startswith(code)


def test_a_refusal_is_the_servers(wire: Wire) -> None:
    """A file that is not there is refused in the server's own words."""
    assert retrieve(wire, "none") == (b"", "550 no such file: ask for another")


async def lie(session: Conversation, _argument: str) -> None:
    """Another host's address in the reply to PASV."""
    await session.say_passive(extended=False, host="192,0,2,7")


async def no_parentheses(session: Conversation, _argument: str) -> None:
    """As some servers write it (RFC 1123, 4.1.2.6)."""
    port = await session.listen()
    session.say(f"227 Entering Passive Mode 127,0,0,1,{port >> 8},{port & 255}")


async def no_epsv(session: Conversation, _argument: str) -> None:
    """An old server."""
    session.say("500 what?")


@pytest.mark.parametrize("script", [lie, no_parentheses])
def test_odd_passive_replies(wire: Wire, upstream: FakeFtpServer, script: object) -> None:
    """Where EPSV is unknown PASV is used, and the data connection goes to the server, whatever address it names."""
    upstream.scripts |= {"EPSV": no_epsv, "PASV": script}  # type: ignore[dict-item]
    got, answer = retrieve(wire)
    assert (got == DATA, answer[:3]) == (True, "226")


BANNERS = [
    b"220-one\r\n220-two\r\n220 three\r\n",
    b"220-one\r\n2024 is a good year\r\n 220 not yet\r\n220 done\r\n",
    b"220-one\r\n221-odd\r\n500 odd\r\n220 done\r\n",
    b"220-\xe9t\xe9\r\n220 \xff\r\n",
]


@pytest.mark.parametrize("banner", BANNERS)
def test_odd_greetings(upstream: FakeFtpServer, running: FtpGateway, banner: bytes) -> None:
    """Greetings of many lines end where RFC 959 says, and the session works."""
    upstream.banner = banner
    with Wire(running.port) as session:
        session.login()
        assert retrieve(session)[0] == DATA


async def odd_login(session: Conversation, _argument: str) -> None:
    """Many lines, some of which look like the last."""
    session.writer.write(b"230-welcome\r\n230 1\r\n"[:13] + b"331 no\r\n 230 no\r\n230-\r\n230 in\r\n")


def test_an_odd_welcome(upstream: FakeFtpServer, running: FtpGateway) -> None:
    """So does the reply to PASS, and no reply is taken for the next command's."""
    upstream.scripts["PASS"] = odd_login
    with Wire(running.port) as session:
        session.ask("USER anonymous")
        assert session.code("PASS x") == 230
        assert session.code("NOOP") == 200
        assert session.ask("PWD").startswith("257")


@pytest.mark.parametrize("banner", [b"421 too many of you\r\n", b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_greets_with_no(upstream: FakeFtpServer, running: FtpGateway, banner: bytes) -> None:
    """A server that says 421, nothing, or no FTP: the client is told 421 or 530, in bounded time."""
    upstream.banner = banner
    with Wire(running.port) as session:
        answers = [session.welcome, *(session.ask(line) for line in ("USER anonymous",) if session.welcome[:1] == "2")]
        assert answers[-1][:3] in ("421", "530"), answers


async def refuse_login(session: Conversation, _argument: str) -> None:
    """No."""
    session.say("530 not you")


def test_a_login_that_is_refused(upstream: FakeFtpServer, running: FtpGateway) -> None:
    """The server's own words, and no command that needs a login is passed on afterwards."""
    upstream.scripts["PASS"] = refuse_login
    with Wire(running.port) as session:
        session.ask("USER anonymous")
        assert session.ask("PASS wrong") == "530 not you"
        assert session.code("PASV") >= 500
        assert session.code("RETR file") >= 500


def test_nobody_behind(gateway: Callable[..., FtpGateway]) -> None:
    """Where no server listens the client is told 421 or 530."""
    running = gateway(policy(proxy(1)))
    with Wire(running.port) as session:
        last = session.welcome if session.welcome[:1] != "2" else session.ask("USER anonymous")
        assert last[:3] in ("421", "530")


def test_a_server_that_goes_when_idle(upstream: FakeFtpServer, running: FtpGateway, fakes: LoopThread) -> None:
    """The server's 421 between two commands reaches the client as a 421 at the latest with its next command."""
    sessions: list[Conversation] = []

    async def remember(session: Conversation, _argument: str) -> None:
        sessions.append(session)
        session.say("200 nothing")

    async def go() -> None:
        sessions[0].say("421 good night")
        sessions[0].writer.close()

    upstream.scripts["NOOP"] = remember
    with Wire(running.port) as session:
        session.login()
        upstream.scripts["PWD"] = remember
        assert session.code("PWD") == 200
        fakes.run(go())
        assert wait_until(lambda: upstream.open == 0, 5)
        assert session.ask("CWD x")[:3] == "421"
