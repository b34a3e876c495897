"""USER, PASS and ACCT: the way to the server.

Rules of this file: TLS that the policy asks for is there before a name is sent, on both sides; a destination that is
not allowed costs no packet; several servers are tried in order; a password is never logged and never kept.
"""

from __future__ import annotations

import logging

from ftpgw.destination import Destination, NotAllowed, choose_destinations, find_addresses
from ftpgw.failures import UpstreamError
from ftpgw.session import Session
from ftpgw.upstream import Upstream
from ftpgw.wire import Reply, make_reply

logger = logging.getLogger(__name__)


async def log_in(session: Session, argument: str) -> bool:
    """USER. False where the session is over."""
    if session.host.section.tls.mode != "none" and not session.secured:
        session.reply(make_reply(530, "TLS is required here: AUTH TLS first."))
        return True
    # Who only tries another password stays where the server counts the tries.
    if session.logged_in or (session.user is not None and session.gateway.proxy.user_at_host):
        hang_up(session)
    try:
        if session.upstream is None and not await reach(session, argument):
            return False
        user = session.destination.user if session.destination else argument
        if session.host.gateway.proxy.user_at_host is False:
            user = argument
        session.user = user
        if (why := session.gateway.refuse_session(session.facts(), session.id)) is not None:
            session.reply(make_reply(530, f"Refused: {why}."))
            hang_up(session)
            return True
        return take(session, await session.server.ask(f"USER {user}"))
    except NotAllowed as error:
        session.reply(make_reply(530, str(error)))
        return True


async def give_password(session: Session, verb: str, argument: str) -> bool:
    """PASS and ACCT. False where the session is over."""
    if session.upstream is None or session.user is None:
        session.reply(make_reply(503, "Login with USER first."))
        return True
    return take(session, await session.server.ask(f"{verb} {argument}"))


def take(session: Session, reply: Reply) -> bool:
    """What the server says to a login; False where it ends the session."""
    session.logged_in = session.logged_in or (reply.kind == 2 and session.user is not None)
    session.reply(reply)
    return reply.code != 421


def hang_up(session: Session) -> None:
    """No server, and no login any more; TLS with the client stays as it is."""
    if session.upstream is not None:
        session.upstream.close()
    protected, kind = session.protected, session.has_buffer_size
    session.set_channel(None)
    session.reset()
    session.protected, session.has_buffer_size = protected, kind


async def reach(session: Session, argument: str) -> bool:
    """Connect to the first server that answers. False where none does, which the client is told. Raises NotAllowed."""
    last = make_reply(421, "No server can be reached, try again later.")
    for destination in choose_destinations(session.gateway.proxy, argument, session.dialled):
        try:
            greeting = await _greet(session, destination)
        except UpstreamError as error:
            logger.warning("%s: the server %s: %s", session.gateway.name, destination, error)
            continue
        if greeting.kind == 2:
            return True
        last = greeting
    session.reply(last if last.code == 421 else make_reply(421, f"The server refuses: {last}"))
    return False


async def _greet(session: Session, destination: Destination) -> Reply:
    proxy = session.gateway.proxy
    trouble = UpstreamError("it has no address")
    try:
        addresses = await find_addresses(destination)
    except OSError as error:
        raise UpstreamError(f"its name is not known: {error}") from error
    for address in addresses:
        upstream = Upstream(
            destination.host, proxy.server_tls, session.gateway.server_context, proxy.limits.stall, proxy.data_type
        )
        try:
            greeting = await upstream.open(address, destination.port)
        except BaseException as error:
            upstream.close()
            if not isinstance(error, UpstreamError):
                raise
            trouble = error
            continue
        if greeting.kind == 2:
            session.upstream, session.destination = upstream, destination
            upstream.on_end = session.hear_end
        else:
            upstream.close()
        return greeting
    raise trouble
