"""A client that goes away takes its check with it: the spool and the engine's connection within a second."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Break, Reply
from tests.fakes.patience import wait_until
from tests.http import samples
from tests.http.policies import TRICKLE, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine
from tests.http.wire import ask, connect, connect_tls
from tests.http.wire_h2 import H2Client

Gateway = Callable[[str], Proxy]

LARGE = 1_000_000  # beyond the memory part of a spool
SPOOL = "spool: {memory: 64KiB}\n"
WITHIN = 1.0  # seconds


@pytest.fixture(params=["", TRICKLE], ids=["held", "trickled"])
def proxy(request: pytest.FixtureRequest, gateway: Gateway, engine: SlowEngine) -> Proxy:
    """A gateway with a slow engine, with and without a trickle."""
    return gateway(checked(clamav(engine.port), request.param, top=SPOOL))


def leave(client: socket.socket, how: str) -> None:
    """Close in an orderly way or with a reset."""
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def assert_all_given_back(proxy: Proxy, engine: SlowEngine, url: str) -> None:
    """No spool and no engine connection is left a second later, and the record says why."""
    gone = wait_until(lambda: engine.open == 0 and not proxy.spool_files(), WITHIN)
    assert gone, (engine.open, proxy.spool_files())
    record = proxy.record_of(url)
    assert record["reason"] == "client-gone"
    assert record["action"] != "accept"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_gone_during_the_check(proxy: Proxy, origin: Origin, engine: SlowEngine, how: str) -> None:
    """While the engine thinks about a large body, the client closes or resets."""
    engine.delay = 20
    url = origin.serve(f"/gone/{how}", Reply(steps=(samples.clean("gone", LARGE),)))
    streams = engine.streams
    client = connect(proxy)
    client.sendall(ask(url, absolute=True))
    assert wait_until(lambda: engine.streams > streams, 5)
    assert proxy.spool_files()
    leave(client, how)
    assert_all_given_back(proxy, engine, url)


def test_gone_under_tls(proxy: Proxy, tls_origin: Origin, engine: SlowEngine, client_ca: str) -> None:
    """The same in a tunnel."""
    engine.delay = 20
    url = tls_origin.serve("/gone/tls", Reply(steps=(samples.clean("gone", LARGE),)))
    streams = engine.streams
    client = connect_tls(proxy, url, client_ca)
    client.sendall(ask(url, absolute=False))
    assert wait_until(lambda: engine.streams > streams, 5)
    client.close()
    assert_all_given_back(proxy, engine, url)


def test_gone_by_a_stream_reset(proxy: Proxy, h2_origin: Origin, engine: SlowEngine, client_ca: str) -> None:
    """An HTTP/2 client resets its stream: that check ends and the connection goes on."""
    engine.delay = 20
    url = h2_origin.serve("/gone/h2", Reply(steps=(samples.clean("gone", LARGE),)))
    other = h2_origin.serve("/gone/h2-other", Reply(steps=(b"",)))
    streams = engine.streams
    with H2Client(proxy, url, client_ca) as client:
        taken = client.get(url)
        assert wait_until(lambda: engine.streams > streams, 5)
        client.reset(taken)
        assert_all_given_back(proxy, engine, url)
        engine.delay = 0
        again = client.get(other)
        client.read_all()
    assert (again.status, again.ended) == (200, "whole")


def test_gone_while_the_origin_sends(proxy: Proxy, origin: Origin, engine: SlowEngine) -> None:
    """Before the body is complete: the origin's connection is given up too."""
    steps = (samples.clean("gone early", LARGE), Break.STALL, b"never")
    url = origin.serve("/gone/early", Reply(steps=steps))
    client = connect(proxy)
    client.sendall(ask(url, absolute=True))
    assert wait_until(lambda: bool(proxy.spool_files()), 5)
    client.close()
    assert_all_given_back(proxy, engine, url)
    assert wait_until(lambda: origin.asked("/gone/early")[0].ended == "gone", WITHIN)


def test_gone_during_an_upload(proxy: Proxy, origin: Origin, engine: SlowEngine) -> None:
    """A client that leaves in the middle of an upload or of its check leaves nothing behind."""
    url = origin.serve("/gone/upload", Reply())
    data = samples.clean("gone upload", LARGE)
    place = f"127.0.0.1:{origin.port}"
    head = f"POST {url} HTTP/1.1\r\nHost: {place}\r\nContent-Length: {LARGE}\r\n\r\n".encode()
    client = connect(proxy)
    client.sendall(head + data[: LARGE // 2])
    assert wait_until(lambda: bool(proxy.spool_files()), 5)
    client.close()
    assert_all_given_back(proxy, engine, url)
    engine.delay = 20
    streams, seen = engine.streams, len(proxy.records_of(url))
    client = connect(proxy)
    client.sendall(head + data)
    assert wait_until(lambda: engine.streams > streams, 5)
    client.close()
    assert_all_given_back(proxy, engine, url)
    proxy.wait_until(lambda: len(proxy.records_of(url)) == seen + 1, "a second record")
    assert origin.asked("/gone/upload") == []


def test_descriptors_come_back_after_many_leavers(gateway: Gateway, origin: Origin, engine: SlowEngine) -> None:
    """Twenty clients that come and go leave as many open descriptors as there were."""
    proxy = gateway(checked(clamav(engine.port), top=SPOOL))
    engine.delay = 20
    assert wait_until(lambda: engine.open == 0, 5)
    before = len(proxy.open_files())
    url = origin.serve("/gone/many", Reply(steps=(samples.clean("many", LARGE),)))
    clients = [connect(proxy) for _ in range(20)]
    for client in clients:
        client.sendall(ask(url, absolute=True))
    assert wait_until(lambda: len(proxy.spool_files()) >= 10, 20)
    for client in clients:
        client.close()
    back = wait_until(lambda: len(proxy.open_files()) <= before, 3)
    assert back, sorted(proxy.open_files())
