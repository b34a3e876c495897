"""Garbage is never free: near-replies in random segments, judged once more by a reader that shares no code."""

from __future__ import annotations

import random
import re

from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.icap.headers import BadReply
from scanners.icap.options import PREVIEW_LIMIT, TTL_LIMIT, read_service
from scanners.icap.talks import CheckTalk, OptionsTalk
from tests.scanners.fuzzing import cut, fuzz, spoil
from tests.scanners.icap.test_verdict import BODY, FORBIDDEN, HTTP, INFECTED, PAGE, echo, icap

SEEDS = [
    icap(b"204 Unmodified", b'ISTag: "x"'),
    icap(b"204 Unmodified", b"Encapsulated: null-body=0"),
    echo(),
    echo(b"X-Virus-ID: no threats"),
    icap(b"200 OK", http=HTTP, body=BODY).replace(
        b"64\r\n" + BODY, b"32;a=b\r\n%s\r\n032\r\n%s" % (BODY[:50], BODY[50:])
    ),
    icap(b"200 OK", INFECTED, b"X-Violations-Found: 1\r\n\t-\r\n\tx", http=FORBIDDEN, body=PAGE),
    icap(b"200 OK", b"X-Infection-Found: Type=2; Threat=x;", http=FORBIDDEN, body=PAGE),
    icap(b"404 Service not found"),
    icap(b"206 x", http=HTTP, body=BODY),
    icap(b"500 x", b"Connection: close"),
]
CONTINUE = icap(b"100 Continue")
WORDS = [
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b":",
        b"\0",
        b"0\r\n\r\n",
        b"0; ieof\r\n\r\n",
        b"64\r\n",
        b"-1",
        b"fffffffff",
    ),
    *(
        b"ICAP/1.0 204 x\r\n\r\n",
        b"ICAP/1.0 ",
        b"HTTP/1.1 200 OK\r\n",
        b"204",
        b"200",
        b"100",
        CONTINUE,
        BODY,
        BODY[:7],
    ),
    *(b"Encapsulated: null-body=0\r\n", b"X-Virus-ID: x\r\n", b"X-Infection-Found: y\r\n", b"X-Response-Info: z\r\n"),
]

_LINES = (
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}:[^\x00-\x08\x0a-\x1f\x7f]*\r\n(?:[ \t][^\x00-\x08\x0a-\x1f\x7f]*\r\n)*)*)"
)
_HEAD_204 = re.compile(rb"ICAP/1\.0 204(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n" + _LINES + rb"\r\n")
_HEAD_200 = re.compile(rb"ICAP/1\.0 200(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n" + _LINES + rb"\r\n")
_HTTP_200 = re.compile(rb"HTTP/1\.1 200 OK\r\n" + _LINES + rb"\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_NOTHING = {
    b"x-virus-id": (b"", b"-", b"no threats", b"none"),
    b"x-virus-name": (b"", b"-", b"no threats", b"none"),
    b"x-fsecure-infection-name": (b"", b"-", b"no threats", b"none"),
    b"x-infection-found": (b"", b"-", b"no threats", b"none"),
    b"x-fsecure-scan-result": (b"clean",),
    b"x-violations-found": (b"", b"0"),
    b"x-response-info": (b"", b"-", b"passed", b"allowed"),
}


def _fields(lines: bytes) -> list[tuple[bytes, bytes]]:
    unfolded = re.sub(rb"\r\n[ \t]+", b" ", lines)
    split = (line.partition(b":") for line in unfolded.split(b"\r\n") if line)
    return [(name.lower(), value.strip().lower()) for name, _, value in split]


def _harmless(fields: list[tuple[bytes, bytes]]) -> bool:
    return all(name not in _NOTHING or value in _NOTHING[name] for name, value in fields)


def _unmodified(reply: bytes) -> bool:
    match = _HEAD_204.match(reply)
    if match is None:
        return False
    fields = _fields(match[1])
    places = [value.replace(b" ", b"").replace(b"\t", b"") for name, value in fields if name == b"encapsulated"]
    return _harmless(fields) and (
        not places or (len(places) == 1 and re.fullmatch(rb"null-body=0+", places[0]) is not None)
    )


