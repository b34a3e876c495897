"""What is said to an ICAP server. No sockets here.

Rules of this file: nothing that comes from outside stands in a request but the object's bytes and the server's own
address and service, which the policy has checked; 206 is never offered, for its answer is a puzzle. Source: RFC 3507,
4.4 (encapsulation), 4.5 (preview), 4.6 (204), 4.8 (RESPMOD), 4.10 (OPTIONS).
"""

from __future__ import annotations

NAME = "object.bin"
"""What every object is called. `.invalid` below can be nobody's host (RFC 2606)."""

STATUS_LINE = b"HTTP/1.1 200 OK"

_REQUEST = f"GET http://sluice.invalid/{NAME} HTTP/1.1\r\nHost: sluice.invalid\r\n\r\n".encode()
# A type that leaves the server to look for itself.
_RESPONSE = STATUS_LINE + b"\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"

END = b"0\r\n\r\n"
"""Ends a body, or the part of it that is shown."""

END_OF_WHOLE = b"0; ieof\r\n\r\n"
"""Ends a preview behind which nothing is left."""


def make_options(authority: str, uri: str) -> bytes:
    """Asks what the service at this path can do; `authority` is host and port."""
    return f"OPTIONS icap://{authority}{uri} ICAP/1.0\r\nHost: {authority}\r\nUser-Agent: Sluice\r\n\r\n".encode()


def make_respmod(authority: str, uri: str, *, size: int, preview: int | None, allow_204: bool) -> bytes:
    """Everything before the body of an object of `size` bytes; `preview`: how many of them come first, or None."""
    response = _RESPONSE % size
    lines = [f"RESPMOD icap://{authority}{uri} ICAP/1.0", f"Host: {authority}", "User-Agent: Sluice"]
    if allow_204:
        lines.append("Allow: 204")
    if preview is not None:
        lines.append(f"Preview: {preview}")
    body = len(_REQUEST) + len(response)
    lines += [f"Encapsulated: req-hdr=0, res-hdr={len(_REQUEST)}, res-body={body}", "", ""]
    return "\r\n".join(lines).encode() + _REQUEST + response


def make_chunk(part: bytes, tail: bytes = b"") -> bytes:
    """One chunk, and what stands behind it; an empty part makes no chunk, for that would be the end."""
    return b"".join((b"%x\r\n" % len(part), part, b"\r\n", tail)) if part else tail
