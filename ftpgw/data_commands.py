"""PASV, EPSV, PORT, EPRT, TYPE, REST and the transfers themselves.

Rules of this file: one handler a command, True where the session goes on; a data connection is laid by the client
before each transfer and serves that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import re

from ftpgw.command_table import full_verb
from ftpgw.data_channel import Channel, PassiveChannel, open_active
from ftpgw.data_stream import DataStream
from ftpgw.download import Download
from ftpgw.endpoints import format_port, is_ip4, parse_eprt, parse_port
from ftpgw.failures import UpstreamError
from ftpgw.session import Session
from ftpgw.transfer import Transfer
from ftpgw.upload import Upload
from ftpgw.wire import Command, Reply, make_reply


async def lay_passive(session: Session, command: Command) -> bool:
    """PASV and EPSV."""
    argument = command.argument.strip().upper()
    ip4 = is_ip4(session.local)
    if command.verb == "PASV" and session.epsv_all:
        session.reply(make_reply(501, "EPSV ALL was said."))
    elif command.verb == "PASV" and not ip4:
        session.reply(make_reply(425, "PASV cannot name an IPv6 address: EPSV."))
    elif argument == "ALL":
        session.epsv_all = True
        session.reply(make_reply(200, "EPSV only from now on."))
    elif argument not in ("", "1" if ip4 else "2"):
        session.reply(make_reply(522, f"Network protocol not supported, use ({1 if ip4 else 2})"))
    else:
        _listen(session, command.verb)
    return True


def _listen(session: Session, verb: str) -> None:
    try:
        channel = PassiveChannel(session.local, session.client, session.gateway.proxy.passive_ports)
    except OSError:
        session.reply(make_reply(425, "No port for a data connection is free, try again later."))
        return
    session.set_channel(channel)
    if verb == "EPSV":
        session.reply(make_reply(229, f"Entering Extended Passive Mode (|||{channel.port}|)"))
        return
    shown = session.dialled.host if session.dialled and is_ip4(session.dialled.host) else session.local
    session.reply(make_reply(227, f"Entering Passive Mode ({format_port(shown, channel.port)})."))


async def lay_active(session: Session, command: Command) -> bool:
    """PORT and EPRT."""
    if session.epsv_all:
        session.reply(make_reply(501, "EPSV ALL was said."))
        return True
    try:
        host, port = (parse_port if command.verb == "PORT" else parse_eprt)(command.argument)
        session.set_channel(open_active(host, port, session.client, session.local))
    except ValueError as error:
        session.reply(make_reply(501, f"Refused: {error}."))
        return True
    session.reply(make_reply(200, f"{command.verb} is noted."))
    return True


async def set_type(session: Session, command: Command) -> bool:
    """TYPE."""
    kind = command.argument.strip().upper()
    if kind not in ("A", "A N", "I", "L 8", "L8"):
        session.reply(make_reply(504, "Unsupported type: TYPE A and TYPE I are offered."))
        return True
    session.type = "A" if kind[0] == "A" else "I"
    session.reply(make_reply(200, f"Type is {session.type}."))
    return True


async def set_form(session: Session, command: Command) -> bool:
    """MODE and STRU."""
    only, others = ("S", "BCZ") if command.verb == "MODE" else ("F", "PR")
    asked = command.argument.strip().upper()
    if asked == only:
        session.reply(make_reply(200, f"{command.verb} is {only}."))
    elif len(asked) == 1 and asked in others:
        session.reply(make_reply(504, f"Unimplemented: {command.verb} is {only}, and nothing else."))
    else:
        session.reply(make_reply(501, f"Unrecognized: {command.verb} is {only}, and nothing else."))
    return True


async def set_offset(session: Session, command: Command) -> bool:
    """REST."""
    if not re.fullmatch(r"\d{1,18}", command.argument.strip(), re.ASCII):
        session.reply(make_reply(501, "Invalid parameter: REST takes a number."))
        return True
    session.offset = int(command.argument)
    session.reply(make_reply(350, f"Restarting at {session.offset}."))
    return True


def _take_channel(session: Session) -> Channel | None:
    if session.secured and not session.protected:
        session.set_channel(None)
        session.reply(make_reply(521, "Data connections must be protected: PROT P."))
        return None
    if session.channel is None:
        session.reply(make_reply(425, "PASV, EPSV, PORT or EPRT first."))
    return session.take_channel()


async def transfer(session: Session, command: Command) -> bool:
    """RETR, STOR, APPE and STOU."""
    offset = session.take_offset()
    if (refusal := await _refuse_offset(session, command, offset)) is not None:
        session.reply(refusal)
        return True
    if (channel := _take_channel(session)) is None:
        return True
    try:
        path = await find_path(session, command.argument)
    except BaseException:
        channel.close()
        raise
    moving: Transfer
    if command.verb == "RETR":
        moving = Download(session, channel, command.argument, path, offset)
    else:
        moving = Upload(session, channel, command.verb, command.argument, path, offset)
    await moving.run()
    return True


async def _refuse_offset(session: Session, command: Command, offset: int) -> Reply | None:
    """The reply to a REST that cannot be: before a whole file is moved for it."""
    if not offset:
        return None
    if command.verb not in ("RETR", "STOR"):
        return make_reply(450, f"Can't {command.verb} while REST request is pending.")
    size = await session.server.ask_size(command.argument) if session.type == "I" else None
    if size is not None and offset > size:
        return make_reply(554, f"REST position {offset} > file size {size}.")
    return None


async def find_path(session: Session, name: str) -> str:
    """The whole path of a file, for the policy and the record."""
    if not name.startswith("/"):
        if session.directory is None:
            reply = await session.server.ask("PWD")
            match = re.search(r'"((?:[^"]|"")*)"', reply.lines[-1]) if reply.kind == 2 else None
            session.directory = match[1].replace('""', '"') if match else "/"
        name = posixpath.join(session.directory, name)
    path = posixpath.normpath("/" + name)
    return "/" + path.lstrip("/")


async def list_directory(session: Session, command: Command) -> bool:
    """LIST, NLST and MLSD: the server's bytes and words."""
    session.take_offset()
    if (channel := _take_channel(session)) is None:
        return True
    upstream = session.server
    client: DataStream | None = None
    server: DataStream | None = None
    try:
        await upstream.set_type(session.type)
        line = f"{full_verb(command)} {command.argument}" if command.argument else command.verb
        server, reply = await upstream.open_data(line)
        if server is None:
            session.reply(reply)
            return reply.code != 421
        try:
            client = await session.open_data(channel, reply)
            while data := await server.receive():
                await client.send(data)
            await server.close()
            final = await upstream.read_final()
            if final.kind == 2:
                await client.close()
            else:
                client.abort()
            session.reply(final)
        except UpstreamError:
            raise
        except (OSError, TimeoutError) as error:
            server.abort()
            if client is not None:
                client.abort()
            session.reply(make_reply(426 if client else 425, f"Transfer broken off: {error or 'timed out'}"))
            with contextlib.suppress(UpstreamError):
                await upstream.settle()
    finally:
        channel.close()
        for stream in (client, server):
            if stream is not None:
                stream.abort()
    return True


async def abort(session: Session) -> bool:
    """ABOR: a transfer under way ends with 426, then comes 226 (RFC 959 5.4)."""
    work = session.work
    ended = work is not None and not work.done()
    if work is not None and ended:
        work.cancel()
        await asyncio.wait([work])
    async with session.busy:
        session.set_channel(None)
        session.offset = 0
        session.reply(make_reply(226, "ABOR is done.") if ended else make_reply(225, "No transfer to abort."))
        if session.upstream is not None:
            await session.upstream.settle()
    return True
