"""HTTP/2 as an attacker speaks it, to clients and to the gateway: nothing unchecked passes, nobody waits for ever."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
import trustme
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PushPromiseFrame, RstStreamFrame

from tests.fakes.frame_origin import PREFACE, FrameOrigin, block, continued, headers, reply
from tests.fakes.loop_thread import LoopThread
from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.conftest import _server_context
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy
from tests.http.wire import ask, connect, connect_tls, take

Gateway = Callable[[str], Proxy]

EICAR = samples.EICAR
OK = (":status", "200")


@pytest.fixture(scope="module")
def frame_origin(fakes: LoopThread, authority: trustme.CA) -> Iterator[FrameOrigin]:
    """The origin."""
    origin = FrameOrigin(_server_context(authority, "h2"))
    fakes.run(origin.start())
    yield origin
    fakes.run(origin.close())


@pytest.fixture
def proxy(gateway: Gateway) -> Proxy:
    """A gateway with the built-in engine."""
    return gateway(checked(builtin()))


def _pushed(stream: int) -> list[Frame]:
    promised = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/pushed")]
    push = PushPromiseFrame(stream, 2, block(promised), flags=["END_HEADERS"])
    return [push, *reply(2, EICAR), *reply(stream, b"main")]


def _many(stream: int, count: int, status: str) -> list[Frame]:
    return [headers(stream, [(":status", status)])] * count + reply(stream, b"last")


DATA = "data"
ANSWERS: dict[str, Callable[[int], Sequence[Frame]]] = {
    "plain": lambda s: reply(s, EICAR),
    "a byte a frame": lambda s: [
        headers(s, [OK]), *(DataFrame(s, bytes([b])) for b in EICAR), DataFrame(s, b"", flags=["END_STREAM"]),
    ],
    "padded": lambda s: [headers(s, [OK]), DataFrame(s, EICAR, pad_length=200, flags=["PADDED", "END_STREAM"])],
    "pushed": _pushed,
    "interim first": lambda s: [headers(s, [(":status", "103")]), *reply(s, EICAR)],
    "interim with data": lambda s: [headers(s, [(":status", "103")]), DataFrame(s, EICAR), *reply(s, b"x")],
    "interim at the end": lambda s: [headers(s, [(":status", "103")], "END_STREAM"), DataFrame(s, EICAR)],
    "1,000 interim replies": lambda s: _many(s, 1000, "103"),
    "101": lambda s: [headers(s, [(":status", "101")]), DataFrame(s, EICAR)],
    "204 with data": lambda s: reply(s, EICAR, status="204"),
    "304 with data": lambda s: reply(s, EICAR, status="304"),
    "205 with data": lambda s: reply(s, EICAR, status="205"),
    "206 unasked": lambda s: reply(s, EICAR, ("content-range", "bytes 0-67/68"), status="206"),
    "no status": lambda s: [headers(s, [("server", "x")]), DataFrame(s, EICAR, flags=["END_STREAM"])],
    "two statuses": lambda s: [headers(s, [OK, (":status", "204")]), DataFrame(s, EICAR, flags=["END_STREAM"])],
    "status of letters": lambda s: reply(s, EICAR, status="abc"),
    "status 0": lambda s: reply(s, EICAR, status="0"),
    "length too small": lambda s: reply(s, EICAR, ("content-length", "3")),
    "length too large": lambda s: reply(s, EICAR, ("content-length", "300")),
    "length zero": lambda s: reply(s, EICAR, ("content-length", "0")),
    "two lengths": lambda s: reply(s, EICAR, ("content-length", "68"), ("content-length", "3")),
    "chunked": lambda s: reply(s, EICAR, ("transfer-encoding", "chunked")),
    "upper case": lambda s: reply(s, EICAR, ("Content-Encoding", "br")),
    "CRLF in a value": lambda s: reply(s, EICAR, ("x", "a\r\ncontent-encoding: br")),
    "NUL in a value": lambda s: reply(s, EICAR, ("x", "a\0b")),
    "line end in a name": lambda s: reply(s, EICAR, ("x\ny", "b")),
    "blank behind a name": lambda s: reply(s, EICAR, ("content-encoding ", "br")),
    "trailers": lambda s: [headers(s, [OK]), DataFrame(s, EICAR), headers(s, [("x-sum", "1")], "END_STREAM")],
    "a status in the trailers": lambda s: [headers(s, [OK]), DataFrame(s, EICAR), headers(s, [OK], "END_STREAM")],
    "trailers without an end": lambda s: [headers(s, [OK]), DataFrame(s, EICAR), headers(s, [("x-sum", "1")])],
    "trailers of a virus": lambda s: [
        headers(s, [OK]), DataFrame(s, b"x"), headers(s, [("x-a\r\n\r\n", EICAR.decode())], "END_STREAM"),
    ],
    "data before headers": lambda s: [DataFrame(s, EICAR), *reply(s, b"late")],
    "data behind the end": lambda s: [*reply(s, b"first"), DataFrame(s, EICAR, flags=["END_STREAM"])],
    "data behind a reset": lambda s: [headers(s, [OK]), RstStreamFrame(s, 8), DataFrame(s, EICAR)],
    "reset behind the data": lambda s: [headers(s, [OK]), DataFrame(s, EICAR), RstStreamFrame(s, 0)],
    "another stream's data": lambda s: [headers(s, [OK]), DataFrame(s + 2, EICAR), *reply(s, b"late")],
    "a frame between continuations": lambda s: [
        headers(s, [OK], "more"), DataFrame(s, EICAR), continued(s, b"", "END_HEADERS"),
    ],
    "20,000 continuations": lambda s: [headers(s, [OK], "more"), *[continued(s, block([("x", "y")]))] * 20_000],
    "20,000 empty continuations": lambda s: [headers(s, [OK], "more"), *[continued(s, b"")] * 20_000],
}  # fmt: skip


def everything(proxy: Proxy, url: str, ca: str, method: str = "GET") -> tuple[bytes, float]:
    """What an HTTP/2 client gets, frames and all, until the connection or its stream ends; and how long that took."""
    fields = [(":method", method), (":scheme", "https"), (":authority", url.split("/")[2]), (":path", "/")]
    request = HeadersFrame(1, block(fields), flags=["END_HEADERS", "END_STREAM"])
    settings = b"\0\0\0\4\0\0\0\0\0"
    got, began = b"", time.monotonic()
    with connect_tls(proxy, url, ca, ("h2",)) as sock:
        assert sock.selected_alpn_protocol() == "h2"
        sock.settimeout(8)
        sock.sendall(PREFACE + settings + request.serialize())
        try:
            while not has_ended(got) and (data := sock.recv(65536)):
                got += data
        except (ConnectionError, ssl.SSLEOFError):
            pass
    return got, time.monotonic() - began


def has_ended(got: bytes) -> bool:
    """Whether stream 1, or the connection, is over by these frames."""
    at = 0
    while at + 9 <= len(got):
        frame, length = Frame.parse_frame_header(memoryview(got[at : at + 9]))
        if at + 9 + length > len(got):
            return False
        if (frame.stream_id == 1 and "END_STREAM" in frame.flags) or got[at + 3] in (3, 7):
            return True
        at += 9 + length
    return False


@pytest.mark.parametrize("name", ANSWERS)
def test_no_frames_bring_a_virus(proxy: Proxy, frame_origin: FrameOrigin, client_ca: str, name: str) -> None:
    """Whatever frames EICAR comes in, the client gets none of it, and an end within seconds."""
    frame_origin.script = ANSWERS[name]
    got, seconds = everything(proxy, f"https://localhost:{frame_origin.port}/", client_ca)
    assert EICAR not in got
    assert seconds < 5


def test_a_body_on_a_head_reply_does_not_pass(proxy: Proxy, frame_origin: FrameOrigin, client_ca: str) -> None:
    """Whoever asked by HEAD gets no byte of a body."""
    frame_origin.script = lambda stream: reply(stream, EICAR)
    got, seconds = everything(proxy, f"https://localhost:{frame_origin.port}/", client_ca, "HEAD")
    assert EICAR not in got
    assert seconds < 5


def opening(url: str, ca: str, proxy: Proxy) -> ssl.SSLSocket:
    """A connection of HTTP/2 that has said nothing but its preface."""
    sock = connect_tls(proxy, url, ca, ("h2",))
    sock.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
    return sock


def drain(sock: ssl.SSLSocket) -> bool:
    """True where the gateway ends the connection by itself, within seconds."""
    sock.settimeout(20)  # a busy machine takes seconds to read so many frames
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def get(url: str, stream: int) -> Frame:
    """A GET's HEADERS."""
    place = url.split("/")[2]
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", place), (":path", "/h2-flood")]
    return HeadersFrame(stream, block(fields), flags=["END_HEADERS", "END_STREAM"])


