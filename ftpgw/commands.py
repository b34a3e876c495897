"""One client's commands, carried out.

Rules of this file: a command waits for the one before it, but ABOR and STAT during a transfer; what the table relays is
answered by the server, its reply as it is; a handler says True where the session goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ftpgw import data_commands, login, tls_commands
from ftpgw.command_table import LOG_IN, Rule, Way, filter_features, full_verb, judge_line
from ftpgw.destination import NotAllowed
from ftpgw.failures import UpstreamError
from ftpgw.session import Session
from ftpgw.turns import TURNS
from ftpgw.wire import Command, Reply, make_reply

logger = logging.getLogger(__name__)

type Handler = Callable[[Session, Command], Awaitable[bool]]


async def answer(session: Session, command: Command) -> bool:
    """Carry it out when its turn has come. False where the session is over; raises only cancellation."""
    try:
        if command.verb == "ABOR":
            return await _abort(session, command)
        if command.verb == "STAT" and session.work is not None:
            session.reply(make_reply(211, "A transfer is under way."))
            return True
        async with session.busy:
            goes_on = await _answer_in_turn(session, command)
            if goes_on and session.upstream is not None and session.upstream.is_over:
                session.follow_server()
            return goes_on
    except UpstreamError as error:
        logger.warning("%s: %s", session.id, error)
        if session.upstream is not None:
            session.upstream.close()  # which reply belongs to which command is not known any more
        session.reply(make_reply(421, "The connection to the server is lost, goodbye."))
    except Exception:
        logger.exception("ftp: a command of session %s failed", session.id)
        session.reply(make_reply(421, "Something went wrong here, goodbye."))
    finally:
        if command.verb == "AUTH":
            session.readable.set()
        await session.flush()
        session.done()  # only now: who reads no replies is read no further
    return False


async def _answer_in_turn(session: Session, command: Command) -> bool:
    if session.is_last:
        session.reply(make_reply(421, "The gateway is stopping, goodbye."))
        return False
    rule = judge_line(command, logged_in=session.logged_in)
    if isinstance(rule, Reply):
        session.reply(rule)
        return True
    goes_on = _ask_policy(session, command)
    if goes_on is not None:
        return goes_on
    if rule.data:
        return await _run(session, command, rule)
    return (
        await _HANDLERS.get(command.verb, _relay)(session, command)
        if rule.way is Way.OURS
        else await _relay(session, command, rule)
    )


def _ask_policy(session: Session, command: Command) -> bool | None:
    """None where the command-acl permits it; else whether the session goes on."""
    if command.verb == "QUIT":
        return None
    action, acl = session.gateway.judge_command(full_verb(command), session.facts())
    if action == "permit":
        return None
    why = f"command-acl {acl}" if acl else "no command-acl matches"
    if action == "abort":
        session.reply(make_reply(421, f"Refused: {why}. Goodbye."))
        return False
    session.reply(make_reply(550, f"Refused: {why}."))
    return True


async def _run(session: Session, command: Command, rule: Rule) -> bool:
    """What moves data is a task of its own, which ABOR can end."""
    over: list[bool] = []

    async def work() -> None:
        handler = data_commands.list_directory if rule.way is Way.LISTING else data_commands.transfer
        over.append(await handler(session, command))

    task = session.work = asyncio.get_running_loop().create_task(work())
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        session.work = None
    if task.cancelled():
        session.reply(make_reply(426, "Transfer broken off."))
        return True
    task.result()
    return over[0]


async def _abort(session: Session, command: Command) -> bool:
    """Past the queue: it ends what the others wait for."""
    judged = judge_line(command, logged_in=session.logged_in)
    if isinstance(judged, Reply):
        session.reply(judged)
        return True
    goes_on = _ask_policy(session, command)
    return await data_commands.abort(session) if goes_on is None else goes_on


async def _relay(session: Session, command: Command, rule: Rule | None = None) -> bool:
    reached = session.upstream is not None or await _reach_early(session)
    if not reached:
        if reached is None:
            session.reply(_UNASKED.get(command.verb, make_reply(530, LOG_IN)))
        return reached is None
    if command.verb in ("SIZE", "MDTM"):
        await session.server.set_type(session.type)
    line = f"{command.verb} {command.argument}" if command.argument else command.verb
    if command.verb in ("DELE", "RNTO"):
        reply = await _ask_in_turn(session, line)
    else:
        reply = await session.server.ask(line)
    if rule is not None and rule.moves:
        session.directory = None
    session.reply(reply)
    return reply.code != 421


async def _ask_in_turn(session: Session, line: str) -> Reply:
    """What takes a file's name away waits while something that was checked together with it is sent on."""
    patience = session.gateway.proxy.limits.stall
    try:
        async with TURNS.take(session.server.address, None, alone=False, patience=patience):
            return await session.server.ask(line)
    except TimeoutError:
        return make_reply(450, "Others are writing there, try again later.")


