"""Who serves the metrics, and what it does not put up with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inspection.metrics import Metrics
from inspection.metrics_server import MOST_CONNECTIONS, WORKER, MetricsError, MetricsServer, _is_local
from policy.address import Address

ANY = Address(host="127.0.0.1", port=0)


@contextlib.asynccontextmanager
async def serving(address: Address = ANY) -> AsyncIterator[MetricsServer]:
    server = MetricsServer(Metrics())
    await server.hold("holder", address)
    try:
        yield server
    finally:
        server.release("holder")


async def ask(server: MetricsServer, request: bytes) -> bytes:
    """The whole answer; b"" where the connection ended without one."""
    assert server.bound is not None
    host, port = server.bound
    opening = asyncio.open_connection(host, port) if port else asyncio.open_unix_connection(host)
    reader, writer = await opening
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


async def test_pages():
    """Metrics, health, readiness; a HEAD has no body; what is not there is 404, what changes things 405."""
    async with serving() as server:
        answer = await ask(server, get("/metrics?x=1"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=")
        assert b"\navsluice_audit_lost_total 0.0\n" in answer
        assert (await ask(server, get("/healthz"))).endswith(b"\r\n\r\nok\n")
        answer = await ask(server, get("/readyz"))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b"no policy is in force\n")
        assert (await ask(server, get("/metrics").replace(b"GET", b"HEAD"))).endswith(b"\r\n\r\n")
        assert (await ask(server, get("/nothing"))).startswith(b"HTTP/1.1 404 ")
        assert (await ask(server, get("/metrics").replace(b"GET", b"POST"))).startswith(b"HTTP/1.1 405 ")
        assert b"openmetrics" in await ask(
            server, get("/metrics", "Accept: application/openmetrics-text;version=1.0.0")
        )


async def test_transfers_are_told_to_this_machine_only(monkeypatch: pytest.MonkeyPatch):
    """Who fetches what is private: neither another machine nor a page under a name that leads here is told."""
    async with serving() as server:
        for host, status in (("localhost:9105", 200), ("127.0.0.1", 200), ("[::1]:1", 200), ("evil.example", 403)):
            answer = await ask(server, f"GET /transfers HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        monkeypatch.setattr("inspection.metrics_server._is_local", lambda writer: False)
        assert (await ask(server, get("/transfers"))).startswith(b"HTTP/1.1 403 ")
        assert (await ask(server, get("/metrics"))).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("peer", "local"), [(("127.0.0.1", 7), True), (("::1", 7, 0, 0), True), ("", True), (("192.0.2.1", 7), False)]
)
def test_who_is_local(peer: object, local: bool):
    """Loopback and Unix sockets are this machine."""

    class Writer:
        def get_extra_info(self, name: str) -> object:
            return peer

    assert _is_local(Writer()) is local  # type: ignore[arg-type]  # of a writer only what is used


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\x00 \x80\r\n\r\n", b"GET / HTTP/9\r\n:\r\n\r\n"]
)
async def test_odd_requests_are_answered(request_: bytes):
    """What is no request gets an error, and the next one is served."""
    async with serving() as server:
        assert (await ask(server, request_)).startswith(b"HTTP/1.1 40")
        assert (await ask(server, get("/healthz"))).endswith(b"ok\n")


async def test_a_long_request_is_cut():
    """A head without end is not collected."""
    async with serving() as server:
        assert await ask(server, b"GET /" + b"x" * 100_000 + b"\r\n\r\n") == b""
        assert (await ask(server, get("/healthz"))).endswith(b"ok\n")


async def test_connections_are_bounded_in_number():
    """The one too many is closed at once; when the others have gone there is room again."""
    async with serving() as server, contextlib.AsyncExitStack() as stack:
        assert server.bound is not None
        held = [await asyncio.open_connection(*server.bound) for _ in range(MOST_CONNECTIONS)]
        for _, writer in held:
            stack.callback(writer.close)
        assert await ask(server, get("/healthz")) == b""
        for reader, writer in held:
            writer.write(get("/healthz"))
            assert (await reader.read()).endswith(b"ok\n")
        assert (await ask(server, get("/healthz"))).endswith(b"ok\n")


@pytest.mark.looptime
async def test_a_silent_client_is_dropped(monkeypatch: pytest.MonkeyPatch):
    """Who sends nothing loses the connection after 10 s."""
    server = MetricsServer(Metrics())
    reader = asyncio.StreamReader()
    dropped = asyncio.Event()

    class Writer:
        transport = type("Transport", (), {"abort": staticmethod(dropped.set)})

        def close(self) -> None: ...

    began = asyncio.get_running_loop().time()
    await server._serve(reader, Writer())  # type: ignore[arg-type]  # of a writer only what is used
    assert dropped.is_set()
    assert asyncio.get_running_loop().time() - began == 10


async def test_an_address_that_is_taken_is_told():
    """It cannot be listened on, by name, and who served before still does."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serving() as server:
            with pytest.raises(
                MetricsError, match=rf"metrics.listen 127.0.0.1:{port}: cannot be listened on: .*in use"
            ):
                await server.hold("holder", Address(host="127.0.0.1", port=port))
            assert (await ask(server, get("/healthz"))).endswith(b"ok\n")


async def test_it_serves_as_long_as_anybody_holds_it():
    """Two gateways of one process share the listener; the last one to leave closes it."""
    server = MetricsServer(Metrics())
    await server.hold("a", ANY)
    bound = server.bound
    await server.hold("b", ANY)
    assert server.bound == bound
    server.release("a")
    assert (await ask(server, get("/healthz"))).endswith(b"ok\n")
    await server.hold("b", None)
    assert server.bound is None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*(bound or ("", 0)))


async def test_a_new_address_replaces_the_old():
    """After a reload that names another address, the old one is free."""
    async with serving() as server:
        old = server.bound
        await server.hold("holder", Address(host="::1", port=0))
        assert server.bound != old
        assert (await ask(server, get("/healthz"))).endswith(b"ok\n")


async def test_a_unix_socket(tmp_path: Path):
    """A path works, too: not open to all, taken over from a crash, gone at the end."""
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving(Address(unix=str(path))) as server:
        assert (await ask(server, get("/healthz"))).endswith(b"ok\n")
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(MetricsError):
            await MetricsServer(Metrics()).hold("other", Address(unix=str(path)))
    assert not path.exists()


async def test_siblings_have_addresses_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The second of several processes adds its number to the policy's address; port 0 stays any port."""
    monkeypatch.setitem(os.environ, WORKER, "1")
    async with serving(Address(unix=str(tmp_path / "m.sock"))) as server:
        assert server.bound == (str(tmp_path / "m.sock.1"), 0)
    async with serving() as server:
        assert server.bound is not None
        port = server.bound[1]
        with pytest.raises(MetricsError, match=str(port)):
            await MetricsServer(Metrics()).hold("other", Address(host="127.0.0.1", port=port - 1))
