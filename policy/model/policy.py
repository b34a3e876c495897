"""The whole policy file.

Rules of this file: every antivirus that anything names is defined, in disabled gateways too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from policy.fields import DurationOrZero, Flag, Name
from policy.model.antivirus import AnyAntivirus
from policy.model.mail_gateway import Imap4Proxy, Pop3Proxy, SmtpProxy
from policy.model.object_gateway import FtpProxy, HttpProxy
from policy.model.stores import Audit, Cache, Metrics, Quarantine, Spool
from policy.section import Loc, Problems, Section, suggest

type AnyGateway = HttpProxy | FtpProxy | SmtpProxy | Pop3Proxy | Imap4Proxy

KINDS = ("http-proxy", "ftp-proxy", "smtp-proxy", "pop3-proxy", "imap4-proxy")


class Policy(Section):
    """What should happen, in all five. Made by `policy.load`, or by `model_validate` from plain data."""

    antivirus: Mapping[Name, AnyAntivirus] = Field(default_factory=dict)
    require_real_engine: Flag = False
    blocked_memory: DurationOrZero = 600.0
    quarantine: Quarantine = Quarantine()
    spool: Spool = Spool()
    cache: Cache = Cache()
    audit: Audit = Audit()
    metrics: Metrics = Metrics()
    http_proxy: Mapping[Name, HttpProxy] = Field(default_factory=dict)
    ftp_proxy: Mapping[Name, FtpProxy] = Field(default_factory=dict)
    smtp_proxy: Mapping[Name, SmtpProxy] = Field(default_factory=dict)
    pop3_proxy: Mapping[Name, Pop3Proxy] = Field(default_factory=dict)
    imap4_proxy: Mapping[Name, Imap4Proxy] = Field(default_factory=dict)

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        sections = raw.get("antivirus")
        known = [str(name) for name in sections] if isinstance(sections, Mapping) else []
        for loc, name in antivirus_names(raw):
            if name not in known:
                yield loc, f"no antivirus is named {name}; {suggest(name, known)}"

    def gateways(self) -> Iterator[tuple[str, AnyGateway]]:
        """Every gateway with its label, e.g. `smtp-proxy.SMTP`, disabled ones too."""
        for kind in (self.http_proxy, self.ftp_proxy, self.smtp_proxy, self.pop3_proxy, self.imap4_proxy):
            for name, gateway in kind.items():
                yield f"{gateway.kind}.{name}", gateway

    def find_gateway(self, label: str) -> AnyGateway:
        """The gateway with that label; LookupError, saying which there are, else."""
        known = dict(self.gateways())
        if label not in known:
            raise LookupError(f"no gateway is called {label}; {suggest(label, list(known))}")
        return known[label]


def antivirus_names(raw: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Every mention of an antivirus in a policy's plain data, and where."""
    for where, gateway in raw_gateways(raw):
        for acl_where, acl in _rows(where, gateway, "doc-acl"):
            yield from _names((*acl_where, "antivirus"), acl.get("antivirus"))
        for holder_where, holder in [(where, gateway), *_rows(where, gateway, "command-acl")]:
            yield from _users((*holder_where, "use-antivirus"), holder.get("use-antivirus"))


def raw_gateways(raw: Mapping[str, Any]) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    """Every gateway in a policy's plain data that is a mapping, and where."""
    for kind in KINDS:
        named = raw.get(kind)
        for name, gateway in named.items() if isinstance(named, Mapping) else ():
            if isinstance(gateway, Mapping):
                yield (kind, name), gateway


def _rows(where: Loc, gateway: Mapping[str, Any], key: str) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    rows = gateway.get(key)
    for n, row in enumerate(rows if isinstance(rows, list) else [rows]):
        if isinstance(row, Mapping):
            yield (*where, key, n), row


def _users(where: Loc, value: object) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, Mapping):
        for direction, names in value.items():
            yield from _names((*where, str(direction)), names)
    else:
        yield from _names(where, value)


def _names(where: Loc, value: object) -> Iterator[tuple[Loc, str]]:
    for n, name in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(name, str):
            yield (*where, n), name