async def _user(session: Session, command: Command) -> bool:
    return await login.log_in(session, command.argument)


async def _password(session: Session, command: Command) -> bool:
    return await login.give_password(session, command.verb, command.argument)


async def _quit(session: Session, _command: Command) -> bool:
    if session.upstream is not None:
        session.upstream.on_end = None
        try:
            await session.upstream.send("QUIT")
        except UpstreamError:
            pass
    session.reply(make_reply(221, "Goodbye."))
    return False


async def _reach_early(session: Session) -> bool | None:
    """Connect to the server before USER. None where that may not be yet, False where none answers, which is told."""
    proxy = session.gateway.proxy
    plain = session.host.section.tls.mode != "none" and not session.secured
    if proxy.user_at_host or plain or session.gateway.waits_for_server:
        return None
    try:
        return await login.reach(session, "")
    except NotAllowed:
        return None  # USER will be told


async def _features(session: Session, _command: Command) -> bool:
    may_ask = session.upstream is not None or await _reach_early(session)
    if may_ask is False:
        return False
    lines = filter_features(await session.server.ask_features() if may_ask else None)
    mode = session.host.section.tls.mode
    lines += (["AUTH TLS"] if mode == "starttls" else []) + (["PBSZ", "PROT"] if mode != "none" else [])
    session.reply(Reply(("211-Features:", *(f" {line}" for line in sorted(lines)), "211 End")))
    return True


async def _reinitialise(session: Session, _command: Command) -> bool:
    login.hang_up(session)
    session.reply(make_reply(220, "Ready for a new user."))
    return True


async def _options(session: Session, command: Command) -> bool:
    words = command.argument.upper().split()
    if session.logged_in and words[:1] in (["MLST"], ["UTF8"]):
        session.server.forget_features()  # its facts may be others now
        return await _relay(session, command)
    if words in (["UTF8", "ON"], ["UTF8"]):
        session.reply(make_reply(200, "Names are passed on as they are."))
    else:
        session.reply(
            make_reply(501, "Unsupported command: no such option.") if session.logged_in else make_reply(530, LOG_IN)
        )
    return True


async def _client(session: Session, _command: Command) -> bool:
    session.reply(make_reply(200, "Noted."))
    return True


_UNASKED = {
    "NOOP": make_reply(200, "Nothing was done."),
    "HELP": make_reply(214, "Sluice FTP gateway: what is uploaded and downloaded is checked for viruses."),
}
# What is answered where no server can be asked yet.

_HANDLERS: dict[str, Handler] = {
    "USER": _user,
    "PASS": _password,
    "ACCT": _password,
    "QUIT": _quit,
    "FEAT": _features,
    "AUTH": tls_commands.start_tls,
    "PBSZ": tls_commands.set_buffer_size,
    "PROT": tls_commands.set_protection,
    "CCC": tls_commands.refuse_clearing,
    "OPTS": _options,
    "CLNT": _client,
    "REIN": _reinitialise,
    "TYPE": data_commands.set_type,
    "MODE": data_commands.set_form,
    "STRU": data_commands.set_form,
    "REST": data_commands.set_offset,
    "PASV": data_commands.lay_passive,
    "EPSV": data_commands.lay_passive,
    "PORT": data_commands.lay_active,
    "EPRT": data_commands.lay_active,
}
