"""HTTP/1 peers that say what mitmproxy chokes on: each is refused at once, and whoever waits is told."""

from __future__ import annotations

import random

import h11
import pytest
from h11._readers import ChunkedReader
from mitmproxy import http
from mitmproxy.proxy.layers import http as http_layer
from mitmproxy.proxy.layers.http import _http1

from addons.wire import http1_peers
from addons.wire.body_buffer import BodyBuffer
from addons.wire.exchange import Clearance, exchange_of
from addons.wire.http1_peers import (
    MAX_HEAD,
    MAX_INTERIM,
    MAX_JOINED,
    MAX_LINE,
    BoundedChunks,
    BoundedClient,
    BoundedServer,
)
from addons.wire.stream import AvHttpStream
from tests.addons.playbook import Playbook

GET = b"GET http://origin/a HTTP/1.1\r\nHost: origin\r\n\r\n"
POST = b"POST http://origin/a HTTP/1.1\r\nHost: origin\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_layer, "HttpStream", AvHttpStream)
    monkeypatch.setattr(http_layer, "Http1Server", BoundedServer)
    monkeypatch.setattr(http_layer, "Http1Client", BoundedClient)
    monkeypatch.setattr(_http1, "ReceiveBuffer", BodyBuffer)
    monkeypatch.setattr(_http1, "make_body_reader", http1_peers.make_body_reader)


@pytest.fixture
def book() -> Playbook:
    """A gateway that clears everything."""

    def clear(flow) -> None:
        exchange_of(flow).request = exchange_of(flow).response = Clearance.UNCHECKED

    return Playbook({"requestheaders": clear, "responseheaders": clear})


def read(data: bytes) -> list[object]:
    reader, buffer, found = BoundedChunks(), BodyBuffer(), []
    buffer += data
    while (event := reader(buffer)) is not None:
        found.append(event)
        if isinstance(event, h11.EndOfMessage):
            break
    return found


def test_chunks_are_read_as_h11_reads_them() -> None:
    """Extensions are dropped, data and the end come out."""
    *data, end = read(b"5;a=b\r\nhello\r\n0\r\n\r\n")
    assert [bytes(event.data) for event in data] == [b"hello"]
    assert isinstance(end, h11.EndOfMessage)


def test_small_chunks_come_together() -> None:
    """Thousands of chunks of a byte are few events, complete and in order, up to the end or as far as they are here."""
    letters = bytes(range(65, 91)) * 1000
    chunks = b"".join(b"1\r\n%c\r\n" % letter for letter in letters)
    *data, end = read(chunks + b"0\r\n\r\n")
    assert (b"".join(event.data for event in data), isinstance(end, h11.EndOfMessage)) == (letters, True)
    assert len(data) == 2
    assert b"".join(event.data for event in read(chunks + b"1\r\n")) == letters


def odd_chunks(dice: random.Random) -> bytes:
    """Some chunks, most of them well-formed, and an end."""
    body = b""
    for _ in range(dice.randrange(1, 8)):
        data = dice.randbytes(dice.choice([1, 1, 2, 5, 17, 300]))
        size = dice.choice([b"%x", b"%X", b"0%x"]) % len(data) + dice.choice([b"", b"", b"", b";a=b", b" "])
        ends = [*[b"\r\n"] * 30, b"\n", b"x\r\n", b""]
        body += size + dice.choice(ends) + data + dice.choice(ends)
    return body + dice.choice([b"0\r\n\r\n", b"0\r\n\r\nrest", b"", b"0\r"])


def outcome(reader: ChunkedReader, pieces: list[bytes]) -> tuple[str, bytes]:
    """How reading ends, and the data."""
    buffer, data = BodyBuffer(), b""
    try:
        for piece in pieces:
            buffer += piece
            while (event := reader(buffer)) is not None:
                if isinstance(event, h11.EndOfMessage):
                    return "end", data
                data += bytes(event.data)
    except h11.ProtocolError:
        return "error", b""
    return "more", data


def test_chunks_of_any_form_are_read_as_h11_reads_them() -> None:
    """Whatever stands in chunks, and however they are cut, ours and h11's reader see the same."""
    dice = random.Random(5)  # noqa: S311  (any chunks, but the same ones every time)
    for _ in range(2000):
        body, size = odd_chunks(dice), dice.choice([1, 3, 50, 10_000])
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert outcome(BoundedChunks(), pieces) == outcome(ChunkedReader(), pieces), body


@pytest.mark.parametrize("odd", [b"0\r\nX: a\r\n\r\n", b"5;" + b"x" * MAX_LINE, b"0\r\nX:" + b"x" * MAX_LINE])
def test_trailers_and_endless_lines_are_refused(odd: bytes) -> None:
    """What mitmproxy cannot carry, or would keep without a bound, is a protocol error."""
    with pytest.raises(h11.RemoteProtocolError):
        read(odd)


