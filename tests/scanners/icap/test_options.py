"""What a service says of itself."""

from __future__ import annotations

import pytest

from policy.verdict import Status
from scanners.icap.headers import BadReply, parse_lines
from scanners.icap.options import PREVIEW_LIMIT, TTL_LIMIT, Service, read_service
from scanners.icap.replies import Head
from scanners.icap.talks import OPT_BODY_LIMIT, OptionsTalk


def read(*lines: bytes) -> Service:
    """From a 200 with these headers."""
    return read_service(Head(200, b"OK", parse_lines(lines)))


def test_nothing_is_said() -> None:
    """A bare 200 is a service without preview and 204, to be asked again after an hour."""
    assert read() == Service()


@pytest.mark.parametrize(
    ("lines", "preview"),
    [
        ([b"Preview: 1024"], 1024),
        ([b"Preview: 0"], 0),
        ([b"Preview: 9999999999"], PREVIEW_LIMIT),
        ([b"Preview: 99999999999"], None),
        ([b"Preview: -1"], None),
        ([b"Preview: 1", b"Preview: 2"], None),
        ([b"Preview: 10", b"Transfer-Preview: *"], 10),
        ([b"Preview: 10", b"Transfer-Complete: *"], None),
        ([b"Preview: 10", b"Transfer-Complete: exe, BIN"], None),
        ([b"Preview: 10", b"Transfer-Complete: *", b"Transfer-Preview: bin"], 10),
        ([b"Preview: 10", b"Transfer-Complete: exe"], 10),
    ],
)
def test_preview(lines: list[bytes], preview: int | None) -> None:
    """How much is shown first, by Preview and the Transfer headers."""
    assert read(*lines).preview == preview


@pytest.mark.parametrize(
    ("line", "ignores"),
    [
        (b"Transfer-Ignore: *", True),
        (b"Transfer-Ignore: gif, bin", True),
        (b"Transfer-Ignore: gif", False),
        (b"Transfer-Ignore:", False),
    ],
)
def test_transfer_ignore(line: bytes, *, ignores: bool) -> None:
    """Whether the server wants our objects at all."""
    assert read(line).ignores is ignores


def test_what_is_said_of_a_suffix_comes_before_the_star() -> None:
    """`bin` to be previewed, everything else ignored."""
    assert not read(b"Transfer-Ignore: *", b"Transfer-Preview: bin").ignores


@pytest.mark.parametrize(
    ("line", "ttl"),
    [
        (b"Options-TTL: 60", 60),
        (b"Options-TTL: 0", 1),
        (b"Options-TTL: 999999", TTL_LIMIT),
        (b"Options-TTL: x", TTL_LIMIT),
    ],
)
def test_ttl(line: bytes, ttl: float) -> None:
    """From a second to an hour."""
    assert read(line).ttl == ttl


@pytest.mark.parametrize(("line", "most"), [(b"Max-Connections: 5", 5), (b"Max-Connections: 0", None), (b"A: b", None)])
def test_max_connections(line: bytes, most: int | None) -> None:
    """A limit of 0 would be a server that nobody may ask: it is none."""
    assert read(line).connections == most


def test_version() -> None:
    """Service and ISTag, fit for people."""
    assert read(b'ISTag: "a\xff"', b"Service: S 1").version == r'S 1 "a\xff"'


@pytest.mark.parametrize("methods", [b"RESPMOD", b"REQMOD, respmod"])
def test_respmod_is_needed(methods: bytes) -> None:
    """A service that tells its methods must have ours among them."""
    assert read(b"Methods: " + methods) == Service()
    with pytest.raises(BadReply, match="not RESPMOD"):
        read(b"Methods: REQMOD")


@pytest.mark.parametrize(("code", "status"), [(404, Status.ERROR), (500, Status.ERROR), (204, Status.UNKNOWN)])
def test_other_replies(code: int, status: Status) -> None:
    """Only 200 describes a service."""
    with pytest.raises(BadReply) as caught:
        read_service(Head(code, b"x", parse_lines([])))
    assert caught.value.status is status


class TestTalk:
    """OPTIONS on a connection."""

    @staticmethod
    def hear(*parts: bytes) -> OptionsTalk:
        """All that comes, and then the end."""
        talk = OptionsTalk()
        for part in parts:
            if not talk.over:
                talk.feed(part, flushed=True)
        talk.end("the connection ended")
        return talk

    def test_a_whole_reply(self) -> None:
        """With null-body, with nothing, and with a body that nobody reads."""
        for end in (
            b"Encapsulated: null-body=0\r\n\r\n",
            b"\r\n",
            b"Encapsulated: opt-body=0\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ):
            talk = self.hear(b"ICAP/1.0 200 OK\r\nPreview: 3\r\n" + end)
            assert talk.failure is None
            assert talk.head is not None
            assert talk.head.headers.number("preview") == 3
            assert talk.reusable

    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (b"", Status.ERROR),
            (b"ICAP/1.0 200 OK\r\n", Status.ERROR),
            (b"HTTP/1.1 200 OK\r\n\r\n", Status.UNKNOWN),
            (b"ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 200 OK\r\n\r\n", Status.UNKNOWN),
            (b"ICAP/1.0 200 OK\r\nEncapsulated: opt-body=0\r\n\r\n", Status.ERROR),
        ],
    )
    def test_no_reply(self, reply: bytes, status: Status) -> None:
        """What is no whole reply to OPTIONS has a status and closes the connection."""
        talk = self.hear(reply)
        assert talk.failure is not None
        assert (talk.failure.status, talk.reusable) == (status, False)

    def test_a_body_without_end(self) -> None:
        """More than the limit is not waited for."""
        chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
        talk = self.hear(
            b"ICAP/1.0 200 OK\r\nEncapsulated: opt-body=0\r\n\r\n", *[chunk] * (OPT_BODY_LIMIT // 0x1000 + 1)
        )
        assert talk.failure is not None
        assert "more than" in str(talk.failure)
