"""Clients that take their time over a request: `limits.header`, `limits.idle`, and how many there may be."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import h2.config
import h2.connection

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply, drip
from tests.http import samples
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy
from tests.http.slow_client import Slow, dawdle
from tests.http.test_client_gone import wait_until
from tests.http.wire import Taken, ask, connect, connect_tls, take
from tests.http.wire_h2 import H2Client

Gateway = Callable[[str], Proxy]

HEADER = 2.0
IDLE = 3.0
LATE = 1.0  # a loaded machine
MANY = 200
POLICY = checked(builtin(), gateway="limits: {header: 2s, idle: 3s, connections: 2000, per-client: 2000}\n")


async def fetch(proxy: Proxy, url: str) -> tuple[Taken, float]:
    """An honest request on a connection of its own, and how long it took."""
    began = time.monotonic()

    def get() -> Taken:
        with connect(proxy) as client:
            return take(client, ask(url, absolute=True))

    return await asyncio.to_thread(get), time.monotonic() - began


def assert_cut_in_time(slow: Slow) -> None:
    """Neither earlier than the time-out nor much later."""
    assert HEADER - 0.1 < slow.lasted < HEADER + LATE, slow


async def test_many_slow_clients_are_cut_and_hurt_nobody(gateway: Gateway, origin: Origin) -> None:
    """Hundreds send a header byte by byte: an honest request takes under a second, they are cut, nothing is left."""
    proxy, data = gateway(POLICY), samples.clean("honest", 10_000)
    url = origin.serve("/honest", Reply(steps=(data,)))
    await fetch(proxy, url)
    before = len(proxy.open_files())
    async with asyncio.TaskGroup() as tasks:
        slow = [tasks.create_task(dawdle(proxy.port, 0.5)) for _ in range(MANY)]
        while not all(one.done() for one in slow):
            taken, took = await fetch(proxy, url)
            assert (bytes(taken.body), took < 1) == (data, True), took
            await asyncio.sleep(0.2)
    for one in slow:
        assert_cut_in_time(one.result())
    back = await asyncio.to_thread(wait_until, lambda: len(proxy.open_files()) <= before, 5)
    assert back, sorted(proxy.open_files())


async def test_silence_and_half_a_handshake_are_cut_too(gateway: Gateway, h2_origin: Origin) -> None:
    """From connecting: nothing at all, TLS that stops, and TLS that stops inside a tunnel; each in its own time."""
    proxy = gateway(POLICY)
    place = f"localhost:{h2_origin.port}"
    hello = b"\x16\x03\x01\x02\x00\x01\x00"
    tunnel = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()
    slow = await asyncio.gather(
        dawdle(proxy.port, 0),
        dawdle(proxy.port, 0, first=hello),
        dawdle(proxy.port, 0.3, head=hello + b"\x01" * 500),
        dawdle(proxy.port, 0, first=tunnel),
        dawdle(proxy.port, 0.3, first=tunnel, head=hello + b"\x01" * 500),
    )
    for one in slow:
        assert_cut_in_time(one)
    assert all(one.answer.startswith(b"HTTP/1.1 200") for one in slow[3:])


def ends_at(client: object) -> float:
    """When a connection ends, time.monotonic(); what comes before is read and forgotten."""
    with contextlib.suppress(OSError):
        while client.recv(65536):  # type: ignore[attr-defined]  # a socket, or TLS over one
            pass
    return time.monotonic()


def test_a_kept_connection_may_be_idle_for_so_long(gateway: Gateway, origin: Origin) -> None:
    """After a request the connection stays for `idle`, longer than `header`, and is closed then."""
    proxy, data = gateway(POLICY), samples.clean("kept", 1000)
    url = origin.serve("/kept", Reply(steps=(data,)))
    with connect(proxy) as client:
        for _ in range(2):
            assert take(client, ask(url, absolute=True)).body == data
            began = time.monotonic()
        assert IDLE - 0.1 < ends_at(client) - began < IDLE + LATE


def test_a_kept_connection_must_complete_further_headers(gateway: Gateway, origin: Origin) -> None:
    """The first byte of the second request begins the wait for the rest."""
    proxy, data = gateway(POLICY), samples.clean("second", 1000)
    url = origin.serve("/second", Reply(steps=(data,)))
    with connect(proxy) as client:
        assert take(client, ask(url, absolute=True)).body == data
        began = time.monotonic()
        client.sendall(b"G")
        assert HEADER - 0.1 < ends_at(client) - began < HEADER + LATE


def test_an_idle_client_of_http2_may_ping(gateway: Gateway, h2_origin: Origin, client_ca: str) -> None:
    """Pings between requests do not count as a request that does not end; `idle` does count."""
    proxy, data = gateway(POLICY), samples.clean("pinged", 1000)
    url = h2_origin.serve("/pinged", Reply(steps=(data,)))
    with H2Client(proxy, url, client_ca) as client:
        taken = client.get(url)
        client.read_all()
        assert taken.body == data
        began = time.monotonic()
        client.ping()
        assert IDLE - 0.1 < ends_at(client._socket) - began < IDLE + LATE


def test_slow_headers_of_http2_are_cut(gateway: Gateway, h2_origin: Origin, client_ca: str) -> None:
    """HEADERS without their end, on a connection of its own, are given `header`."""
    proxy = gateway(POLICY)
    url = h2_origin.serve("/never", Reply())
    began = time.monotonic()  # the gateway's clock runs from the connection on
    with connect_tls(proxy, url, client_ca, ("h2",)) as client:
        speaker = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        speaker.initiate_connection()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/never")]
        opening = speaker.data_to_send()
        speaker.send_headers(1, fields, end_stream=True)
        frame = bytearray(speaker.data_to_send())
        frame[4] &= ~0x4  # END_HEADERS
        client.sendall(opening + bytes(frame))
        assert HEADER - 0.1 < ends_at(client) - began < HEADER + LATE


def test_a_long_check_is_no_idleness(gateway: Gateway, origin: Origin) -> None:
    """A body that drips for longer than both time-outs arrives whole."""
    proxy, data = gateway(POLICY), samples.clean("long", 5000)
    url = origin.serve("/long", Reply(steps=drip(data, 8, 0.5)))
    with connect(proxy) as client:
        assert take(client, ask(url, absolute=True)).body == data


async def test_a_client_has_its_share_of_connections(gateway: Gateway, origin: Origin) -> None:
    """One more than `per-client` is closed at once; as soon as one has left there is room again."""
    proxy = gateway(checked(builtin(), gateway="limits: {header: 2s, per-client: 5}\n"))
    url = origin.serve("/share", Reply(steps=(b"share",)))
    async with asyncio.TaskGroup() as tasks:
        slow = [tasks.create_task(dawdle(proxy.port, 0.2)) for _ in range(8)]
    lasted = sorted(one.result().lasted for one in slow)
    assert [one < 1 for one in lasted] == [True] * 3 + [False] * 5
    proxy.wait_for_line("limits.per-client: there are 5 connections")
    taken, _ = await fetch(proxy, url)
    assert taken.body == b"share"
