"""One client's session, beside one connection to the server.

Rules of this file: every command is understood before it goes on, and answered in the order in which it came; the
server's answers are the client's; logins pass through and leave no trace; STLS, RETR and TOP are ours.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable

from mailgw.channel import Channel, PeerGone, PeerSilent, StartTlsFault
from mailgw.line_reader import LineReader
from mailgw.pop3.capabilities import filter_capabilities, may_use
from mailgw.pop3.commands import (
    ANY_TIME,
    BEFORE_LOGIN,
    BEHIND_LOGIN,
    LOGINS,
    BadCommand,
    Command,
    parse_command,
    read_number,
    read_top,
)
from mailgw.pop3.logins import SaslName, clean_name
from mailgw.pop3.mailbox import Door, Mailbox, Person
from mailgw.pop3.replies import Reply, refuse
from mailgw.pop3.retrieval import CutShort
from mailgw.pop3.server import Server, ServerGone, open_server
from mailgw.pop3.site import Pop3Site

logger = logging.getLogger(__name__)

MAX_ERRORS = 20  # commands of one session that make no sense
MAX_ROUNDS = 20  # challenges of one login
_MAX_CAPABILITIES = 64 * 1024
_CLOSE_WITHIN = 5.0
_RESPONSE = re.compile(rb"[A-Za-z0-9+/]*={0,2}|\*")

NO_SERVER = refuse("the server cannot be reached, try again later", code="SYS/TEMP")
TOO_SLOW = refuse("timeout exceeded", code="SYS/TEMP")
TOO_MANY_ERRORS = refuse("too many errors")
BROKEN = refuse("internal error, try again later", code="SYS/TEMP")
SHUTTING_DOWN = refuse("shutting down, try again later", code="SYS/TEMP")


class Session:
    """`name` stands in records. `peer` "" is a Unix socket's."""

    def __init__(self, channel: Channel, door: Door, site: Pop3Site, name: str, peer: str) -> None:
        self.channel = channel
        self.name = name
        self.peer = peer
        self._door, self._site = door, site
        self._limits = site.proxy.limits
        self._lines = LineReader(channel, self._limits)
        self._server: Server | None = None
        self._claimed: str | None = None  # the name in USER, as long as PASS has not proved it
        self._mails: Mailbox | None = None  # behind a login
        self._errors = 0
        self._over = False
        self._answers: dict[str, Callable[[Command], Awaitable[Reply | None]]] = {
            "CAPA": self._capa,
            "QUIT": self._quit,
            "USER": self._user,
            "PASS": self._pass,
            "APOP": self._apop,
            "AUTH": self._auth,
            "STLS": self._stls,
            "LIST": self._list,
            "UIDL": self._list,
            "RETR": self._retr,
            "TOP": self._top,
            "DELE": self._dele,
        }

    def __repr__(self) -> str:
        return f"<Session {self.name}, {'logged in' if self._mails else 'no login'}, {self._server!r}>"

    # --- the whole of it

    async def run(self) -> None:
        """From the first octet to the last. Never raises but for cancellation."""
        try:
            await self._converse()
        except PeerSilent:
            self._say(TOO_SLOW)
        except (PeerGone, CutShort) as gone:
            logger.info("session %s: %s", self.name, gone)
        except ServerGone as gone:
            logger.warning("session %s: server: %s", self.name, gone)
            self._say(NO_SERVER)
        except Exception:
            logger.exception("session %s broke", self.name)
            self._say(BROKEN)
        finally:
            if self._mails is not None:
                self._mails.drop_copy()
            if self._server is not None:
                self._server.channel.disturbed = None
                self._server.abort()  # QUIT would delete what the client has not let go
            await self.channel.finish(_CLOSE_WITHIN)

    async def _converse(self) -> None:
        if self._site.implicit_tls:
            await self._site.start_tls(self.channel)
        try:
            self._server, greeting = await open_server(self._site.route)
        except ServerGone as gone:
            self._say(gone.reply or NO_SERVER)
            return
        self._server.channel.disturbed = self._notice_server
        self._say(greeting)
        while not self._over:
            self._server.check_quiet()
            line = await self._lines.read()
            if line is None:
                return
            reply = await self._obey(line)
            if reply is not None:
                self._say(reply)
            await self.channel.drain(self._limits.stall)
            if self._errors >= MAX_ERRORS and not self._over:
                self._bid_farewell(TOO_MANY_ERRORS)

    def _say(self, reply: Reply) -> None:
        self.channel.write(reply.wire())

    def _bid_farewell(self, reply: Reply) -> None:
        self._say(reply)
        self._over = True

    # --- from outside

    def drain(self) -> None:
        """End now before a login; else the client has the time to finish."""
        if self._lines.idle and self._mails is None and not self._over:
            self._bid_farewell(SHUTTING_DOWN)
            self.channel.hang_up()

    def close(self) -> None:
        """End at once, without the final dot of a mail under way."""
        self._over = True
        self.channel.abort()
        if self._server is not None:
            self._server.abort()

    def _notice_server(self) -> None:
        """The server speaks, or closes, unasked: a client that waits is told so by the end."""
        if self._lines.idle and not self._over and self._server is not None:
            self._over = True
            self._server.abort()
            self.channel.hang_up()

    # --- commands

    @property
    def server(self) -> Server:
        """The server, which every command needs."""
        if self._server is None:
            raise ServerGone("there is none")
        return self._server

    async def _obey(self, line: bytes) -> Reply | None:
        try:
            if not line:
                raise BadCommand("line too long")
            command = parse_command(line)
            self._check_state(command.verb)
            return await self._answers.get(command.verb, self._relay)(command)
        except BadCommand as bad:
            self._errors += 1
            return refuse(str(bad))

    def _check_state(self, verb: str) -> None:
        """Raises BadCommand."""
        if verb in ANY_TIME:
            return
        if verb not in BEFORE_LOGIN | BEHIND_LOGIN:
            raise BadCommand("unknown command")
        if (verb in BEHIND_LOGIN) is not (self._mails is not None):
            raise BadCommand("not now")
        if verb in LOGINS and self._needs_tls:
            raise BadCommand("say STLS first")

    @property
    def _needs_tls(self) -> bool:
        return self._site.starttls and not self.channel.secure

    async def _relay(self, command: Command) -> Reply:
        """STAT, NOOP, RSET."""
        if command.argument:
            raise BadCommand(f"syntax: {command.verb}")
        if command.verb == "RSET" and self._mails is not None:
            self._mails.drop_copy()
        return await self.server.ask(command.line)

    async def _capa(self, command: Command) -> Reply | None:
        reply = await self.server.ask(b"CAPA")
        if not reply.good:
            return reply
        listed = b""
        async for piece in self.server.read_list():
            listed += piece
            if len(listed) > _MAX_CAPABILITIES:
                self.server.abort()
                raise ServerGone("too many capabilities")
        stls = self._needs_tls and self._mails is None
        lines = filter_capabilities(listed.split(b"\r\n")[:-2], stls=stls, logins=not self._needs_tls)
        self.channel.write(b"".join(line + b"\r\n" for line in (reply.line, *lines, b".")))
        return None

    async def _quit(self, command: Command) -> Reply:
        self._over = True
        return await self.server.ask(b"QUIT")

    async def _list(self, command: Command) -> Reply | None:
        if command.argument:
            return await self.server.ask(b"%s %d" % (command.verb.encode(), read_number(command)))
        reply = await self.server.ask(command.line)
        if not reply.good:
            return reply
        self._say(reply)
        try:
            async for piece in self.server.read_list():
                self.channel.write(piece)
                await self.channel.drain(self._limits.stall)
        except (ServerGone, PeerSilent) as error:
            raise PeerGone(f"amid a list: {error}") from error  # no word would be read as one there
        return None

    async def _dele(self, command: Command) -> Reply:
        number = read_number(command)
        if self._mails is not None:
            self._mails.drop_copy()
        return await self.server.ask(b"DELE %d" % number)

    # --- logins

    async def _user(self, command: Command) -> Reply:
        self._claimed = clean_name(command.argument)
        return await self.server.ask(command.line)

    async def _pass(self, command: Command) -> Reply:
        return self._let_in(await self.server.ask(command.line), self._claimed)

    async def _apop(self, command: Command) -> Reply:
        if len(command.words) != 2:
            raise BadCommand("syntax: APOP name digest")
        return self._let_in(await self.server.ask(command.line), clean_name(command.argument.split()[0]))

    async def _auth(self, command: Command) -> Reply:
        words = command.argument.split()
        mechanism = words[0].decode("ascii", "replace") if words else ""
        if len(words) > 2 or not may_use(mechanism):
            raise BadCommand("this mechanism cannot be relayed")
        if len(words) == 2 and not _RESPONSE.fullmatch(words[1]):
            raise BadCommand("syntax: AUTH mechanism response")
        seen = SaslName(mechanism)
        if len(words) == 2:
            seen.see(words[1])
        reply = await self.server.ask(command.line, login=True)
        for _ in range(MAX_ROUNDS):
            if not reply.challenge:
                return self._let_in(reply, seen.name)
            self._say(reply)
            response = await self._read_response()
            seen.see(response)
            reply = await self.server.ask(response, login=True)
        raise ServerGone("a login without end")

    async def _read_response(self) -> bytes:
        """What is no line of a login cancels it (RFC 5034, 4)."""
        line = await self._lines.read()
        if line is None:
            raise PeerGone("the client left amid its login")
        response = line.removesuffix(b"\n").removesuffix(b"\r")
        return response if line and _RESPONSE.fullmatch(response) else b"*"

    def _let_in(self, reply: Reply, user: str | None) -> Reply:
        """The server's answer to a login; ours, where no command-acl permits the session."""
        if not reply.good:
            return reply
        person = Person(self.name, self.peer or None, user, str(self.server.address))
        self._mails = Mailbox(person, self._door, self._site, self.channel, self.server)
        if self._mails.permitted:
            return reply
        self._over = True
        return self._mails.refuse_session()

    async def _stls(self, command: Command) -> Reply | None:
        if not self._site.starttls:
            raise BadCommand("unknown command")
        if self.channel.secure or command.argument:
            raise BadCommand("not now")
        if self.channel.inbox:
            raise StartTlsFault("octets in the clear behind STLS")
        self._say(Reply(b"+OK begin TLS"))
        await self._site.start_tls(self.channel)
        return None

    # --- mails

    async def _retr(self, command: Command) -> Reply | None:
        return await self._retrieve(read_number(command), None)

    async def _top(self, command: Command) -> Reply | None:
        return await self._retrieve(*read_top(command))

    async def _retrieve(self, number: int, lines: int | None) -> Reply | None:
        if self._mails is None:
            raise ServerGone("nobody is logged in")
        reply = await self._mails.retrieve(number, lines)
        self._over = self._over or not self._mails.permitted
        return reply
