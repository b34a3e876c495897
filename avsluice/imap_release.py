"""A mail out of the quarantine, appended to a mailbox by IMAP.

Rules of this file: every step is bounded in time by us, for the library's own bounds do not always hold; after any
trouble the connection is dropped; names are quoted here, for the library sends them as they are.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime

from aioimaplib import IMAP4, IMAP4_SSL, AioImapException

from avsluice.courier import NotReleased, Server

_FLAG = re.compile(r"\\?[A-Za-z0-9$_.-]{1,64}", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


async def append(server: Server, mailbox: str, mail: bytes, flags: Sequence[str], date: datetime) -> None:
    """The mail's own bytes, unchanged but for line ends, which IMAP demands to be CRLF (RFC 9051 section 2.2).

    Raises NotReleased; then it is not in the mailbox, as far as can be known."""
    body = re.sub(rb"\r\n|\r|\n", b"\r\n", mail)
    kept = " ".join(flag for flag in flags if _FLAG.fullmatch(flag) and flag.lower() != "\\recent")
    client = _make_client(server)
    try:
        await _within(server, client.wait_hello_from_server())
        if server.user is not None:
            _demand(await _within(server, client.login(quote(server.user), server.password or "")), "LOGIN")
        client.timeout = server.timeout
        reply = await _within(server, client.append(body, quote(encode_name(mailbox)), f"({kept})", date))
        _demand(reply, "APPEND")
        with suppress(AioImapException, OSError):  # TimeoutError is one: the mail is there, whatever comes now
            await _within(server, client.logout())
    except TimeoutError as error:
        raise NotReleased(f"{server.address}: no answer within {server.timeout:g} s") from error
    except (AioImapException, OSError, ValueError) as error:
        raise NotReleased(f"{server.address}: {error}") from error
    finally:
        _drop(client)


def _make_client(server: Server) -> IMAP4:
    host, port = server.address.host, server.address.port
    if server.tls == "implicit":
        return IMAP4_SSL(host, port, timeout=server.timeout, ssl_context=server.context())
    return IMAP4(host, port, timeout=server.timeout)


async def _within[T](server: Server, step: Awaitable[T]) -> T:
    async with asyncio.timeout(server.timeout):
        return await step


def _demand(reply: object, command: str) -> None:
    """NotReleased with the server's words unless it said OK."""
    result, lines = getattr(reply, "result", "nothing"), getattr(reply, "lines", [])
    if result != "OK":
        words = b" ".join(line for line in lines if isinstance(line, bytes)).decode("utf-8", "backslashreplace")
        raise NotReleased(f"{command}: {result} {words}".rstrip())


def _drop(client: IMAP4) -> None:
    transport = getattr(client.protocol, "transport", None)
    if transport is not None:
        transport.abort()


def quote(text: str) -> str:
    """A quoted string (RFC 9051 section 4.3). ValueError for control characters."""
    if _UNPRINTABLE.search(text):
        raise ValueError("a control character in a name")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def encode_name(text: str) -> str:
    """A mailbox's name in modified UTF-7 (RFC 3501 section 5.1.3)."""
    pieces = re.split(r"([^\x20-\x7e]+)", text)
    return "".join(_shift(piece) if n % 2 else piece.replace("&", "&-") for n, piece in enumerate(pieces))


def _shift(piece: str) -> str:
    return "&" + b64encode(piece.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
