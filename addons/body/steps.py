"""What a transfer tells the stream layer to do next. Data only; `addons.wire.stream` carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from mitmproxy import http

from addons.body.ranges import Piece


@dataclass(frozen=True, slots=True)
class Release:
    """These bytes may leave now, behind what has left already."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Whole:
    """Nothing has left and everything may: a body small enough to be an ordinary buffered message again."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything has left and the message ends here."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """All that is here has left; what still arrives streams past, because the policy lets it pass unchecked."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Nothing has left, and of what passes unchecked the client wants this piece alone: the origin is asked for it."""

    piece: Piece


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing has left: the client gets this page instead."""

    page: http.Response


@dataclass(frozen=True, slots=True)
class Cut:
    """Something has left: the client must see a failed transfer. `reason` goes to the log, never to the peer."""

    reason: str


Step = Release | Whole | Finish | HandOver | Fetch | Refuse | Cut
