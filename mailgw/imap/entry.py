"""The way in: an exchange that logs somebody in, and what the policy says of who that is.

Rules of this file: what is exchanged is relayed line by line and nowhere kept; the command-acl is chosen once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from inspection.audit import AuditRecord
from mailgw.imap.capabilities import filter_line
from mailgw.imap.login import Identity, find_user
from mailgw.imap.relay import Account, Relay
from policy.decide import choose_command_acl
from policy.decision import Action, Reason
from policy.facts import SessionFacts
from policy.model import Imap4Proxy
from policy.model.mail_acl import Imap4CommandAcl


async def exchange(
    relay: Relay, tag: bytes, mechanism: bytes, read_line: Callable[[], Awaitable[bytes]]
) -> tuple[bytes, Identity]:
    """The server's challenges, the client's responses (RFC 9051, 6.2.2); the tagged line, and who the first response
    names. Raises what `read_line` raises, and ServerGone."""
    user, first = Identity(), True
    while True:
        unit = await relay.server.read()
        line = unit.texts[0]
        if line.startswith(tag + b" "):
            return filter_line(line, relay.terms), user
        if not line.startswith(b"+"):
            await relay.pass_on(unit)
            continue
        relay.channel.write(line)
        response = await read_line()
        if first:
            user, first = find_user(mechanism, response), False
        await relay.server.send([response])


def choose_account(proxy: Imap4Proxy, account: Account) -> Account | None:
    """The account with the engines that its command-acl names; None where no command-acl matches."""
    now = datetime.now().astimezone()
    facts = SessionFacts(client=account.client, user=account.user, server=account.server, at=now)
    acl = choose_command_acl(proxy, facts).acl
    if not isinstance(acl, Imap4CommandAcl):
        return None
    engines = acl.use_antivirus
    return replace(
        account,
        acl=acl.name,
        download=tuple(engines.download or ()) if engines is not None else None,
        upload=tuple(engines.upload or ()) if engines is not None else None,
    )


def make_record(
    proxy: str, account: Account, entry: str, acl: str | None, action: Action, reason: Reason | None
) -> AuditRecord:
    """The record of a session as a whole: refused, or not looked into."""
    return AuditRecord(
        time=datetime.now(UTC),
        event="mail",
        proxy=proxy,
        session=account.session,
        id=entry,
        client=account.client,
        server=account.server,
        user=account.user,
        acl=acl,
        action=str(action),
        reason=reason,
    )
