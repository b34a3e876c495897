"""A FETCH that asks for contents: every mail of its set is checked before the server hears the client's own command.

Rules of this file: questions of ours are of the client's kind, by number or by UID, for by number the server may tell
of no mail that has gone; \\Seen is for the client's command to set; contents without a verdict never leave; who asks by
BINARY gets what the server decodes, which is checked besides: NUL is there, which BODY cannot show.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Hashable
from dataclasses import dataclass

from inspection.spool import Spool, SpoolFull
from mailgw.division import make_in_thread
from mailgw.imap.commands import Command
from mailgw.imap.fetch import FetchRequest, FetchResponse, Item, NotUnderstood, Value, parse_response
from mailgw.imap.judge import Judge, refuse
from mailgw.imap.masking import gather
from mailgw.imap.relay import Relay
from mailgw.imap.server import ServerGone
from mailgw.imap.units import Unit
from mailgw.imap.verdicts import Fate, Mailbox, MaskedShelf, Verdict

_AT_ONCE = 4  # mails of one command that are checked at the same time
_MOST_ROUNDS = 3
_MOST_MAILS = 1_000_000
_OURS = frozenset({b"UID", b"RFC822.SIZE"})
_GONE = re.compile(rb"\* (?:\d+ EXPUNGE|VANISHED [0-9:,]+)\r", re.IGNORECASE)
_MORE = re.compile(rb"\* \d+ EXISTS\r", re.IGNORECASE)
NOT_CHECKED = Verdict(Fate.DEFER, text="could not be checked now, try again later")
_NO_BINARY = Verdict(Fate.DENY, text="the server cannot decode this mail as a whole for BINARY, ask by BODY")


@dataclass(frozen=True, slots=True)
class _Mail:
    uid: int
    size: int


class Download:
    """One such command."""

    def __init__(
        self, command: Command, request: FetchRequest, relay: Relay, judge: Judge, mailbox: Mailbox, shelf: MaskedShelf
    ) -> None:
        self._command, self._request, self._relay, self._judge = command, request, relay, judge
        self._mailbox, self._shelf = mailbox, shelf
        self._memory = judge.site.memory
        self._room = judge.site.checkpoint.room
        self._mails: dict[int, _Mail] = {}  # by the number that they had when we asked
        self._verdicts: dict[int, Verdict] = {}  # by UID
        self._refusal: Verdict | None = None
        self._grown = self._shifted = False

    async def run(self) -> bytes:
        """The tagged line for the client."""
        relay, tag = self._relay, self._command.tag
        relay.notice = self._notice
        try:
            refused = await relay.while_checking(self._check_all())
            if refused is not None:
                return tag + b" " + refused
            relay.answer = self._answer
            line = await relay.run(tag, self._command.unit)
            if self._refusal is not None and line[len(tag) + 1 :].upper().startswith(b"OK"):
                return tag + b" " + refuse(self._refusal) + b"\r\n"
            return line
        finally:
            relay.answer = relay.notice = None

    # --- what the server tells besides

    def _notice(self, line: bytes) -> None:
        """Where mails go, numbers mean others: only UIDs count then, which UID FETCH always tells (RFC 9051, 6.4.9),
        and by number the server may tell of none (7.5.1)."""
        if _GONE.match(line):
            self._shifted = True
        elif _MORE.match(line):
            self._grown = True

    # --- before the client's command

    async def _check_all(self) -> bytes | None:
        """None where there is something to send, else the tagged answer."""
        for _ in range(_MOST_ROUNDS):
            self._grown = False
            refused = await self._resolve()
            if refused is not None:
                return refused
            await self._check_missing()
            if not self._grown:
                break
        verdicts = [self._verdicts[mail.uid] for mail in self._mails.values() if mail.uid in self._verdicts]
        refusals = [verdict for verdict in verdicts if verdict.fate in (Fate.DENY, Fate.DEFER)]
        if refusals and len(refusals) == len(self._mails):
            return refuse(_worst(refusals)) + b"\r\n"
        return None

    def _ask(self, wanted: bytes, items: bytes, modifier: bytes = b"") -> bytes:
        kind = b"UID FETCH " if self._request.uid else b"FETCH "
        return kind + wanted + b" (" + items + b")" + (b" (" + modifier + b")" if modifier else b"")

    async def _resolve(self) -> bytes | None:
        """Which mails the set means now."""
        self._mails, self._shifted = {}, False
        ours = _OURS | {b"MODSEQ"} if self._request.since else _OURS

        async def see(unit: Unit) -> None:
            response = _parse(unit)
            if response is None or response.uid is None or response.mail_size is None:
                await self._relay.pass_on(unit)
                return
            unit.close()
            if len(self._mails) >= _MOST_MAILS:
                raise ServerGone("a mailbox of more than a million mails")
            self._mails[response.number] = _Mail(response.uid, response.mail_size)
            await self._pass_rest(response, ours)

        line = await self._relay.server.ask(self._ask(self._request.set, b"UID RFC822.SIZE", self._request.since), see)
        return None if line.upper().startswith(b"OK") else line

    async def _pass_rest(self, response: FetchResponse, ours: frozenset[bytes]) -> None:
        """What the server told besides what we asked is the client's: flags that changed, above all."""
        rest = response.without(ours)
        if rest is not None:
            await self._relay.pass_on(rest)

    async def _check_missing(self) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)
        tasks: dict[asyncio.Task[None], list[Spool]] = {}
        loop = asyncio.get_running_loop()
        try:
            for number, mail in list(self._mails.items()):
                if self._recall(mail):
                    continue
                await slots.acquire()
                spools = await self._fetch_all(number, mail)
                if not spools:
                    self._verdicts[mail.uid] = NOT_CHECKED
                    slots.release()
                    continue
                tasks[loop.create_task(self._check(mail, spools, slots))] = spools
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for task, spools in tasks.items():
                if task.cancelled():  # perhaps before its first step
                    _close(spools)

    def _key(self, mail: _Mail) -> Hashable:
        account = self._judge.account
        who = (account.server, account.proven or account.session)
        where = (self._mailbox.name, self._mailbox.validity or account.session)
        return (*who, *where, mail.uid, mail.size, account.download, self._request.binary)

    def _recall(self, mail: _Mail) -> bool:
        if mail.uid in self._verdicts:
            return True
        key = self._key(mail)
        verdict = self._memory.recall(key) or self._shelf.recall(key, self._memory.generation)
        if verdict is not None:
            self._verdicts[mail.uid] = verdict
        return verdict is not None

    async def _fetch_all(self, number: int, mail: _Mail) -> list[Spool]:
        """The whole mail, and as BINARY shows it where that is asked for and can be had; nothing where it cannot."""
        spools: list[Spool] = []
        try:
            for item in (b"BODY.PEEK[]", b"BINARY.PEEK[]")[: 1 + self._request.binary]:
                spool = await self._fetch(number, mail, item)
                if spool is None:
                    break
                spools.append(spool)
        except BaseException:
            _close(spools)
            raise
        return spools

    async def _fetch(self, number: int, mail: _Mail, asked: bytes) -> Spool | None:
        """The whole mail; None where there is none any more, or no room for it."""
        found: list[Spool] = []

        async def see(unit: Unit) -> None:
            response = _parse(unit)
            wholes = [i for i in response.bodies if i.is_whole or i.is_whole_binary] if response is not None else []
            mine = response is not None and (response.uid or self._uid_of(response.number)) == mail.uid
            if response is None or not wholes or not mine or found:
                await self._relay.pass_on(unit)
                return
            spool = self._take(response, wholes[0])
            if spool is not None:
                found.append(spool)
            await self._pass_rest(response, _OURS)

        wanted = b"%d" % (mail.uid if self._request.uid else number)
        try:
            line = await self._relay.server.ask(self._ask(wanted, b"UID " + asked), see)
        except BaseException:
            _close(found)
            raise
        if not found or not line.upper().startswith(b"OK"):
            _close(found)
            return None
        return found[0]

    def _uid_of(self, number: int) -> int | None:
        mail = None if self._shifted else self._mails.get(number)
        return mail.uid if mail is not None else None

    def _take(self, response: FetchResponse, item: Item) -> Spool | None:
        """The mail's octets as a spool of their own; None where there is no room."""
        literal = response.unit.literals[item.literal] if item.literal is not None else None
        if literal is not None and isinstance(literal.body, Spool):
            spool, literal.body = literal.body, None
            response.unit.close()
            return spool
        value = response.value(item)
        response.unit.close()
        if value is None:
            return None
        spool = self._room.open()
        try:
            spool.append(value.read(0, value.size))
        except (SpoolFull, OSError):
            spool.close()
            return None
        spool.finish()
        return spool

    async def _check(self, mail: _Mail, spools: list[Spool], slots: asyncio.Semaphore) -> None:
        held = None
        try:
            verdict = await self._judge.judge(spools[0], "download")
            if self._request.binary and verdict.fate is Fate.PASS:
                verdict = await self._check_decoded(verdict, spools[1]) if len(spools) > 1 else _NO_BINARY
            self._verdicts[mail.uid] = verdict
            if verdict.mail is not None:
                held = spools[0]
                self._shelf.put(self._key(mail), self._memory.generation, verdict)
            elif verdict.fate is not Fate.DEFER:
                self._memory.remember(self._key(mail), verdict)
        finally:
            _close([spool for spool in spools if spool is not held])
            slots.release()

    async def _check_decoded(self, verdict: Verdict, decoded: Spool) -> Verdict:
        """A mail that passes by BODY passes by BINARY where that form does, too. A covered one's pieces are compared
        with what was covered anyway."""
        further = await self._judge.judge(decoded, "download")
        if further.mail is not None:
            further.mail.form.close()
            return Verdict(Fate.DENY, verdict.sha256, further.text)
        return verdict if further.fate is Fate.PASS else further

    # --- the server's answers to the client's command

    async def _answer(self, response: FetchResponse) -> bool:
        uid = response.uid or self._uid_of(response.number)
        verdict = self._verdicts.get(uid, NOT_CHECKED) if uid is not None else NOT_CHECKED
        if verdict.fate is Fate.PASS and not self._is_as_checked(response, verdict):
            verdict = NOT_CHECKED
        if verdict.fate in (Fate.DENY, Fate.DEFER) or any(one.body is None for one in response.unit.literals):
            self._refusal = _worst([*filter(None, [self._refusal]), verdict if verdict.text else NOT_CHECKED])
            return False
        if verdict.mail is None:
            await self._relay.send(response.unit.pieces())
            return True
        await self._send_masked(response, verdict)
        return True

    def _is_as_checked(self, response: FetchResponse, verdict: Verdict) -> bool:
        """A mail does not change (RFC 9051, 2.3.1.1); one that does was not checked."""
        for item in response.bodies:
            if item.is_whole and item.literal is not None:
                literal = response.unit.literals[item.literal]
                if literal.sha256 != verdict.sha256:
                    return False
        return True

    async def _send_masked(self, response: FetchResponse, verdict: Verdict) -> None:
        values: dict[Item, Value] = {}
        try:
            for item in response.bodies:
                values.update(await self._mask(response, item, verdict))
            await self._relay.send(response.pieces(values))
        finally:
            for value in values.values():
                if isinstance(value, Spool):
                    value.close()

    async def _mask(self, response: FetchResponse, item: Item, verdict: Verdict) -> dict[Item, Value]:
        value, mail = response.value(item), verdict.mail
        if value is None or mail is None:
            return {}
        masked = await make_in_thread(lambda: _Gathered(gather(mail.pieces(item, value), self._room)))
        return {item: masked.value}


@dataclass(frozen=True, slots=True)
class _Gathered:
    value: Value

    def close(self) -> None:
        """Give the room back."""
        if isinstance(self.value, Spool):
            self.value.close()


def _close(spools: list[Spool]) -> None:
    for spool in spools:
        spool.close()


def _parse(unit: Unit) -> FetchResponse | None:
    try:
        return parse_response(unit)
    except NotUnderstood:
        return None


def _worst(verdicts: list[Verdict]) -> Verdict:
    """What is to be tried again is told before what is final."""
    return next((verdict for verdict in verdicts if verdict.fate is Fate.DEFER), verdicts[0])
