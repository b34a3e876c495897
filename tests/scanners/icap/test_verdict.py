"""Every row of what an ICAP reply may mean, through the whole talk: bytes in, one status out."""

from __future__ import annotations

import pytest

from policy.verdict import Status
from scanners.body import MemoryBody
from scanners.engine import Answer
from scanners.icap.talks import CheckTalk

BODY = b"0123456789" * 10
HTTP = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nVia: ICAP/1.0 x\r\n\r\n"
FORBIDDEN = b"HTTP/1.0 403 Forbidden\r\n\r\n"


def icap(status: bytes, *headers: bytes, http: bytes | None = None, body: bytes | None = None) -> bytes:
    """A reply; `body` in one chunk."""
    lines = [b"ICAP/1.0 " + status, *headers]
    if http is not None:
        kind = b"null" if body is None else b"res"
        lines.append(b"Encapsulated: res-hdr=0, %s-body=%d" % (kind, len(http)))
    chunks = b"" if body is None else (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    return b"\r\n".join([*lines, b"", b""]) + (http or b"") + chunks


def judge(
    reply: bytes, *, delivered: bool = True, previewed: bool = False, pure: bool = True, end: bool = True
) -> Answer | None:
    """The answer to BODY; `end`: the connection ends behind the reply."""
    talk = CheckTalk(MemoryBody(BODY), pure_body=pure)
    talk.handed, talk.previewed = delivered, previewed
    talk.feed(reply, flushed=True)
    if end:
        talk.end("the connection ended")
    return talk.answer


def echo(*headers: bytes) -> bytes:
    """Our very object."""
    return icap(b"200 OK", *headers, http=HTTP, body=BODY)


INFECTED = b"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar;"
PAGE = b"<html>virus</html>"

ROWS = [
    # a word of infection, in either kind of header, with any 2xx
    (icap(b"200 OK", INFECTED, http=FORBIDDEN, body=PAGE), Status.FOUND),
    (icap(b"200 OK", b"X-Infection-Found: Type=1; Resolution=2; Threat=P;", http=HTTP, body=BODY), Status.FOUND),
    (icap(b"204 Unmodified", INFECTED), Status.FOUND),
    (icap(b"206 Partial", INFECTED, http=HTTP, body=b"x"), Status.FOUND),
    (icap(b"200 OK", http=b"HTTP/1.1 307 Moved\r\n" + INFECTED + b"\r\n\r\n"), Status.FOUND),
    (echo(b"X-Virus-ID: Eicar"), Status.FOUND),
    (icap(b"204 Unmodified", b"x-virus-id: Eicar"), Status.FOUND),
    (echo(b"X-Virus-Name: Eicar"), Status.FOUND),
    (echo(b"X-FSecure-Scan-Result: infected"), Status.FOUND),
    (echo(b"X-FSecure-Scan-Result: "), Status.FOUND),
    (echo(b"X-Infection-Found: what is this"), Status.FOUND),
    (echo(b"X-Infection-Found: Type=9; Threat=x;"), Status.FOUND),
    (echo(b"X-Infection-Found:\r\n\tType=0;\r\n\tThreat=folded;"), Status.FOUND),
    (icap(b"200 OK", http=HTTP, body=BODY)[:-2] + b"X-Virus-ID: behind\r\n\r\n", Status.FOUND),
    # containers that were not looked into
    (
        icap(b"200 OK", b"X-Infection-Found: Type=2; Resolution=2; Threat=Encrypted;", http=HTTP, body=BODY),
        Status.SKIPPED,
    ),
    (icap(b"204 x", b"X-Infection-Found: Type=2; Resolution=0; Threat=Size;"), Status.SKIPPED),
    (echo(b"X-Infection-Found: Type=0; Threat=Heuristics.Encrypted.Zip;"), Status.SKIPPED),
    (echo(b"X-Infection-Found: Type=2; Threat=a;", b"X-Virus-ID: Eicar"), Status.FOUND),
    (echo(b"X-Infection-Found: Type=2; Threat=a;", INFECTED), Status.FOUND),
    # unmodified
    (icap(b"204 Unmodified"), Status.FREE),
    (icap(b"204 No Content", b"Encapsulated: null-body=0"), Status.FREE),
    (icap(b"204"), Status.FREE),
    (echo(), Status.FREE),
    (echo(b"X-Virus-ID: no threats", b"X-Response-Info: passed"), Status.FREE),
    (echo(b"X-Virus-ID: None"), Status.FREE),
    (echo(b"X-Virus-ID: -"), Status.FREE),
    (echo(b"X-Virus-ID:"), Status.FREE),
    (echo(b"X-FSecure-Scan-Result: clean"), Status.FREE),
    (echo(b"X-Violations-Found: 0"), Status.FREE),
    # something else came back
    (icap(b"200 OK", http=HTTP, body=BODY[:-1]), Status.UNKNOWN),
    (icap(b"200 OK", http=HTTP, body=BODY + b"x"), Status.UNKNOWN),
    (icap(b"200 OK", http=HTTP, body=BODY[:-1] + b"x"), Status.UNKNOWN),
    (icap(b"200 OK", http=HTTP, body=b""), Status.UNKNOWN),
    (icap(b"200 OK", http=HTTP), Status.UNKNOWN),
    (icap(b"200 OK", http=b"HTTP/1.1 302 Found\r\n\r\n", body=BODY), Status.UNKNOWN),
    (icap(b"200 OK", http=FORBIDDEN, body=PAGE), Status.UNKNOWN),
    (icap(b"200 OK", http=b"HTTP/1.0 200 OK\r\n\r\n", body=BODY), Status.UNKNOWN),
    (icap(b"200 OK", b"X-Violations-Found: 1\r\n\t-\r\n\tEicar", http=FORBIDDEN, body=PAGE), Status.UNKNOWN),
    (echo(b"X-Violations-Found: 1"), Status.UNKNOWN),
    (icap(b"204 x", b"X-Violations-Found: 1"), Status.UNKNOWN),
    (echo(b"X-Response-Info: Blocked"), Status.UNKNOWN),
    (icap(b"204 x", b"X-Response-Info: blocked"), Status.UNKNOWN),
    (echo(b"X-Block-Reason: policy"), Status.UNKNOWN),
    # nonsense
    (icap(b"206 Partial", http=HTTP, body=b"x"), Status.UNKNOWN),
    (icap(b"206 Partial"), Status.UNKNOWN),
    (icap(b"201 Created"), Status.UNKNOWN),
    (icap(b"302 Found"), Status.UNKNOWN),
    (icap(b"101 Switching"), Status.UNKNOWN),
    (icap(b"700 What"), Status.UNKNOWN),
    (icap(b"100 Continue"), Status.UNKNOWN),
    (icap(b"100 Continue") + icap(b"204 x"), Status.UNKNOWN),
    (icap(b"200 OK"), Status.UNKNOWN),
    (icap(b"200 OK", b"Encapsulated: null-body=0"), Status.UNKNOWN),
    (icap(b"200 OK", b"Encapsulated: res-body=0") + b"64\r\n" + BODY + b"\r\n0\r\n\r\n", Status.UNKNOWN),
    (icap(b"204 x", http=HTTP, body=BODY), Status.UNKNOWN),
    (icap(b"204 x", http=HTTP), Status.UNKNOWN),
    (icap(b"204 x") * 2, Status.UNKNOWN),
    (icap(b"204 x") + b"\r\n", Status.UNKNOWN),
    (echo() + b"x", Status.UNKNOWN),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Status.UNKNOWN),
    (b"ICAP/1.1 204 x\r\n\r\n", Status.UNKNOWN),
    (b"ICAP/1.0 2040 x\r\n\r\n", Status.UNKNOWN),
    (b"ICAP/1.0  204 x\r\n\r\n", Status.UNKNOWN),
    (b"icap/1.0 204 x\r\n\r\n", Status.UNKNOWN),
    (b"\r\nICAP/1.0 204 x\r\n\r\n", Status.UNKNOWN),
    (icap(b"200 OK", b"Encapsulated: res-hdr=0"), Status.UNKNOWN),
    (icap(b"200 OK", b"Encapsulated: res-body=0, res-hdr=10"), Status.UNKNOWN),
    (icap(b"200 OK", b"Encapsulated: res-hdr=0, res-body=0"), Status.UNKNOWN),
    (icap(b"200 OK", b"Encapsulated: res-hdr=0, res-body=99999"), Status.UNKNOWN),
    (icap(b"200 OK", b"Encapsulated: null-body=0", b"Encapsulated: null-body=0"), Status.UNKNOWN),
    # refusals
    *((icap(b"%d x" % code, INFECTED), Status.ERROR) for code in (400, 404, 405, 408, 418, 500, 503, 539, 599)),
    # broken
    (b"", Status.ERROR),
    (b"ICAP/1.0 204 Unmodified\r\n", Status.ERROR),
    (b"ICAP/1.0 204 Unmodified", Status.ERROR),
    (b"ICAP/1.0 200 OK\r\nX-Virus-ID: Eicar\r\n", Status.ERROR),
    (echo()[:-1], Status.ERROR),
    (echo()[:-20], Status.ERROR),
    (icap(b"200 OK", http=HTTP)[:-5], Status.ERROR),
    (icap(b"204 x", b"no header"), Status.ERROR),
    (icap(b"204 x", b" folded"), Status.ERROR),
    (icap(b"204 x", b"Name : value"), Status.ERROR),
    (icap(b"204 x", b"Name: a\nb"), Status.ERROR),
    (icap(b"204 x", b"Name: a\0b"), Status.ERROR),
    (b"ICAP/1.0 204 x\n\n", Status.ERROR),
    (
        icap(b"200 OK", http=HTTP).replace(b"null-body=%d" % len(HTTP), b"null-body=%d" % (len(HTTP) + 1)) + b"x",
        Status.ERROR,
    ),
    (icap(b"200 OK", http=HTTP, body=BODY).replace(b"64\r\n", b"-64\r\n"), Status.ERROR),
    (icap(b"200 OK", http=HTTP, body=BODY).replace(b"64\r\n", b"0x64\r\n"), Status.ERROR),
    (icap(b"200 OK", http=HTTP, body=BODY).replace(b"64\r\n", b"\r\n"), Status.ERROR),
    (icap(b"200 OK", http=HTTP, body=BODY).replace(b"64\r\n", b"000000064\r\n"), Status.ERROR),
    (icap(b"200 OK", http=HTTP, body=BODY).replace(b"64\r\n", b"64;" + b"x" * 5000 + b"\r\n"), Status.ERROR),
    (icap(b"200 OK", http=HTTP, body=BODY).replace(b"64\r\n", b"63\r\n"), Status.ERROR),
    # chunk extensions are nobody's business
    (icap(b"200 OK", http=HTTP, body=BODY).replace(b"64\r\n", b'64 ; a="b"; c\r\n'), Status.FREE),
    (echo().replace(b"0\r\n\r\n", b"000; ieof\r\n\r\n"), Status.FREE),
]


