"""AUTH, PBSZ, PROT and CCC (RFC 4217), towards the client.

Rules of this file: what was sent in the clear behind AUTH ends the connection; there is no way back out of TLS.
"""

from __future__ import annotations

from ftpgw import login
from ftpgw.session import Session
from ftpgw.wire import Command, make_reply


async def start_tls(session: Session, command: Command) -> bool:
    """AUTH. False where the session is over."""
    if session.host.client_context is None or session.host.section.tls.mode != "starttls":
        session.reply(make_reply(502, "TLS is not offered here."))
        return True
    if session.secured:
        session.reply(make_reply(503, "TLS is there already."))
        return True
    if command.argument.strip().upper() not in ("TLS", "TLS-C", "SSL"):
        session.reply(make_reply(504, "AUTH TLS is offered."))
        return True
    session.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a full transport
    if getattr(session.reader, "_buffer", b""):
        return False  # somebody laid a command behind AUTH, to be taken for one inside TLS
    login.hang_up(session)
    session.reply(make_reply(234, "TLS begins."))
    await session.flush()
    try:
        await session.writer.start_tls(
            session.host.client_context, ssl_handshake_timeout=session.host.section.limits.header
        )
    except (OSError, EOFError):
        return False
    session.secured = True
    session.protected = session.has_buffer_size = False
    return True


async def set_buffer_size(session: Session, _command: Command) -> bool:
    """PBSZ: TLS needs none."""
    if not session.secured:
        session.reply(make_reply(503, "AUTH TLS first."))
        return True
    session.has_buffer_size = True
    session.reply(make_reply(200, "PBSZ=0"))
    return True


async def set_protection(session: Session, command: Command) -> bool:
    """PROT: P, for the policy asked for TLS."""
    level = command.argument.strip().upper()
    if not session.secured or not session.has_buffer_size:
        session.reply(make_reply(503, "PBSZ first, behind AUTH TLS."))
    elif level == "P":
        session.protected = True
        session.reply(make_reply(200, "Data connections are protected."))
    elif level == "C":
        session.reply(make_reply(534, "Data connections in the clear are refused by the policy."))
    else:
        session.reply(make_reply(536 if level in ("S", "E") else 504, "PROT P is offered."))
    return True


async def refuse_clearing(session: Session, _command: Command) -> bool:
    """CCC."""
    session.reply(make_reply(533, "The control connection stays protected."))
    return True
