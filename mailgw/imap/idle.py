"""IDLE (RFC 2177): the server tells, until the client says DONE.

Rules of this file: what the server tells passes through the same check as ever.
"""

from __future__ import annotations

from mailgw.channel import PeerGone
from mailgw.imap.capabilities import filter_line
from mailgw.imap.command_reader import CommandReader
from mailgw.imap.commands import Command
from mailgw.imap.relay import Relay
from mailgw.imap.server import ServerGone
from mailgw.imap.units import UnitFault

_LONGEST = 1000  # octets that are waited for


async def idle(relay: Relay, reader: CommandReader, command: Command, within: float) -> bytes:
    """One IDLE of `within` seconds at the most; the tagged line. Raises UnitFault, PeerGone, PeerSilent, ServerGone."""
    inbox = relay.channel.inbox
    refused = await relay.forward(command.tag, command.unit) or await relay.await_go_ahead(command.tag)
    if refused is not None:
        return refused
    relay.channel.write(b"+ idling\r\n")
    while b"\n" not in inbox and len(inbox) < _LONGEST:
        ended = await _pass_waiting(relay, command.tag)
        if ended is not None:
            return ended
        if not await reader.wait(relay, within):
            raise PeerGone("the client left")
    if inbox[:6].upper() != b"DONE\r\n":
        raise UnitFault("IDLE ends with DONE")
    del inbox[:6]
    await relay.server.send([b"DONE\r\n"])
    return await relay.finish(command.tag)


async def _pass_waiting(relay: Relay, tag: bytes) -> bytes | None:
    """What the server says meanwhile; the tagged line where it ends the command by itself."""
    while (unit := relay.server.take()) is not None:
        if unit.texts[0].startswith(tag + b" "):
            return filter_line(unit.texts[0], relay.terms)
        await relay.pass_on(unit)
    if relay.bye or relay.server.channel.eof:
        raise ServerGone("the server has closed")
    return None
