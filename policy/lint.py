"""Warnings about a policy that loads: what its author may not have meant.

Rules of this file: a warning names what would happen, not what style is better; disabled gateways are judged
too; each finding is made once, at the place where it would be mended.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from policy.holes import find_holes, find_idle_documents
from policy.model import DocAcl, Gateway, MailProxy, ObjectProxy, Policy
from policy.reach import Rule, find_covers
from policy.section import Loc, Problems
from policy.verdict import Status

USUAL_OBJECT = 256 * 2**10
"""Bytes. Harmful programs are often a few hundred KiB: a trickle beyond this can carry one."""

_LISTS = ("session-acl", "command-acl", "mail-acl", "doc-acl")


def lint(policy: Policy, proven: Mapping[str, int] | None = None) -> Problems:
    """Every warning, with its place in the file.

    `proven`: the size in bytes up to which each antivirus was proven to see (the running engines' limit
    probe); without it the engines' own limits are not judged.
    """
    yield from _limits(policy, proven or {})
    yield from _same_listen(policy)
    for label, gateway in policy.gateways():
        kind, _, name = label.partition(".")
        loc: Loc = (kind, name)
        yield from _unreachable(loc, gateway)
        yield from _public(loc, gateway)
        if isinstance(gateway, ObjectProxy):
            for n, acl in enumerate(gateway.doc_acl):
                yield from _doc_acl((*loc, "doc-acl", n), acl)
        if isinstance(gateway, MailProxy):
            yield from find_holes(loc, gateway)
            yield from find_idle_documents(loc, gateway)


def _limits(policy: Policy, proven: Mapping[str, int]) -> Problems:
    for name, limit in proven.items():
        section = policy.antivirus.get(name)
        if section is not None and limit < section.max_checked_size:
            yield (
                ("antivirus", name, "max-checked-size"),
                (
                    f"the engine was proven up to {limit} bytes only, less than max-checked-size "
                    f"({section.max_checked_size}); what is larger is skipped; raise its limits, or lower this"
                ),
            )


def _unreachable(loc: Loc, gateway: Gateway) -> Problems:
    for key in _LISTS:
        acls: tuple[Rule, ...] = getattr(gateway, key.replace("-", "_"), None) or ()
        for n, names in find_covers(acls):
            yield (
                (*loc, key, n),
                f"can never match: {_and(names)} before it {_takes(names)} everything it would",
            )


def _and(names: tuple[str, ...]) -> str:
    return " and ".join(names)


def _takes(names: tuple[str, ...]) -> str:
    return "takes" if len(names) == 1 else "take"


def _public(loc: Loc, gateway: Gateway) -> Problems:
    if gateway.listen is None or not is_public(gateway.listen.host):
        return
    encrypted = gateway.tls.mode != "none"
    by_client = any(acl.when.client for acl in gateway.session_acl or ())
    if not encrypted and not by_client:
        yield (
            (*loc, "listen"),
            (
                f"{gateway.listen} is reachable from anywhere, without TLS or a client ACL; "
                "write tls, or a session-acl with client networks, or listen on a private address"
            ),
        )


def _same_listen(policy: Policy) -> Problems:
    taken: dict[str, str] = {}
    for label, gateway in policy.gateways():
        if not gateway.enabled or gateway.listen is None or str(gateway.listen).endswith(":0"):
            continue
        kind, _, name = label.partition(".")
        first = taken.setdefault(str(gateway.listen), label)
        if first != label:
            yield (kind, name, "listen"), f"{gateway.listen} is where {first} listens too; only one of them can"


def is_public(host: str) -> bool:
    """Whether strangers may reach it: the unspecified address or a global one. No name is resolved."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_unspecified or address.is_global


def _doc_acl(loc: Loc, acl: DocAcl) -> Problems:
    yield from _without_effect(loc, acl)
    if acl.action == "deny":
        return
    if acl.antivirus is None:
        if acl.when.always:
            yield loc, "delivers everything unchecked: it has neither antivirus nor conditions"
        return
    if Status.FOUND in acl.accept_antivirus_status:
        yield (*loc, "accept-antivirus-status"), "lets known viruses through: found is among what it accepts"
    if acl.interval is not None and acl.limit > USUAL_OBJECT:
        yield (
            (*loc, "limit"),
            (
                f"lets up to {acl.limit} bytes leave before the verdict: a whole object of usual size, but "
                f"for its last chunk; write at most {USUAL_OBJECT // 1024}KiB"
            ),
        )


def _without_effect(loc: Loc, acl: DocAcl) -> Iterator[tuple[Loc, str]]:
    checked = acl.action == "accept" and acl.antivirus is not None
    why = "action is deny" if acl.action == "deny" else "there is no antivirus"
    for key in ("antivirus", "accept_antivirus_status", "interval", "limit", "quarantine"):
        if key in acl.model_fields_set and not checked:
            yield (*loc, key.replace("_", "-")), f"has no effect, for {why}"
    if checked and "limit" in acl.model_fields_set and acl.interval is None:
        yield (*loc, "limit"), "has no effect without interval and chunk: nothing leaves before the verdict"
