"""What an ICAP service says about itself (OPTIONS, RFC 3507, 4.10.2). No sockets here.

Rules of this file: every number is bounded, whatever the server asks for; what it does not say is taken as the RFC has
it; a service that cannot do RESPMOD is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from policy.verdict import Status
from scanners.icap.headers import BadReply, Headers
from scanners.icap.replies import Head
from scanners.icap.requests import NAME
from scanners.icap.verdict import describe
from scanners.printable import printable

PREVIEW_LIMIT = 64 * 1024
"""Bytes that are shown at most, also to a server that would take more: RFC 3507, 4.5, lets a client send fewer."""

TTL_LIMIT = 3600.0
"""Seconds after which a service is asked again, also one that would not need to be (Options-TTL)."""

_SUFFIX = NAME.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Service:
    """What the service can do, and for how long that holds.

    `preview` in bytes, None: none wanted. `ttl` in seconds. `connections`: so many at a time, None: no limit told.
    `ignores`: it does not want to see what we send (Transfer-Ignore). `istag`: its state (RFC 3507, 4.7);
    `version`: for people and for comparison."""

    preview: int | None = None
    allow_204: bool = False
    ttl: float = TTL_LIMIT
    connections: int | None = None
    ignores: bool = False
    istag: bytes | None = None
    version: str = ""


def read_service(head: Head) -> Service:
    """From the reply to OPTIONS. BadReply where it is no answer, or not one of a service for us."""
    if head.code != 200:
        status = Status.ERROR if 400 <= head.code < 600 else Status.UNKNOWN
        raise BadReply(status, f"OPTIONS: {describe(head)}")
    headers = head.headers
    methods = headers.tokens("methods")
    if methods and "respmod" not in methods:
        raise BadReply(Status.ERROR, f"the service does {printable(', '.join(methods).encode())} only, not RESPMOD")
    transfer = _transfer(headers)
    preview = headers.number("preview")
    return Service(
        preview=None if preview is None or transfer == "complete" else min(preview, PREVIEW_LIMIT),
        allow_204="204" in headers.tokens("allow"),
        ttl=_ttl(headers),
        connections=_connections(headers),
        ignores=transfer == "ignore",
        istag=next(iter(headers.all("istag")), None),
        version=_version(headers),
    )


def _transfer(headers: Headers) -> str:
    """How the server wants objects of our name: by suffix, else by `*`, else with the preview that it offers."""
    for wanted in (_SUFFIX, "*"):
        for way in ("complete", "preview", "ignore"):
            if wanted in headers.tokens(f"transfer-{way}"):
                return way
    return "preview"


def _ttl(headers: Headers) -> float:
    """At least a second, lest every check ask twice."""
    ttl = headers.number("options-ttl")
    return TTL_LIMIT if ttl is None else min(max(float(ttl), 1.0), TTL_LIMIT)


def _connections(headers: Headers) -> int | None:
    """None also for 0, with which nothing could ever be asked."""
    return headers.number("max-connections") or None


def _version(headers: Headers) -> str:
    said = [value for name in ("service", "istag") for value in headers.all(name)]
    return printable(b" ".join(said))
