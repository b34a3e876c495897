"""What can be told of one object: its audit record, and beside it what only people want to know.

Rules of this file: plain data only, because mitmproxy copies, filters and saves what stands on a flow; nothing of the
content, no credentials, no query strings; escaping is left to whoever shows it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from inspection.inspect_object import Inspection
from inspection.record import AuditRecord, cut_text
from policy.decision import Action

# The fields of an audit record (docs/audit.md), and `detail`, `transferred`, `trace`; an engine has its `detail`, too.
type Account = dict[str, Any]


def make_account(record: AuditRecord, inspection: Inspection, transferred: int | None = None) -> Account:
    """The account of an object that `record` is about; `transferred` is its length in bytes before decoding."""
    account = _plain(record.to_plain())
    del account["documents"], account["event"]  # those of a mail
    engines = zip(account["engines"], inspection.reports, strict=True)
    account["engines"] = [_plain(engine) | {"detail": cut_text(report.detail)} for engine, report in engines]
    account["detail"] = cut_text(inspection.detail)
    account["transferred"] = transferred
    account["trace"] = [cut_text(str(step)) for step in inspection.decision.trace]
    return account


def _plain(values: Account) -> Account:
    """Enumerations as the words that they are."""
    return {name: str(value) if isinstance(value, StrEnum) else value for name, value in values.items()}


def passed(account: Account) -> bool:
    """Whether the object was delivered."""
    return bool(account.get("action") == Action.ACCEPT)
