"""One mail checked for IMAP, whichever way it goes: what the policy says, and what is written down.

Rules of this file: one record for a mail that was checked; one entry of the quarantine for a content and account.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from inspection.spool import Spool
from mailgw.division import make_in_thread
from mailgw.envelope import Envelope
from mailgw.imap.masking import MaskedMail
from mailgw.imap.relay import Account
from mailgw.imap.site import ImapSite
from mailgw.imap.verdicts import Fate, Verdict
from mailgw.inspect_mail import inspect_mail
from mailgw.outcome import MailOutcome, make_record
from policy.decision import Action


@dataclass(frozen=True, slots=True)
class Judge:
    """Checks the mails of one account."""

    site: ImapSite
    account: Account

    async def judge(self, spool: Spool, direction: Literal["download", "upload"]) -> Verdict:
        """Check a complete mail. The spool is the verdict's where `mail` holds it, else the caller's."""
        began = time.monotonic()
        account = self.account
        envelope = Envelope(
            session=account.session,
            client=account.client,
            server=account.server,
            user=account.user,
            direction=direction,
            engines=account.download if direction == "download" else account.upload,
        )
        key = (spool.sha256, account.user)
        kept = self.site.kept.recall(key)
        outcome = await inspect_mail(self.site.checkpoint, envelope, spool, kept=kept)
        try:
            if outcome.quarantine is not None:
                self.site.kept.remember(key, outcome.quarantine)
            self.site.memory.notice_versions(outcome.reports)
            record = make_record(self.site.name, envelope, spool, outcome, ms=(time.monotonic() - began) * 1000)
            self.site.checkpoint.audit.write(record)
            return await self._conclude(outcome, envelope, spool)
        except BaseException:
            outcome.close()
            raise

    async def _conclude(self, outcome: MailOutcome, envelope: Envelope, spool: Spool) -> Verdict:
        decision, form = outcome.decision, outcome.form
        if decision.passes and form is None:
            return Verdict(Fate.PASS, spool.sha256)
        text = _explain(outcome, envelope)
        if decision.passes and form is not None and form.size == spool.size:
            return Verdict(Fate.MASK, spool.sha256, text, await make_in_thread(lambda: MaskedMail(spool, form)))
        outcome.close()
        return Verdict(Fate.DEFER if decision.action is Action.DEFER else Fate.DENY, spool.sha256, text)


def _explain(outcome: MailOutcome, envelope: Envelope) -> str:
    """For the owner of the mailbox: status, virus, rule, engines, id."""
    decision = outcome.decision
    acl = next((d.acl for d in decision.documents if d.action is Action.DENY and d.acl), decision.acl)
    words = [f"{decision.reply or 'not accepted'}: {decision.status}"]
    words += [f"({outcome.virus})"] if outcome.virus else []
    engines = ", ".join(envelope.engines or ()) or "none"
    return " ".join(words) + f", rule {acl or '-'}, antivirus {engines}, id {envelope.id}"


def refuse(verdict: Verdict) -> bytes:
    """The status and text of a tagged answer, in printable ASCII."""
    code = "[UNAVAILABLE] " if verdict.fate is Fate.DEFER else ""
    return b"NO " + "".join(c if " " <= c <= "~" else "?" for c in code + verdict.text)[:500].encode("ascii")
