"""What an engine that does not do its work means at the gateways that use it.

Rules of this file: pure; where a gateway might let something pass, it is said to, whatever the other conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from avsluice.diagnosis import Finding
from avsluice.engines import Use
from policy.decide_mail import names
from policy.holes import accepting_mail_acls
from policy.model import DocumentAcl, MailProxy, ObjectProxy
from policy.reach import candidates
from policy.verdict import Merge, Status


def find_consequences(finding: Finding, findings: Sequence[Finding], uses: Sequence[Use]) -> Iterator[str]:
    """One sentence for each place where the engine is used; none where it is well. `findings`: all there are."""
    if finding.well:
        return
    if any(f.well for f in findings if f.antivirus == finding.antivirus):
        yield f"the other endpoints of {finding.antivirus} do its work"
        return
    # What `builtin` says beside another engine counts only where it found something.
    well = {f.antivirus for f in findings if f.well and f.protocol != "builtin"}
    for use in uses:
        if finding.antivirus in use.names:
            yield f"{use} {_judge(use, finding, well)}"


def find_leaks(finding: Finding, findings: Sequence[Finding], uses: Sequence[Use]) -> Iterator[str]:
    """One sentence for each place where EICAR in an archive would pass, though the engine finds it outside of one."""
    # A `found` counts from any engine beside it; another endpoint is asked about other objects.
    finders = {f.antivirus for f in findings if f.unpacks} - {finding.antivirus}
    for use in uses:
        if finding.unpacks or finding.antivirus not in use.names or finders.intersection(use.names):
            continue
        if finding.zipped is Status.FREE or _lets_pass(use, finding.zipped):
            yield f"{use} would LET EICAR PASS in an archive"


def _judge(use: Use, finding: Finding, well: Set[str]) -> str:
    others = [name for name in use.names if name in well]
    if others and use.gateway.merge is Merge.KERNUN:
        return f"goes by what {' and '.join(others)} says"
    missed = finding.eicar is not Status.FOUND
    status = finding.eicar if missed else finding.clean
    if status is Status.FREE or _lets_pass(use, status):
        return "would LET EICAR PASS" if missed else "lets it pass all the same"
    if status is Status.ERROR and isinstance(use.gateway, MailProxy):
        return "defers every mail"
    return "refuses whatever it checks"


def _lets_pass(use: Use, status: Status) -> bool:
    gateway = use.gateway
    if isinstance(gateway, ObjectProxy):
        return any(acl.name == use.acl and status in acl.accept_antivirus_status for acl in gateway.doc_acl)
    documents: tuple[DocumentAcl, ...] = gateway.doc_acl
    delivering = [
        acl
        for acl in candidates(documents, status)
        if acl.action == "accept" and (names(acl, status) or status not in (Status.FOUND, Status.ERROR))
    ]
    return bool(delivering and accepting_mail_acls(gateway, (status,)))