@pytest.mark.parametrize(("reply", "status"), ROWS)
def test_every_form_of_reply_has_its_status(reply: bytes, status: Status) -> None:
    """Each row of what a server may say ends in one status."""
    answer = judge(reply)
    assert answer is not None
    assert answer.status is status, answer


@pytest.mark.parametrize(("reply", "status"), ROWS)
def test_the_status_does_not_depend_on_segments(reply: bytes, status: Status) -> None:
    """The same, byte by byte. But what comes behind the end of a reply is then another talk's trouble."""
    talk = CheckTalk(MemoryBody(BODY), pure_body=True)
    talk.handed = True
    for byte in reply:
        if not talk.over:
            talk.feed(bytes([byte]), flushed=True)
    talk.end("the connection ended")
    assert talk.answer is not None
    excess = reply in (icap(b"204 x") * 2, icap(b"204 x") + b"\r\n", echo() + b"x")
    assert talk.answer.status is (Status.FREE if excess else status), talk.answer


def test_a_reply_that_never_ends_is_an_error_or_not_over() -> None:
    """Without its end nothing is said; with the connection's end it is an error."""
    assert judge(echo()[:-3], end=False) is None
    answer = judge(echo()[:-3])
    assert answer is not None
    assert (answer.status, answer.detail) == (Status.ERROR, "the connection ended in the middle of the reply")


