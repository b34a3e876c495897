"""The process of the gateways that are not HTTP, with tiny gateways in it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from avsluice.hosting import HOSTED, open_hosted, serve_hosted
from inspection.host import Bound, CannotServe, Hosted, Orders, Witness
from policy.address import Address
from policy.load import PolicyError
from policy.model import FtpProxy
from policy.problem import Problem


def section(listen: str = "127.0.0.1:0", **items: str) -> FtpProxy:
    raw = {"listen": listen, "server": "127.0.0.1:21", "doc-acl": [{"name": "ALL"}], **items}
    return FtpProxy.model_validate(raw)


class Echo:
    """Says every line again, upper case; `end` ends a session, and nothing else does."""

    fixed = ("listen", "user")

    def __init__(self, name: str = "E", listen: str = "127.0.0.1:0", trouble: Exception | None = None) -> None:
        self.label = f"ftp-proxy.{name}"
        self.section = section(listen)
        self.next = self.section
        self.trouble = trouble
        self.done: list[str] = []
        self._servers: list[asyncio.Server] = []
        self._sessions: set[asyncio.StreamWriter] = set()
        self._empty = asyncio.Event()

    def read(self) -> None:
        if isinstance(self.trouble, PolicyError):
            raise self.trouble
        self.section = self.next

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        if self.trouble is not None:
            raise self.trouble
        for one in sockets:
            start = asyncio.start_unix_server if one.family == socket.AF_UNIX else asyncio.start_server
            self._servers.append(await start(self._serve, sock=one))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sessions.add(writer)
        self._empty.clear()
        while (line := await reader.readline()) not in (b"", b"end\n"):
            writer.write(line.upper())
        writer.close()
        self._sessions.discard(writer)
        if not self._sessions:
            self._empty.set()

    async def reload(self) -> None:
        self.done.append("reload")
        self.read()

    async def drain(self, patience: float) -> None:
        for server in self._servers:
            server.close()
        self.done.append(f"drain {patience:g}")
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._empty.wait()
        self.cut()

    def cut(self) -> None:
        for writer in tuple(self._sessions):
            writer.transport.abort()

    async def close(self) -> None:
        self.done.append("close")


class Ear(Witness):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.bound: dict[str, Bound] = {}
        self.heard: list[str] = []

    def ready(self, label: str, bound: Bound) -> None:
        self.bound[label] = bound
        self.heard.append(f"ready {label}")

    def attend(self, orders: Orders) -> None:
        self.orders = orders

    def reloading(self) -> None:
        self.heard.append("reloading")

    def settled(self) -> None:
        self.heard.append("settled")

    def stopping(self) -> None:
        self.heard.append("stopping")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own log and limits stay as they are."""
    monkeypatch.setattr("avsluice.hosting.log_to_stderr", lambda: None)
    monkeypatch.setattr("avsluice.hosting.allow_many_files", lambda: None)


@contextlib.asynccontextmanager
async def running(*gateways: Hosted, patience: float = 5.0):
    """The ear, and the host's task, once all are ready."""
    ear = Ear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve_hosted(gateways, ear, patience))
        await until(lambda: len(ear.bound) == len(gateways))
        yield ear, task


async def until(look) -> None:
    """Bounded by the test's own timeout."""
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110 - what it looks at tells nobody
            await asyncio.sleep(0)