FLOODS: dict[str, Callable[[str], Sequence[Frame]]] = {
    "continuations": lambda url: [HeadersFrame(1, b""), *[ContinuationFrame(1, block([("x", "y" * 1000)]))] * 2000],
    "empty continuations": lambda url: [HeadersFrame(1, b""), *[ContinuationFrame(1, b"")] * 20_000],
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_own_connection(proxy: Proxy, h2_origin: Origin, client_ca: str, name: str) -> None:
    """The connection ends soon, and the memory that it took is bounded."""
    url = h2_origin.serve("/h2-flood", Reply(steps=(b"served",)))
    proxy.reset_peak()
    before = proxy.memory()
    with opening(url, client_ca, proxy) as sock:
        try:
            sock.sendall(b"".join(frame.serialize() for frame in FLOODS[name](url)))
        except (ConnectionError, ssl.SSLError):
            pass
        assert drain(sock)
    assert proxy.peak_memory() - before < 32 << 20


def test_rapid_resets_leave_the_gateway_to_others(
    proxy: Proxy, h2_origin: Origin, origin: Origin, client_ca: str
) -> None:
    """Thousands of requests, each taken back at once, hold up nobody else for long, and nothing of them stays."""
    url = h2_origin.serve("/h2-flood", Reply(steps=(b"served",)))
    other = origin.serve("/meanwhile", Reply(steps=(b"here",)))
    frames = [f for n in range(1, 4001, 2) for f in (get(url, n), RstStreamFrame(n, 8))]
    files, began = len(proxy.open_files()), time.monotonic()
    with opening(url, client_ca, proxy) as sock:
        sock.sendall(b"".join(frame.serialize() for frame in frames))
        with connect(proxy) as neighbour:
            taken = take(neighbour, ask(other, absolute=True))
        waited = time.monotonic() - began
    assert (taken.status, bytes(taken.body)) == (200, b"here")
    assert waited < 5

    proxy.wait_until(lambda: len(proxy.open_files()) <= files, "all descriptors back", 15)
