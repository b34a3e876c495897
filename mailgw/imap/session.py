"""One client's session, beside one connection to the server.

Rules of this file: every command is understood before it goes on, and answered in the order in which it came; logins
pass through and leave no trace; where the policy scans nothing octets pass untouched, and nothing else does so.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from inspection.audit import new_id
from inspection.spool import SpoolRoom
from mailgw.channel import Channel, PeerGone, PeerSilent, StartTlsFault
from mailgw.imap.capabilities import Terms, filter_line, may_enable, may_use
from mailgw.imap.command_reader import IDLE_AT_LEAST, CommandReader
from mailgw.imap.commands import (
    AT_LOGIN,
    BEFORE_LOGIN,
    OURS,
    RELAYED,
    BadCommand,
    Command,
    parse_command,
    read_astring,
)
from mailgw.imap.download import Download
from mailgw.imap.entry import choose_account, exchange, make_record
from mailgw.imap.fetch import parse_request
from mailgw.imap.idle import idle
from mailgw.imap.judge import Judge
from mailgw.imap.login import Identity, find_user, name_user
from mailgw.imap.pipe import pipe
from mailgw.imap.relay import Account, Relay
from mailgw.imap.server import ServerGone, open_server
from mailgw.imap.site import ImapSite
from mailgw.imap.units import Unit, UnitFault
from mailgw.imap.upload import Upload
from mailgw.imap.verdicts import Mailbox, MaskedShelf, read_mailbox
from policy.decision import Action, Reason

logger = logging.getLogger(__name__)

MAX_ERRORS = 20  # commands of one session that make no sense
_CLOSE_WITHIN = 5.0
SHUTTING_DOWN = b"* BYE shutting down, try again later"
NO_SERVER = b"* BYE the mail server cannot be reached, try again later"
TOO_SLOW = b"* BYE timeout exceeded"
TOO_MANY_ERRORS = b"* BYE too many errors"
NO_IMAP = b"* BYE that is no IMAP"
BROKEN = b"* BYE internal error, try again later"


class Door(Protocol):
    """What a session knows of its gateway."""

    @property
    def site(self) -> ImapSite | None:
        """The policy in force."""

    @property
    def draining(self) -> bool:
        """No new command is begun."""


class Session:
    """`name` stands in records. `peer` "" is a Unix socket's."""

    def __init__(self, channel: Channel, door: Door, site: ImapSite, name: str, peer: str) -> None:
        self.channel, self.name, self.peer = channel, name, peer
        self._door, self._site = door, site
        self._limits = site.proxy.limits
        self._reader = CommandReader(channel, self._limits, self._room)
        self._relay: Relay | None = None
        self._account: Account | None = None  # once logged in
        self._mailbox: Mailbox | None = None
        self._shelf = MaskedShelf()
        self._who = Identity()
        self._errors = 0
        self._over = False
        self._answers: dict[str, Callable[[Command], Awaitable[bytes | None]]] = {
            "STARTTLS": self._starttls,
            "LOGIN": self._login,
            "AUTHENTICATE": self._authenticate,
            "ENABLE": self._enable,
            "SELECT": self._select,
            "EXAMINE": self._select,
            "CLOSE": self._leave,
            "UNSELECT": self._leave,
            "APPEND": self._append,
            "IDLE": self._idle,
            "FETCH": self._fetch,
            "UID FETCH": self._fetch,
            "LOGOUT": self._logout,
        }

    def __repr__(self) -> str:
        return f"<Session {self.name}, {'logged in' if self._account else 'not logged in'}, {self.channel!r}>"

    # --- the whole of it

    async def run(self) -> None:
        """From the first octet to the last. Never raises but for cancellation."""
        try:
            await self._converse()
        except PeerSilent:
            self._bid_farewell(TOO_SLOW)
        except PeerGone as gone:
            logger.info("session %s: %s", self.name, gone)
        except UnitFault as fault:
            logger.info("session %s: %s", self.name, fault)
            self._bid_farewell(NO_IMAP)
        except ServerGone as gone:
            self._tell_server_gone(gone)
        except Exception:
            logger.exception("session %s broke", self.name)
            self._bid_farewell(BROKEN)
        finally:
            self._reader.close()
            self._shelf.close()
            self._site.checkpoint.leave(self)
            if self._relay is not None:
                await self._relay.server.finish(farewell=not self.channel.lost)
            await self.channel.finish(_CLOSE_WITHIN)

    def _tell_server_gone(self, gone: ServerGone) -> None:
        logger.warning("session %s: server: %s", self.name, gone)
        if self._relay is None or not self._relay.bye:
            self._bid_farewell(gone.reply.rstrip(b"\r\n") if gone.reply else NO_SERVER)

    async def _converse(self) -> None:
        if self._site.implicit_tls:
            await self._site.start_tls(self.channel)
        server, greeting = await open_server(self._site.route, self._site.checkpoint.room)
        self._relay = Relay(self.channel, server, self._limits.stall, self._terms())
        if greeting.upper().startswith(b"* PREAUTH") and not await self._enter(b"*"):
            return
        self.channel.write(filter_line(greeting, self._relay.terms))
        while not self._over:
            unit = await self._next_command()
            if unit is None:
                return
            try:
                await self._obey(unit)
            finally:
                unit.close()
            await self.channel.drain(self._limits.stall)
            self._decide_end()

    def _terms(self) -> Terms:
        mode = self._site.proxy.tls.mode
        open_now = mode != "starttls" or self.channel.secure
        size = self._site.checkpoint.room.max_object
        return Terms(starttls=not open_now and self._account is None, login=open_now, max_size=size)

    def _decide_end(self) -> None:
        if self._over or self.relay.bye:
            self._over = True
        elif self.relay.server.over:
            raise ServerGone("the server has closed")
        elif self._errors >= MAX_ERRORS:
            self._bid_farewell(TOO_MANY_ERRORS)
        elif self._door.draining:
            self._bid_farewell(SHUTTING_DOWN)

    def _bid_farewell(self, line: bytes) -> None:
        self.channel.write(line + b"\r\n")
        self._over = True

    def _room(self) -> SpoolRoom:
        return (self._door.site or self._site).checkpoint.room

    @property
    def relay(self) -> Relay:
        """The server's side, which every command needs."""
        if self._relay is None:
            raise ServerGone("there is none")
        return self._relay

    # --- from outside

    def drain(self) -> None:
        """End now if no command is under way, else behind it."""
        if self._reader.waiting and not self._over:
            self._bid_farewell(SHUTTING_DOWN)
            self.channel.hang_up()

    def close(self) -> None:
        """End at once."""
        self._over = True
        if not self._reader.waiting:
            self.channel.abort()
        else:
            self._bid_farewell(SHUTTING_DOWN)
            self.channel.hang_up()
        if self._relay is not None:
            self._relay.server.abort()

    # --- commands as they come

    async def _next_command(self) -> Unit | None:
        """The next unit; None at the client's end, or the server's farewell."""
        while True:
            try:
                unit = await self._reader.next(self.relay, logged_in=self._account is not None)
            except BadCommand as bad:
                self._refuse(bad)
                continue
            self._over = self._over or self.relay.bye
            return unit

    def _refuse(self, bad: BadCommand) -> None:
        self._errors += bad.word == "BAD"
        code = f"[{bad.code}] " if bad.code else ""
        self.channel.write(bad.tag + f" {bad.word} {code}{bad.text}\r\n".encode("ascii", "replace"))

    async def _obey(self, unit: Unit) -> None:
        try:
            command = parse_command(unit)
            self._check_literals(command)
            self._check_allowed(command)
            await self._renew(command)
            if self._over:
                return
            handler = self._answers.get(command.verb)
            line = await (handler(command) if handler is not None else self.relay.run(command.tag, unit))
        except BadCommand as bad:
            self._refuse(bad)
            return
        if line is not None:
            self.channel.write(line)

    def _check_literals(self, command: Command) -> None:
        for literal in command.unit.literals:
            if isinstance(literal.fault, BadCommand):
                raise literal.fault
            if literal.fault is not None:
                raise BadCommand("no room to check it, try again later", tag=command.tag, word="NO", code="UNAVAILABLE")

    def _check_allowed(self, command: Command) -> None:
        if command.verb not in RELAYED | OURS:
            raise BadCommand("this command is not supported", tag=command.tag)
        if self._account is None and command.verb not in BEFORE_LOGIN:
            raise BadCommand("log in first", tag=command.tag)
        if self._account is not None and command.verb in AT_LOGIN:
            raise BadCommand("not now", tag=command.tag)
        if command.verb in ("LOGIN", "AUTHENTICATE") and not self.relay.terms.login:
            raise BadCommand("say STARTTLS first", tag=command.tag, word="NO", code="PRIVACYREQUIRED")

    # --- logins

    async def _starttls(self, command: Command) -> bytes | None:
        if not self.relay.terms.starttls or command.rest:
            raise BadCommand("not now", tag=command.tag)
        if self.channel.inbox:
            raise StartTlsFault("octets in the clear behind STARTTLS")
        self.channel.write(command.tag + b" OK begin TLS\r\n")
        await self._site.start_tls(self.channel)
        self.relay.terms = self._terms()
        return None

    async def _login(self, command: Command) -> bytes | None:
        self._who = name_user(read_astring(command)[0])
        return await self._end_login(command, await self.relay.run(command.tag, command.unit))

    async def _authenticate(self, command: Command) -> bytes | None:
        mechanism, _, initial = command.rest.partition(b" ")
        if not may_use(mechanism) or command.unit.literals:
            raise BadCommand("this mechanism cannot be relayed", tag=command.tag, word="NO")
        line = await self.relay.forward(command.tag, command.unit)
        if line is None:
            line, self._who = await exchange(self.relay, command.tag, mechanism, self._read_response)
        if initial:
            self._who = find_user(mechanism, initial)
        return await self._end_login(command, line)

    async def _read_response(self) -> bytes:
        return await self._reader.line(self._limits.header)

    async def _end_login(self, command: Command, line: bytes) -> bytes | None:
        """The server's answer; where it is good the command-acl is chosen."""
        if not line[len(command.tag) + 1 :].upper().startswith(b"OK"):
            return line
        if not await self._enter(command.tag):
            return None
        if self._account is not None and self._account.download is None and self._account.upload is None:
            self.channel.write(line)
            await self._pass_untouched()
            return None
        self.relay.terms = self._terms()
        return line

    async def _enter(self, tag: bytes) -> bool:
        """Choose the command-acl; False where there is none: then the client was told so, and that is recorded."""
        site = self._door.site or self._site
        account = choose_account(site.proxy, self._make_account())
        if account is None:
            entry = new_id()
            self._record(site, entry, None, Action.DENY, Reason.NO_ACL)
            self.channel.write(tag + b" NO [AUTHORIZATIONFAILED] not permitted, id " + entry.encode("ascii") + b"\r\n")
            self._bid_farewell(b"* BYE not permitted")
            return False
        self._site, self._account, self.relay.server.room = site, account, site.checkpoint.room
        return True

    def _make_account(self) -> Account:
        server = str(self.relay.server.address)
        who = self._who
        return Account(self.name, self.peer or None, server, user=who.user, proven=who.proven)

    async def _renew(self, command: Command) -> None:
        """Another policy is in force: it is asked anew what holds for this session."""
        if self._account is None or self._door.site is None or self._door.site is self._site:
            return
        self._shelf.close()
        await self._enter(command.tag)

    async def _pass_untouched(self) -> None:
        """no-mail-scanning: one record says so, and octets pass."""
        acl = self._account.acl if self._account is not None else None
        self._record(self._site, new_id(), acl, Action.ACCEPT, None)
        longest = max(self._limits.idle, IDLE_AT_LEAST)
        await pipe(self.channel, self.relay.server.channel, longest, self._limits.stall)
        self._over = self.relay.bye = True

    def _record(self, site: ImapSite, entry: str, acl: str | None, action: Action, reason: Reason | None) -> None:
        site.checkpoint.audit.write(make_record(site.name, self._make_account(), entry, acl, action, reason))

    # --- commands that we look at

    async def _logout(self, command: Command) -> bytes | None:
        line = await self.relay.run(command.tag, command.unit)
        self._over = self.relay.server.over = True
        return line

    async def _enable(self, command: Command) -> bytes | None:
        names = [name for name in command.rest.split() if may_enable(name)]
        if not names:
            self.channel.write(b"* ENABLED\r\n")
            return command.tag + b" OK nothing of that can be enabled\r\n"
        return await self.relay.run(command.tag, Unit.line(command.tag + b" ENABLE " + b" ".join(names)))

    async def _select(self, command: Command) -> bytes | None:
        name = read_astring(command)[0]
        self._shelf.close()
        self._mailbox = None
        said: list[bytes] = []
        self.relay.notice = said.append
        try:
            line = await self.relay.run(command.tag, command.unit)
        finally:
            self.relay.notice = None
        if line[len(command.tag) + 1 :].upper().startswith(b"OK"):
            self._mailbox = read_mailbox(name, said)
        return line

    async def _leave(self, command: Command) -> bytes | None:
        line = await self.relay.run(command.tag, command.unit)
        if line[len(command.tag) + 1 :].upper().startswith(b"OK"):
            self._mailbox = None
            self._shelf.close()
        return line

    async def _append(self, command: Command) -> bytes | None:
        with self._under_way():
            return await Upload(command, self.relay, self._judge()).run()

    async def _fetch(self, command: Command) -> bytes | None:
        request = parse_request(command)
        if not request.bodies or self._mailbox is None:
            return await self.relay.run(command.tag, command.unit)
        with self._under_way():
            download = Download(command, request, self.relay, self._judge(), self._mailbox, self._shelf)
            return await download.run()

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """A command under which its policy is not closed."""
        checkpoint = self._site.checkpoint
        checkpoint.enter(self)
        try:
            yield
        finally:
            checkpoint.leave(self)

    def _judge(self) -> Judge:
        if self._account is None:
            raise ServerGone("nobody is logged in")
        return Judge(self._site, self._account)

    async def _idle(self, command: Command) -> bytes | None:
        return await idle(self.relay, self._reader, command, max(self._limits.idle, IDLE_AT_LEAST))