DELIVERY = [
    # delivered, previewed, the reply's beginning, status of a 204
    (True, False, b"", Status.FREE),  # no preview, or the whole in it (ieof)
    (True, True, b"ICAP/1.0 100 Continue\r\n\r\n", Status.FREE),
    (False, True, b"", Status.SKIPPED),  # to the preview alone
    (False, True, b"ICAP/1.0 100 Continue\r\n\r\n", Status.SKIPPED),  # while the rest is sent
    (False, False, b"", Status.SKIPPED),  # while the whole is sent
]


@pytest.mark.parametrize(("delivered", "previewed", "before", "status"), DELIVERY)
def test_204_counts_after_the_whole_object(*, delivered: bool, previewed: bool, before: bytes, status: Status) -> None:
    """A 204 is free where the whole object was delivered, else skipped."""
    answer = judge(before + icap(b"204 Unmodified"), delivered=delivered, previewed=previewed)
    assert answer is not None
    assert answer.status is status


def test_204_before_everything_left_the_process() -> None:
    """Handed to the connection is not delivered yet."""
    talk = CheckTalk(MemoryBody(BODY), pure_body=True)
    talk.handed = True
    talk.feed(icap(b"204 Unmodified"), flushed=False)
    assert talk.answer is not None
    assert talk.answer.status is Status.SKIPPED
    assert not talk.reusable