class Caller:
    """A client with one session."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET) -> None:
        self._socket = socket.socket(family)
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def call(self, address: object) -> bytes:
        """Connect and say hello; what comes back."""
        await self._loop.sock_connect(self._socket, address)
        return await self.say(b"hello\n")

    async def say(self, line: bytes) -> bytes:
        """What is answered."""
        await self._loop.sock_sendall(self._socket, line)
        return await self._loop.sock_recv(self._socket, 100)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()


async def test_all_are_served_on_one_loop() -> None:
    """Each accepts where it was said to be ready, and each is closed in the end; 0."""
    one, two = Echo("ONE"), Echo("TWO")
    async with running(one, two) as (ear, task):
        for label in (one.label, two.label):
            with Caller() as caller:
                assert await caller.call(ear.bound[label][0]) == b"HELLO\n"
                assert await caller.say(b"end\n") == b""
        ear.orders.drain()
    assert task.result() == 0
    assert one.done == two.done == ["drain 5", "close"]
    assert ear.heard == ["ready ftp-proxy.ONE", "ready ftp-proxy.TWO", "stopping"]


class Proving(Echo):
    """Never done with proving its engines."""

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        self.done.append("start")
        await asyncio.Event().wait()


async def test_the_end_is_not_kept_waiting_by_a_beginning() -> None:
    """Told to end while engines are proven, the process ends at once: 0, nobody is announced, all are closed."""
    slow, other = Proving("SLOW"), Echo("OTHER")
    ear = Ear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve_hosted([slow, other], ear, 5))
        await until(lambda: slow.done == ["start"])
        ear.orders.drain()
        async with asyncio.timeout(5):
            assert await task == 0
    assert slow.done == ["start", "close"]
    assert other.done == ["close"]
    assert ear.heard == ["stopping"]


async def test_a_session_may_end_and_a_second_order_cuts_it() -> None:
    """Drain waits for it; asked to drain again nothing changes, told to cut it is cut."""
    async with running(Echo(), patience=60) as (ear, task):
        with Caller() as caller:
            await caller.call(ear.bound["ftp-proxy.E"][0])
            ear.orders.drain()
            ear.orders.drain()
            assert await caller.say(b"still\n") == b"STILL\n"
            assert not task.done()
            ear.orders.cut()
            with pytest.raises(ConnectionError):
                await caller.say(b"more\n")
    assert ear.heard[-1:] == ["stopping"]


async def test_cut_without_a_drain_ends_at_once() -> None:
    """As when the supervising process is gone: no patience at all."""
    echo = Echo()
    async with running(echo, patience=60) as (ear, task):
        with Caller() as caller:
            await caller.call(ear.bound["ftp-proxy.E"][0])
            ear.orders.cut()
            await task
    assert echo.done == ["drain 0", "close"]


async def test_reload_tells_what_takes_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    """All are reloaded, one after the other; a changed address is named, as long as it differs from the first."""
    echo = Echo()
    first = echo.section
    async with running(echo, Echo("F")) as (ear, _):
        for changed, warnings in ((section("127.0.0.1:2121"), 1), (section("127.0.0.1:2121"), 2), (first, 2)):
            echo.next = changed
            settled = ear.heard.count("settled")
            ear.orders.reload()
            await until(lambda settled=settled: ear.heard.count("settled") > settled)
            told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
            assert len(told) == warnings
            assert all("ftp-proxy.E: listen has changed: that needs a restart" in one for one in told)
        ear.orders.drain()
    assert ear.heard[2:4] == ["reloading", "settled"]


@pytest.mark.parametrize(
    "trouble",
    [
        RuntimeError("no engine"),
        ExceptionGroup("several", [ValueError("no engine")]),
        PolicyError([Problem(file="p.yaml", line=1, col=1, path="", text="no engine")]),
    ],
)
async def test_one_that_cannot_begin_ends_all(trouble: Exception) -> None:
    """Nobody is announced, nobody is left accepting, and it is told why."""
    good, bad = Echo("GOOD"), Echo("BAD", trouble=trouble)
    ear = Ear()
    with pytest.raises(CannotServe, match="no engine"):
        await serve_hosted([good, bad], ear, 5)
    assert ear.heard == []
    assert good.done[-1:] == bad.done[-1:] == ["close"]


async def test_an_address_that_is_taken_is_named() -> None:
    """Before any engine is asked."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotServe, match=rf"ftp-proxy\.E: listen {address}: Address already in use"):
            await serve_hosted([Echo(listen=address)], Ear(), 5)


async def test_a_unix_socket_is_listened_on(tmp_path: Path) -> None:
    """Left over from a crash or not."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with running(Echo(listen=str(path))) as (ear, _):
        assert ear.bound["ftp-proxy.E"] == [(str(path), 0)]
        with Caller(socket.AF_UNIX) as caller:
            assert await caller.call(str(path)) == b"HELLO\n"
        ear.orders.drain()


async def test_a_shared_address_takes_the_place_of_the_policy_s() -> None:
    """As several workers have it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        ear = Ear()
        async with asyncio.TaskGroup() as group:
            at = {"ftp-proxy.E": Address(host="127.0.0.1", port=port)}
            group.create_task(serve_hosted([Echo(listen="127.0.0.1:1")], ear, 5, at))
            await until(lambda: bool(ear.bound))
            ear.orders.drain()
        assert ear.bound["ftp-proxy.E"] == [("127.0.0.1", port)]


@pytest.mark.parametrize("kind", HOSTED)
def test_what_is_registered_can_be_opened(kind: str, tmp_path: Path) -> None:
    """Its class is there, and knows its label and what a reload does not change."""
    gateway = open_hosted(tmp_path / "p.yaml", f"{kind}.NAME")
    assert gateway.label == f"{kind}.NAME"
    assert "listen" in gateway.fixed
