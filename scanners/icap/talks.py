"""One question and its answer on a connection, as its bytes arrive. No sockets here.

Rules of this file: a talk is told what comes, what has been sent, and that the connection ended, and knows from that
alone whether it is over; what is known early is said early; whether the connection may be used again is part of it.
"""

from __future__ import annotations

from typing import Protocol

from policy.verdict import Status
from scanners.engine import Answer, Body
from scanners.icap.headers import BadReply
from scanners.icap.replies import Head, ReplyParser
from scanners.icap.requests import STATUS_LINE
from scanners.icap.verdict import judge_head, judge_headers

OPT_BODY_LIMIT = 64 * 1024
"""Bytes that may follow the reply to OPTIONS; nobody reads them."""


class Talk(Protocol):
    """What a connection carries at a time."""

    @property
    def over(self) -> bool:
        """Whether the outcome is known: nothing need be sent or read any more."""

    @property
    def heard(self) -> bool:
        """Whether at least one byte of the reply has come."""

    @property
    def reusable(self) -> bool:
        """Whether both sides said all they had to, and will listen again."""

    def feed(self, data: bytes, *, flushed: bool) -> None:
        """Bytes of the reply; `flushed`: whatever was sent has left this process."""

    def end(self, why: str) -> None:
        """The connection is no more."""


class OptionsTalk:
    """OPTIONS. `head` is the reply, `failure` why there is none; one of them is set once it is over."""

    def __init__(self) -> None:
        self._parser = ReplyParser(self._drop)
        self._dropped = 0
        self.head: Head | None = None
        self.failure: BadReply | None = None

    @property
    def over(self) -> bool:
        return self.head is not None or self.failure is not None

    @property
    def heard(self) -> bool:
        return self._parser.started

    @property
    def reusable(self) -> bool:
        return self.head is not None and not self._parser.excess and not _closes(self.head)

    def feed(self, data: bytes, *, flushed: bool) -> None:
        try:
            self._parser.feed(data)
            if self._parser.continues:
                raise BadReply(Status.UNKNOWN, "100 Continue where there was nothing to continue")
        except BadReply as why:
            self.failure = BadReply(why.status, f"OPTIONS: {why}")
        else:
            self.head = self._parser.head if self._parser.complete else None

    def _drop(self, part: bytes) -> None:
        self._dropped += len(part)
        if self._dropped > OPT_BODY_LIMIT:
            raise BadReply(Status.ERROR, f"a body of more than {OPT_BODY_LIMIT} bytes")

    def end(self, why: str) -> None:
        if not self.over:
            self.failure = BadReply(Status.ERROR, f"OPTIONS: {_tell_end(self._parser, why)}")


class CheckTalk:
    """RESPMOD. `answer` is set once it is over.

    Whoever sends sets `previewed` when a preview has been sent and there is more, and `handed` when the last byte was
    given to the connection. `proceed`: the server asked for the rest."""

    def __init__(self, body: Body, *, pure_body: bool) -> None:
        self._body = body
        self._pure_body = pure_body
        self._parser = ReplyParser(self._compare)
        self._echoed = 0
        self._compares: bool | None = None
        self._flushed = True
        self.previewed = False
        self.handed = False
        self.answer: Answer | None = None

    def __repr__(self) -> str:
        return f"<CheckTalk {self._parser!r}, handed {self.handed}, {self.answer}>"

    @property
    def proceed(self) -> bool:
        return self._parser.continues == 1

    @property
    def over(self) -> bool:
        return self.answer is not None

    @property
    def heard(self) -> bool:
        return self._parser.started

    @property
    def istag(self) -> bytes | None:
        """The server's state, as the reply tells it (RFC 3507, 4.7)."""
        head = self._parser.head
        return next(iter(head.headers.all("istag")), None) if head else None

    @property
    def _delivered(self) -> bool:
        return self.handed and self._flushed

    @property
    def reusable(self) -> bool:
        head, answer = self._parser.head, self.answer
        if head is None or answer is None or answer.status in (Status.ERROR, Status.UNKNOWN):
            return False
        # A server that answers to the preview has been sent a whole message, too.
        sent = self.handed or (self.previewed and not self._parser.continues)
        return sent and self._flushed and self._parser.complete and not self._parser.excess and not _closes(head)

    def feed(self, data: bytes, *, flushed: bool) -> None:
        self._flushed = flushed
        try:
            self._parser.feed(data)
            self.answer = self._judge()
        except BadReply as why:
            self.answer = self._answer_in_spite() or Answer(why.status, detail=str(why))
        except OSError as why:
            self.answer = Answer(Status.ERROR, detail=f"the object cannot be read: {why.strerror or why}")

    def end(self, why: str) -> None:
        if self.answer is None:
            self.answer = Answer(Status.ERROR, detail=_tell_end(self._parser, why))

    def _judge(self) -> Answer | None:
        head = self._parser.head
        if self._parser.continues > (1 if self.previewed else 0):
            raise BadReply(Status.UNKNOWN, "100 Continue where there was nothing to continue")
        if head is None:
            return None
        answer = self._judge_head(head) or self._judge_body()
        if answer is not None and answer.status is Status.FREE and self._parser.excess:
            raise BadReply(Status.UNKNOWN, "bytes behind the end of the reply")
        return answer

    def _judge_head(self, head: Head) -> Answer | None:
        return judge_head(head, delivered=self._delivered, status_line=STATUS_LINE, pure_body=self._pure_body)

    def _judge_body(self) -> Answer | None:
        """None until the body is whole; `_compare` has seen to it that it is ours so far."""
        if not self._parser.complete:
            return None
        if (answer := judge_headers(self._parser.trailers)) is not None:
            return answer
        if self._echoed != self._body.size or not self._delivered:
            raise BadReply(Status.UNKNOWN, f"the object came back with {self._echoed} of {self._body.size} bytes")
        return Answer(Status.FREE)

    def _compare(self, part: bytes) -> None:
        """Against our own bytes, at their place: nothing of the reply is kept."""
        if self._compares is None:
            head = self._parser.head
            self._compares = head is not None and self._judge_head(head) is None
        if not self._compares:
            return
        if self._body.read(self._echoed, len(part)) != part:
            at = f"after {self._echoed} bytes"
            raise BadReply(Status.UNKNOWN, f"the object did not come back as it was sent ({at})")
        self._echoed += len(part)

    def _answer_in_spite(self) -> Answer | None:
        """Bad news in whole headers stand, however the reply goes on."""
        head = self._parser.head
        answer = self._judge_head(head) if head is not None and self._parser.continues < 2 else None
        return answer if answer is not None and answer.status in (Status.FOUND, Status.ERROR) else None


def _closes(head: Head) -> bool:
    return "close" in head.headers.tokens("connection")


def _tell_end(parser: ReplyParser, why: str) -> str:
    return f"{why} {'in the middle of' if parser.started else 'before'} the reply"