def test_an_echo_before_the_whole_object_is_unknown() -> None:
    """Nobody can give back what he has not got."""
    answer = judge(echo(), delivered=False, previewed=True)
    assert answer is not None
    assert answer.status is Status.UNKNOWN


def test_pure_body_off() -> None:
    """Where the policy says so an unchanged 200 is unknown."""
    answer = judge(echo(), pure=False)
    assert answer is not None
    assert (answer.status, "icap-pass-200-with-pure-body" in answer.detail) == (Status.UNKNOWN, True)


def test_one_continue_is_expected_once() -> None:
    """A second 100 Continue makes no sense, whatever follows."""
    again = b"ICAP/1.0 100 Continue\r\n\r\n"
    answer = judge(again + again + icap(b"204 x"), previewed=True)
    assert answer is not None
    assert answer.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"X-Infection-Found: Type=0; Resolution=0; Threat=a,b;", "a,b"),
        (b"X-Infection-Found: Type=0; Resolution=2; Threat=Eicar", "Eicar"),
        (b"X-Infection-Found: Type=0; Resolution=2;", "unnamed"),
        (b"X-Virus-ID: \xff\xe2\x80\xae", r"\xff\u202e"),
        (b"X-FSecure-Scan-Result: infected\r\nX-FSecure-Infection-Name: W32.X", "W32.X"),
        (b"X-Infection-Found: Type=0;\r\nX-Virus-ID: later", "later"),
    ],
)
def test_the_name(header: bytes, name: str) -> None:
    """Names come from whichever header has one, made fit for people."""
    answer = judge(icap(b"204 x", header))
    assert answer is not None
    assert (answer.status, answer.virus) == (Status.FOUND, name)


def test_bad_news_stand_however_the_reply_goes_on() -> None:
    """Whole headers with a virus in them are found, though the body breaks."""
    for reply in (icap(b"200 OK", INFECTED, http=FORBIDDEN, body=PAGE)[:-9], echo(INFECTED)[:-3] + b"zz"):
        answer = judge(reply)
        assert answer is not None
        assert answer.status is Status.FOUND


class TestReuse:
    """After which talks the connection may be used again."""

    @staticmethod
    def reusable(reply: bytes, *, handed: bool = True, previewed: bool = False) -> bool:
        """Of the talk with this reply."""
        talk = CheckTalk(MemoryBody(BODY), pure_body=True)
        talk.handed, talk.previewed = handed, previewed
        talk.feed(reply, flushed=True)
        return talk.reusable

    def test_whole_exchanges(self) -> None:
        """Free, skipped and found, when both sides said everything."""
        assert self.reusable(icap(b"204 x"))
        assert self.reusable(echo())
        assert self.reusable(icap(b"200 OK", INFECTED, http=FORBIDDEN, body=PAGE))
        assert self.reusable(icap(b"204 x"), handed=False, previewed=True)

    @pytest.mark.parametrize(
        "reply",
        [
            icap(b"404 x"),
            icap(b"500 x"),
            icap(b"206 x"),
            icap(b"200 OK", http=HTTP, body=b"other"),
            icap(b"200 OK", INFECTED, http=FORBIDDEN, body=PAGE)[:-5],
            icap(b"204 x", b"Connection: close"),
            icap(b"204 x") + b"x",
            icap(b"204 x", INFECTED) + b"x",
            b"ICAP/1.0 204",
            b"",
        ],
    )
    def test_everything_else(self, reply: bytes) -> None:
        """Not after unknown or error, a remainder, or where the server says so."""
        assert not self.reusable(reply)

    def test_while_we_still_send(self) -> None:
        """An answer before our end leaves our rest in the way."""
        assert not self.reusable(icap(b"204 x"), handed=False)
        again = b"ICAP/1.0 100 Continue\r\n\r\n"
        assert not self.reusable(again + icap(b"204 x"), handed=False, previewed=True)