def _given_back(reply: bytes) -> bool:
    match = _HEAD_200.match(reply)
    http = _HTTP_200.match(reply, match.end()) if match else None
    if match is None or http is None or not _harmless(_fields(match[1]) + _fields(http[1])):
        return False
    sizes = [value for name, value in _fields(match[1]) if name == b"encapsulated"]
    place = re.fullmatch(rb"res-hdr[ \t]*=[ \t]*0[ \t]*,[ \t]*(?:res|opt)-body[ \t]*=[ \t]*([0-9]+)", b",".join(sizes))
    if place is None or int(place[1]) != http.end() - http.start():
        return False
    at, body = http.end(), b""
    while (chunk := _CHUNK.match(reply, at)) is not None:
        size = int(chunk[1], 16)
        if not size:
            end = re.compile(_LINES + rb"\r\n").match(reply, chunk.end())
            return body == BODY and end is not None and _harmless(_fields(end[1]))
        body += reply[chunk.end() : chunk.end() + size]
        at = chunk.end() + size + 2
        if reply[at - 2 : at] != b"\r\n":
            return False
    return False


def may_be_free(reply: bytes, *, delivered: bool, previewed: bool) -> bool:
    """Whether these bytes begin with one of the two forms of free."""
    continued = re.match(rb"ICAP/1\.0 100(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n" + _LINES + rb"\r\n", reply)
    if continued is not None and previewed:
        reply = reply[continued.end() :]
    return delivered and (_unmodified(reply) or _given_back(reply))


def test_garbage_is_never_free() -> None:
    """Near-replies to a check: free only where the other reader agrees, and what is untouched keeps its status."""
    seen: set[Status] = set()
    body = MemoryBody(BODY)

    def trial(chance: random.Random) -> None:
        delivered, previewed = chance.random() < 0.9, chance.random() < 0.5
        whole = (CONTINUE if previewed and chance.random() < 0.7 else b"") + chance.choice(SEEDS)
        reply = spoil(chance, whole, WORDS)
        talk = CheckTalk(body, pure_body=True)
        talk.handed, talk.previewed = delivered, previewed
        parts = cut(chance, reply) if chance.random() < 0.5 else [reply]
        for part in parts:
            if not talk.over:
                talk.feed(part, flushed=True)
        talk.end("the connection ended")
        assert talk.answer is not None
        status = talk.answer.status
        expected = may_be_free(reply, delivered=delivered, previewed=previewed)
        assert status is not Status.FREE or expected, (reply, talk)
        assert not expected or reply != whole or status is Status.FREE, (reply, talk)
        assert not talk.reusable or status in (Status.FREE, Status.FOUND, Status.SKIPPED)
        seen.add(status)

    assert fuzz(trial) > 0
    assert seen == set(Status)


OPTIONS = [
    b'ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nISTag: "x"\r\nPreview: 10\r\nEncapsulated: null-body=0\r\n\r\n',
    b"ICAP/1.0 200 OK\r\nEncapsulated: opt-body=0\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"ICAP/1.0 200 OK\r\nOptions-TTL: 60\r\nMax-Connections: 5\r\nTransfer-Ignore: bin\r\nTransfer-Complete: *\r\n\r\n",
    b"ICAP/1.0 404 x\r\n\r\n",
]
OPTIONS_WORDS = [
    *(b"Preview: 0\r\n", b"Preview: 99999999999\r\n", b"Options-TTL: -1\r\n", b"Max-Connections: 0\r\n"),
    *(b"Transfer-Ignore: *\r\n", b"Transfer-Preview: *\r\n", b"Methods: REQMOD\r\n", b"Service: \xe2\x80\xae\r\n"),
]


def test_garbage_never_hangs_or_breaks_options() -> None:
    """Near-replies to OPTIONS: a service within our bounds or a failure, and nothing else."""
    seen: set[bool] = set()
    refused: set[Status] = set()

    def trial(chance: random.Random) -> None:
        talk = OptionsTalk()
        for part in cut(chance, spoil(chance, chance.choice(OPTIONS), WORDS + OPTIONS_WORDS)):
            if not talk.over:
                talk.feed(part, flushed=True)
        talk.end("the connection ended")
        assert (talk.head is None) != (talk.failure is None)
        if talk.head is None:
            return
        try:
            service = read_service(talk.head)
        except BadReply as bad:
            refused.add(bad.status)
        else:
            assert service.preview is None or 0 <= service.preview <= PREVIEW_LIMIT
            assert 1 <= service.ttl <= TTL_LIMIT
            assert service.connections is None or service.connections > 0
            assert service.version.isprintable()
            assert len(service.version) <= 255
            seen.add(service.ignores)

    assert fuzz(trial) > 0
    assert seen == {False, True}
    assert refused == {Status.ERROR, Status.UNKNOWN}
