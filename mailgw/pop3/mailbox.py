"""A client's mails, behind its login: fetched, judged, answered with, or refused.

Rules of this file: a mail is judged by the policy that is in force when it is asked for; what was refused as found,
skipped or unknown is refused again without being fetched; a copy that TOP has left serves the RETR behind it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from inspection.audit import AuditRecord
from inspection.refused import Refused
from mailgw.channel import Channel
from mailgw.envelope import Envelope
from mailgw.kept_mails import KeptMails
from mailgw.pop3.copy import Copy
from mailgw.pop3.keep_alive import KeepAlive
from mailgw.pop3.replies import Reply, refuse
from mailgw.pop3.retrieval import CutShort, Refusal, Retrieval, send_copy
from mailgw.pop3.server import Server, ServerGone
from mailgw.pop3.site import Permit, Pop3Site
from policy.decision import Action, Reason
from policy.verdict import Status


class Door(Protocol):
    """What a session knows of its gateway. `kept`: the mails that are in the quarantine already."""

    kept: KeptMails

    @property
    def site(self) -> Pop3Site | None:
        """The policy in force."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is logged in, from where, to which server; `session` stands in records."""

    session: str
    client: str | None
    user: str | None
    server: str


class Mailbox:
    """`permitted` False: no command-acl matches, and the session is to end."""

    def __init__(self, person: Person, door: Door, site: Pop3Site, channel: Channel, server: Server) -> None:
        self.person = person
        self._door, self._site = door, site
        self._channel, self._server = channel, server
        self._permit = self._ask_permit()
        self._copy: Copy | None = None

    @property
    def permitted(self) -> bool:
        """Whether a command-acl matches."""
        return self._permit is not None

    def _ask_permit(self) -> Permit | None:
        return self._site.permit(self.person.client, self.person.user, self.person.server)

    def refuse_session(self) -> Reply:
        """The refusal, recorded."""
        record = AuditRecord(
            time=datetime.now(UTC),
            event="mail",
            proxy=self._site.name,
            session=self.person.session,
            id=self.person.session,
            client=self.person.client,
            server=self.person.server,
            user=self.person.user,
            action=str(Action.DENY),
            reason=Reason.NO_ACL,
        )
        self._site.checkpoint.audit.write(record)
        return refuse(f"not permitted: no command-acl matches, id {self.person.session}")

    async def retrieve(self, number: int, lines: int | None) -> Reply | None:
        """Answer RETR (`lines` None) or TOP; a refusal is returned. Raises CutShort, ServerGone, PeerGone."""
        site = self._door.site or self._site
        if site is not self._site:
            self.drop_copy()
            self._site = site
            self._permit = self._ask_permit()
        if self._permit is None:
            return self.refuse_session()
        if self._copy is not None and self._copy.number == number:
            await self._answer_again(self._copy, lines)
        else:
            self.drop_copy()
            refusal = await self._fetch(site, self._permit, number, lines)
            if refusal is not None:
                return refusal
        if lines is None:
            self.drop_copy()
        return None

    async def _answer_again(self, copy: Copy, lines: int | None) -> None:
        self._channel.write((copy.status if lines is None else Reply(b"+OK")).wire())
        await send_copy(self._channel, copy, lines, self._site.proxy.limits.stall, KeepAlive())

    async def _fetch(self, site: Pop3Site, permit: Permit, number: int, lines: int | None) -> Reply | None:
        envelope = Envelope(
            session=self.person.session,
            client=self.person.client,
            server=self.person.server,
            user=self.person.user,
            direction="download",
            engines=permit.engines,
        )
        retrieval = Retrieval(site, self._channel, self._server, envelope, self._door.kept, number, lines)
        site.checkpoint.enter(retrieval)
        try:
            key = await self._name_mail(number) if len(site.checkpoint.blocked) else ()
            if key and (known := site.checkpoint.blocked.recall(key)) is not None:
                return self._refuse_again(site, envelope, known)
            self._copy = await retrieval.run()
        except Refusal as refusal:
            with suppress(ServerGone):  # the refusal stands
                await self._remember(site, number, refusal, envelope)
            if isinstance(refusal, CutShort):
                raise
            return refusal.reply
        finally:
            site.checkpoint.leave(retrieval)
        return None

    async def _name_mail(self, number: int) -> tuple[str | None, ...]:
        """What names the mail whenever it is asked for: account, unique id, size. () where the server gives none."""
        words = []
        for verb in (b"UIDL", b"LIST"):
            reply = await self._server.ask(b"%s %d" % (verb, number))
            if not reply.good:
                return ()
            words.append(reply.line.split()[-1].decode("ascii", "replace"))
        return (self.person.server, self.person.user, *words)

    async def _remember(self, site: Pop3Site, number: int, refusal: Refusal, envelope: Envelope) -> None:
        if refusal.outcome is None or refusal.outcome.decision.action is not Action.DENY:
            return
        decision = refusal.outcome.decision
        if key := await self._name_mail(number):
            refused = Refused(
                id=envelope.id,
                status=decision.status or Status.UNKNOWN,
                reason=str(decision.reason or ""),
                virus=refusal.outcome.virus,
                antivirus=", ".join(envelope.engines or ()),
                acl=decision.acl,
            )
            site.checkpoint.blocked.note(key, refused)

    def _refuse_again(self, site: Pop3Site, envelope: Envelope, known: Refused) -> Reply:
        record = AuditRecord(
            time=datetime.now(UTC),
            event="mail",
            proxy=site.name,
            session=self.person.session,
            id=envelope.id,
            client=envelope.client,
            server=envelope.server,
            user=self.person.user,
            direction="download",
            status=known.status,
            virus=known.virus,
            acl=known.acl,
            action=str(Action.DENY),
            reason=Reason(known.reason) if known.reason else None,
        )
        site.checkpoint.audit.write(record)
        named = " ".join(filter(None, (str(known.status), known.virus)))
        return refuse(f"not accepted: {named} ({known.acl or 'no rule'}, {known.antivirus}), id {known.id}")

    def drop_copy(self) -> None:
        """The copy that a TOP has left is no longer what the server would answer with."""
        if self._copy is not None:
            self._copy.close()
            self._copy = None