def test_a_reply_with_trailers_is_a_502(book: Playbook) -> None:
    """The client is told, where mitmproxy would have crashed and let it wait."""
    book.from_client(GET)
    book.from_server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: secret\r\n\r\n")
    assert book.to_client.startswith(b"HTTP/1.1 502") or book.client in book.closed
    assert b"secret" not in book.to_client
    assert book.server in book.closed


def test_a_request_with_trailers_is_a_400(book: Playbook) -> None:
    """The client is told before its connection closes."""
    book.from_client(POST + b"5\r\nhello\r\n0\r\nX: a\r\n\r\n")
    assert book.to_client.startswith(b"HTTP/1.1 400")
    assert book.client in book.closed


@pytest.mark.parametrize("code", [100, 102, 103, 199])
def test_interim_replies_are_taken_off(book: Playbook, code: int) -> None:
    """The last reply is the one that counts, also where the interim one comes in pieces."""
    interim = b"HTTP/1.1 %d Wait\r\nLink: <a>\r\n\r\n" % code
    book.from_client(GET)
    book.from_server(interim + interim[:9])
    book.from_server(interim[9:] + HELLO)
    assert book.to_client == HELLO


def test_interim_replies_without_end_are_refused(book: Playbook) -> None:
    """A server that never comes to the point is given up."""
    book.from_client(GET)
    book.from_server(b"HTTP/1.1 102 Wait\r\n\r\n" * (MAX_INTERIM + 2))
    assert book.to_client.startswith(b"HTTP/1.1 502")


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD, b"\r\nHTTP/1.1 200 OK\r\n", b"hello"])
def test_a_reply_without_a_head_is_given_up_at_once(book: Playbook, start: bytes) -> None:
    """A head without end or without a status line is a 502, of which no byte is the server's."""
    book.from_client(GET)
    book.from_server(start)
    assert book.to_client.startswith(b"HTTP/1.1 502")
    assert b"aaaa" not in book.to_client
    assert b"hello" not in book.to_client


def test_a_head_in_small_pieces_is_waited_for(book: Playbook) -> None:
    """A slow server is not an odd one."""
    book.from_client(GET)
    for at in range(len(HELLO)):
        book.from_server(HELLO[at : at + 1])
    assert book.to_client == HELLO


def test_a_request_head_without_end_is_a_431(book: Playbook) -> None:
    """A client cannot fill our memory with a head."""
    book.from_client(b"GET http://origin/a HTTP/1.1\r\nX: " + b"a" * MAX_HEAD)
    assert book.to_client.startswith(b"HTTP/1.1 431")
    assert book.client in book.closed


def test_an_error_quotes_nothing_of_the_server(book: Playbook) -> None:
    """What mitmproxy puts into its error page was checked by nobody."""
    book.from_client(GET)
    book.from_server(b"secret HTTP/1.1 200 OK\r\n\r\n")
    assert book.to_client.startswith(b"HTTP/1.1 502")
    assert b"secret" not in book.to_client


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0"])
def test_other_versions_are_none_of_http1s(book: Playbook, version: bytes) -> None:
    """A version that this connection cannot have is refused, of both peers; a later minor one is said as 1.1."""
    book.from_client(GET)
    book.from_server(HELLO.replace(b"HTTP/1.1", version))
    assert book.to_client.startswith(b"HTTP/1.1 502")


def test_a_later_minor_version_is_passed_as_ours(book: Playbook) -> None:
    """HTTP/1.2 is read as 1.1, and said as that."""
    book.from_client(GET)
    book.from_server(HELLO.replace(b"HTTP/1.1", b"HTTP/1.2"))
    assert book.to_client == HELLO


@pytest.mark.parametrize(("size", "writes"), [(1, 1), (MAX_JOINED, 1), (MAX_JOINED + 1, 2)])
def test_a_small_whole_response_is_one_write(size: int, writes: int) -> None:
    """Head and body leave together, as the bytes that they were; a large body is not copied for it."""

    def answer(flow: http.HTTPFlow) -> None:
        exchange_of(flow).response = Clearance.OURS
        flow.response = http.Response.make(200, b"x" * size)

    book = Playbook({"requestheaders": answer})
    book.from_client(GET)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
    assert book.to_client == head + b"x" * size
    assert len(book.writes) == writes


def test_a_head_does_not_wait_for_a_body_that_streams(book: Playbook) -> None:
    """Whoever streams has its head at once, and each piece as it comes."""
    book.hooks["responseheaders"] = lambda flow: (
        setattr(exchange_of(flow), "response", Clearance.UNCHECKED),
        setattr(flow.response, "stream", True),
    )
    book.from_client(GET)
    book.from_server(HELLO[:-5])
    assert book.to_client == HELLO[:-5]
    book.from_server(b"hello")
    assert book.to_client == HELLO
    book.from_client(GET)
    book.from_server(HELLO)
    assert book.to_client == 2 * HELLO
