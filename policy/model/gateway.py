"""What all gateways have: where they listen, whom they serve, which servers stand behind them.

Rules of this file: TLS is never half configured (no silent fall-back to plain); counts and times have bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from policy.fields import Count, Duration, Endpoint, FileName, Flag, Line, OneOrMany
from policy.model.acl import SessionAcl
from policy.model.stores import Quarantine
from policy.section import Problems, Section
from policy.verdict import Merge

type TlsMode = Literal["none", "starttls", "implicit"]


class Limits(Section):
    """Connections in all and per client; seconds for a header, an idle session, a peer that sends nothing."""

    connections: Count = 1000
    per_client: Count = 100
    header: Duration = 30.0
    idle: Duration = 300.0
    stall: Duration = 60.0


class Tls(Section):
    """TLS towards the client."""

    certificate: FileName | None = None
    key: FileName | None = None
    mode: TlsMode = "none"

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        if raw.get("mode", "none") != "none":
            for key in ("certificate", "key"):
                if key not in raw:
                    yield (key,), f"is missing; mode {raw['mode']} needs a certificate and its key"
        elif "mode" not in raw and ("certificate" in raw or "key" in raw):
            yield (
                ("mode",),
                "is missing, so nothing would be encrypted; write mode: implicit or mode: starttls",
            )


class ServerTls(Section):
    """TLS towards the server. `ca` None: the system's."""

    mode: TlsMode = "none"
    ca: FileName | None = None
    verify: Flag = True

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        if raw and "mode" not in raw:
            yield (
                ("mode",),
                "is missing, so nothing would be encrypted; write mode: implicit or mode: starttls",
            )


class Gateway(Section):
    """One gateway of any kind. Absent `session_acl` permits every client; `quarantine` None: the policy's."""

    kind: ClassVar[str] = ""

    listen: Endpoint | None = None
    enabled: Flag = True
    merge: Merge = Merge.KERNUN
    session_acl: OneOrMany[SessionAcl] | None = None
    limits: Limits = Limits()
    tls: Tls = Tls()
    server: OneOrMany[Endpoint] | None = None
    server_tls: ServerTls = ServerTls()
    user: Line | None = None
    quarantine: Quarantine | None = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        for key in ("session-acl", "command-acl", "mail-acl", "doc-acl"):
            yield from _same_names(key, raw.get(key))
        if raw.get("session-acl") == []:
            yield (
                ("session-acl",),
                "is empty and would refuse every client; write an ACL, or take the key out",
            )

    def engine_names(self) -> frozenset[str]:
        """The antiviruses that its objects may be checked by."""
        return frozenset()

    def keeps(self) -> bool:
        """Whether an ACL asks for the quarantine."""
        return False


def _same_names(key: str, acls: object) -> Problems:
    rows = acls if isinstance(acls, list) else []
    names = [row.get("name") for row in rows if isinstance(row, Mapping)]
    taken = Counter(name for name in names if isinstance(name, str))
    seen: set[str] = set()
    for n, row in enumerate(rows):
        name = row.get("name") if isinstance(row, Mapping) else None
        if isinstance(name, str) and taken[name] > 1 and name in seen:
            yield (key, n, "name"), f"{name} is the name of an earlier ACL of this list; write another one"
        if isinstance(name, str):
            seen.add(name)


def lacking(key: str, raw: Mapping[str, Any], what: str) -> Problems:
    """A list that is walked must have an ACL: one without rejects everything, which nobody means."""
    if key not in raw:
        yield (key,), f"is missing, so every {what} would be rejected; write at least one ACL"
    elif raw[key] == []:
        yield (key,), f"is empty, so every {what} would be rejected; write at least one ACL"
