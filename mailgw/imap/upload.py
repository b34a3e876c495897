"""APPEND: mails checked before the server hears of them (RFC 9051, 6.3.12; RFC 3502 for several at once).

Rules of this file: all mails of a command pass, or none; a covered mail has the size that was announced.
"""

from __future__ import annotations

import re
from dataclasses import replace

from inspection.spool import Spool
from mailgw.imap.commands import BadCommand, Command, read_astring
from mailgw.imap.judge import Judge, refuse
from mailgw.imap.relay import Relay
from mailgw.imap.units import Literal, Unit
from mailgw.imap.verdicts import Fate, Verdict

_MAIL = re.compile(rb"(?: \([^()\0\"]*\))?(?: \"[^\"\0]{20,40}\")? \0(\d+)\0")
_MAILBOX_LITERAL = re.compile(rb"[^ ]+ APPEND ~?\{\d+[+-]?\}\r\n", re.IGNORECASE)
_APPEND = re.compile(rb"[^ ]+ APPEND ", re.IGNORECASE)


def announces_mail(unit: Unit) -> bool:
    """Whether the literal that a client's unit announces last is a mail."""
    if not _APPEND.match(unit.texts[0]):
        return False
    return len(unit.texts) > 1 or not _MAILBOX_LITERAL.fullmatch(unit.texts[0])


class Upload:
    """One APPEND."""

    def __init__(self, command: Command, relay: Relay, judge: Judge) -> None:
        self._command, self._relay, self._judge = command, relay, judge
        self._verdicts: dict[int, Verdict] = {}  # by the literal's number

    async def run(self) -> bytes:
        """The tagged line for the client. Raises BadCommand."""
        tag, numbers = self._command.tag, self._find_mails()
        try:
            refused = await self._relay.while_checking(self._check(numbers))
            if refused is not None:
                return tag + b" " + refused + b"\r\n"
            return await self._relay.run(tag, self._make_unit())
        finally:
            for verdict in self._verdicts.values():
                if verdict.mail is not None:
                    verdict.mail.close()

    def _find_mails(self) -> list[int]:
        rest, (_, at) = self._command.rest, read_astring(self._command)
        numbers = []
        while at < len(rest):
            found = _MAIL.match(rest, at)
            if found is None or self._command.unit.literals[int(found[1])].body is None:
                raise BadCommand("flags, a date and a literal are taken, nothing else", tag=self._command.tag)
            numbers.append(int(found[1]))
            at = found.end()
        if not numbers:
            raise BadCommand("a mail is needed", tag=self._command.tag)
        return numbers

    async def _check(self, numbers: list[int]) -> bytes | None:
        """The refusal, if there is one: that of the first mail that does not pass."""
        for number in numbers:
            body = self._command.unit.literals[number].body
            if not isinstance(body, Spool) or not body.size:
                continue  # an empty one takes the whole command back (RFC 3502, 6.3.11)
            verdict = await self._judge.judge(body, "upload")
            self._verdicts[number] = verdict
            if verdict.fate in (Fate.DENY, Fate.DEFER):
                return refuse(verdict)
        return None

    def _make_unit(self) -> Unit:
        literals: list[Literal] = []
        for number, literal in enumerate(self._command.unit.literals):
            verdict = self._verdicts.get(number)
            masked = verdict.mail.form if verdict is not None and verdict.mail is not None else None
            literals.append(literal if masked is None else replace(literal, body=masked))
        return Unit(self._command.unit.texts, literals)
