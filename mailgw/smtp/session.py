"""One client's session, beside one connection to the next hop.

Rules of this file: every command is understood before it goes on, and answered in the order in which it came; the next
hop's answers are the client's; logins pass through and leave no trace; STARTTLS and mails are ours.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable

from mailgw.channel import Channel, PeerGone, PeerSilent, StartTlsFault
from mailgw.line_reader import LineReader
from mailgw.smtp.capabilities import Terms, filter_ehlo, may_use
from mailgw.smtp.commands import (
    MAX_COMMAND,
    BadCommand,
    Command,
    list_options,
    parse_bdat,
    parse_command,
    parse_mail,
    parse_rcpt,
    parse_size,
    read_forwarded_client,
)
from mailgw.smtp.next_hop import NextHop, NextHopGone, open_next_hop
from mailgw.smtp.reception import Door, Reception
from mailgw.smtp.replies import Reply
from mailgw.smtp.site import SmtpSite
from mailgw.smtp.transaction import Stage, Transaction

logger = logging.getLogger(__name__)

MAX_ERRORS = 20  # commands of one session that make no sense
MAX_RECIPIENTS = 10_000
_CLOSE_WITHIN = 5.0
_RELAYED = frozenset({"NOOP", "VRFY", "EXPN", "HELP"})
_REFUSED = frozenset({"ETRN", "TURN", "ATRN", "BURL", "XCLIENT", "SEND", "SOML", "SAML", "LHLO"})
_UNTIL_GREETED = frozenset({"EHLO", "HELO", "NOOP", "RSET", "QUIT"})

GOOD_BYE = Reply.make(221, "2.0.0", "bye")
SHUTTING_DOWN = Reply.make(421, "4.3.2", "shutting down, try again later")
NO_NEXT_HOP = Reply.make(421, "4.4.1", "the next hop cannot be reached, try again later")
TOO_SLOW = Reply.make(421, "4.4.2", "timeout exceeded")
TOO_MANY_ERRORS = Reply.make(421, "4.7.0", "too many errors")
BROKEN = Reply.make(421, "4.3.0", "internal error, try again later")


class Session:
    """`name` stands in records. `peer` "" is a Unix socket's."""

    def __init__(self, channel: Channel, door: Door, site: SmtpSite, name: str, peer: str) -> None:
        self.channel = channel
        self.name = name
        self.peer = peer
        self.client: str | None = peer or None
        self.reception = Reception(channel, door, site, self)
        self._door, self._site = door, site
        self._limits = site.proxy.limits
        self._lines = LineReader(channel, self._limits)
        self._hop: NextHop | None = None
        self._helo: str | None = None
        self._offer: frozenset[str] = frozenset()
        self._greeted = True
        self._authenticated = False
        self._errors = 0
        self._over = False
        self._answers: dict[str, Callable[[Command], Awaitable[Reply | None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo_,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "RSET": self._rset,
            "QUIT": self._quit,
            "AUTH": self._auth,
            "STARTTLS": self._starttls,
            "XFORWARD": self._xforward,
        }

    def __repr__(self) -> str:
        return f"<Session {self.name}, {self.transaction.stage}, {self._hop!r}, {self.channel!r}>"

    @property
    def transaction(self) -> Transaction:
        """The envelope so far."""
        return self.reception.transaction

    # --- the whole of it

    async def run(self) -> None:
        """From the first octet to the last. Never raises but for cancellation."""
        try:
            await self._converse()
        except PeerSilent:
            self._say(TOO_SLOW)
        except PeerGone as gone:
            logger.info("session %s: %s", self.name, gone)
        except NextHopGone as gone:
            logger.warning("session %s: next hop: %s", self.name, gone)
            self._say(gone.reply if gone.reply and gone.reply.code == 421 else NO_NEXT_HOP)
        except Exception:
            logger.exception("session %s broke", self.name)
            self._say(BROKEN)
        finally:
            self.reception.drop()
            if self._hop is not None:
                self._hop.channel.disturbed = None
                await self._hop.quit()
            await self.channel.finish(_CLOSE_WITHIN)

    async def _converse(self) -> None:
        if self._site.implicit_tls:
            await self._site.start_tls(self.channel)
        try:
            self._hop, greeting = await open_next_hop(self._site.route)
        except NextHopGone as gone:
            self._say(gone.reply or NO_NEXT_HOP)
            return
        self._hop.channel.disturbed = self._notice_next_hop
        self._say(greeting)
        while not self._over:
            self._hop.check_quiet()
            line = await self._lines.read()
            if line is None:
                return
            reply = await self._obey(line)
            if reply is not None:
                self._say(reply)
            await self.channel.drain(self._limits.stall)
            self._decide_end(reply)

    def _decide_end(self, reply: Reply | None) -> None:
        if self._over or (reply is not None and reply.code == 421):
            self._over = True
        elif self._hop is None or self._hop.over:
            raise NextHopGone("it has closed")
        elif self._errors >= MAX_ERRORS:
            self._bid_farewell(TOO_MANY_ERRORS)
        elif self._door.draining and self.transaction.stage is Stage.NONE:
            self._bid_farewell(SHUTTING_DOWN)

    def _bid_farewell(self, reply: Reply) -> None:
        self._say(reply)
        self._over = True

    def _say(self, reply: Reply) -> None:
        self.channel.write(reply.wire())

    # --- from outside

    def drain(self) -> None:
        """End now if no mail is begun, else behind it."""
        if self._lines.idle and self.transaction.stage is Stage.NONE and not self._over:
            self._bid_farewell(SHUTTING_DOWN)
            self.channel.hang_up()

    def close(self) -> None:
        """End at once; the next hop has no half mail."""
        self._over = True
        self.channel.abort()
        if self._hop is not None:
            self._hop.abort()

    def _notice_next_hop(self) -> None:
        """The next hop speaks, or closes, unasked: while the client says nothing it is told so at once."""
        if not self._lines.idle or self._over or self._hop is None:
            return
        try:
            self._hop.check_quiet()
        except NextHopGone as gone:
            self._bid_farewell(gone.reply if gone.reply and gone.reply.code == 421 else NO_NEXT_HOP)
            self.channel.hang_up()

    # --- lines

    async def _obey(self, line: bytes) -> Reply | None:
        try:
            if not line:
                raise BadCommand(500, "5.5.2", "line too long")
            command = parse_command(line)
            if len(line) > MAX_COMMAND and command.verb != "AUTH":
                raise BadCommand(500, "5.5.2", "line too long")
            return await self._answer(command)
        except BadCommand as bad:
            self._errors += 1
            return Reply.make(bad.code, bad.enhanced, bad.text)

    async def _answer(self, command: Command) -> Reply | None:
        verb = command.verb
        if not self._greeted and verb not in _UNTIL_GREETED:
            raise BadCommand(503, "5.5.1", "say EHLO first")
        if verb != "BDAT":  # whose octets must be read before it is refused
            self._check_order(verb)
        if verb in _RELAYED:
            return await self.hop.ask(command.line)
        answer = self._answers.get(verb)
        if answer is not None:
            return await answer(command)
        if verb in _REFUSED:
            raise BadCommand(502, "5.5.1", "command not implemented")
        raise BadCommand(500, "5.5.2", "command not recognized")

    def _check_order(self, verb: str) -> None:
        refusal = self.transaction.refuse(verb)
        if refusal is not None:
            raise BadCommand(refusal.code, refusal.enhanced, refusal.text)

    @property
    def hop(self) -> NextHop:
        """The next hop, which every command needs."""
        if self._hop is None:
            raise NextHopGone("there is none")
        return self._hop

    # --- commands

    async def _ehlo(self, command: Command) -> Reply:
        reply = await self._greet(command)
        if not reply.good:
            return reply
        tls = self._site.starttls
        terms = Terms(
            max_size=self._site.checkpoint.room.max_object,
            starttls=tls and not self.channel.secure,
            auth=self.channel.secure or not tls,
            trusted=self._is_trusted(),
        )
        offer = filter_ehlo(reply, terms)
        self._offer = offer.keywords
        return offer.reply

    async def _helo_(self, command: Command) -> Reply:
        self._offer = frozenset()
        return await self._greet(command)

    async def _greet(self, command: Command) -> Reply:
        if not command.argument:
            raise BadCommand(501, "5.5.4", f"syntax: {command.verb} hostname")
        reply = await self.hop.ask(command.line)
        if reply.good:
            self.reception.forget()
            self._greeted = True
            self._helo = command.argument.decode("utf-8", "replace")
        return reply

    async def _mail(self, command: Command) -> Reply:
        path = parse_mail(command.argument)
        if parse_size(path.parameters) > self._site.checkpoint.room.max_object:
            return Reply.make(552, "5.3.4", "message size exceeds the limit")
        reply = await self.hop.ask(command.line)
        if reply.good:
            self.transaction.accept_sender(path.address)
            self.reception.options = list_options(path)
        return reply

    async def _rcpt(self, command: Command) -> Reply:
        path = parse_rcpt(command.argument)
        if not path.address:
            raise BadCommand(501, "5.1.3", "no recipient")
        if len(self.transaction.recipients) >= MAX_RECIPIENTS:
            return Reply.make(452, "4.5.3", "too many recipients")
        reply = await self.hop.ask(command.line)
        if reply.good:
            self.transaction.accept_recipient(path.address)
        return reply

    async def _rset(self, command: Command) -> Reply:
        reply = await self.hop.ask(b"RSET")
        if reply.good:
            self.reception.forget()
        return reply

    async def _quit(self, command: Command) -> Reply:
        self._over = True
        self.reception.forget()
        try:
            reply = await self.hop.ask(b"QUIT")
        except NextHopGone:
            return GOOD_BYE
        self.hop.over = True
        return reply

    async def _auth(self, command: Command) -> Reply:
        if self._site.starttls and not self.channel.secure:
            raise BadCommand(530, "5.7.0", "say STARTTLS first")
        if "AUTH" not in self._offer:
            raise BadCommand(502, "5.5.1", "command not implemented")
        if not may_use(command.argument.split(b" ")[0].decode("ascii", "replace")):
            raise BadCommand(504, "5.5.4", "this mechanism cannot be relayed")
        reply = await self.hop.ask(command.line)
        while reply.code == 334:
            self._say(reply)
            line = await self._lines.read()
            if line is None:
                raise PeerGone("the client left amid its login")
            # What is no line of a login cancels it (RFC 4954, 4).
            reply = await self.hop.ask(line[:-2] if line.endswith(b"\r\n") and b"\r" not in line[:-2] else b"*")
        self._authenticated = self._authenticated or reply.good
        return reply

    async def _starttls(self, command: Command) -> Reply | None:
        if not self._site.starttls:
            raise BadCommand(502, "5.5.1", "command not implemented")
        if self.channel.secure or self._authenticated:
            raise BadCommand(503, "5.5.1", "not now")
        if command.argument:
            raise BadCommand(501, "5.5.4", "syntax: STARTTLS")
        if self.channel.inbox:
            raise StartTlsFault("octets in the clear behind STARTTLS")
        self._say(Reply.make(220, "2.0.0", "ready to start TLS"))
        await self._site.start_tls(self.channel)
        self._greeted, self._helo, self._offer = False, None, frozenset()
        return None

    async def _xforward(self, command: Command) -> Reply:
        if "XFORWARD" not in self._offer:
            raise BadCommand(502, "5.5.1", "command not implemented")
        reply = await self.hop.ask(command.line)
        if reply.good:
            self.client = read_forwarded_client(command.argument, self.client)
        return reply

    def _is_trusted(self) -> bool:
        """Only who is on this machine may speak for others: the policy knows no other word for it."""
        return not self.peer or ipaddress.ip_address(self.peer.partition("%")[0]).is_loopback

    # --- mails

    async def _data(self, command: Command) -> Reply:
        if command.argument:
            raise BadCommand(501, "5.5.4", "syntax: DATA")
        self.hop.check_quiet()
        self.reception.begin()
        self._say(Reply.make(354, "", "end data with <CR><LF>.<CR><LF>"))
        await self.reception.read_data()
        return await self._settle(chunked=False)

    async def _bdat(self, command: Command) -> Reply:
        try:
            chunk = parse_bdat(command.argument)
        except BadCommand as bad:
            self._over = True  # nobody knows where its octets end
            return Reply.make(bad.code, bad.enhanced, bad.text)
        if chunk.size > self._site.checkpoint.room.max_object:
            self._over = True
            return Reply.make(552, "5.3.4", "message size exceeds the limit")
        refusal = self.transaction.refuse("BDAT")
        if refusal is not None or "CHUNKING" not in self._offer:
            await self.reception.discard(chunk.size)
            if refusal is None:
                raise BadCommand(502, "5.5.1", "command not implemented")
            raise BadCommand(refusal.code, refusal.enhanced, refusal.text)
        if await self.reception.read_chunk(chunk):
            return await self._settle(chunked=True)
        return Reply.make(250, "2.0.0", f"{chunk.size} octets received")

    async def _settle(self, *, chunked: bool) -> Reply:
        return await self.reception.settle(
            self.hop, self._offer, chunked=chunked, session=self.name, client=self.client, helo=self._helo
        )
