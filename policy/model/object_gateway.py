"""http-proxy and ftp-proxy: the gateways of single objects.

Rules of this file: a doc-acl is always walked, so it is never absent; an ftp-proxy knows its server in
exactly one way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from policy.fields import Endpoint, Flag, OneOrMany, Words
from policy.model.acl import DocAcl, FtpCommandAcl, FtpDocAcl, HttpDocAcl
from policy.model.gateway import Gateway, lacking
from policy.section import Problems


def parse_port_range(value: object) -> tuple[int, int]:
    """First and last port, from `40000-40100`; ValueError else."""
    if isinstance(value, tuple):
        return value[0], value[1]
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", value, re.ASCII) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 65535:
        raise ValueError(f"{value!r} is no range of ports; write for example 40000-40100")
    return int(match[1]), int(match[2])


type PortRange = Annotated[
    tuple[int, int],
    BeforeValidator(parse_port_range),
    PlainSerializer(lambda pair: f"{pair[0]}-{pair[1]}"),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,5}-\d{1,5}$"}),
]


class ObjectProxy(Gateway):
    """A gateway whose objects are chosen an ACL before they are checked."""

    doc_acl: OneOrMany[DocAcl]

    refused: ClassVar[Mapping[str, str]] = {
        "mail-acl": "is for mail proxies; here write doc-acl",
        "use-antivirus": "is for mail proxies; here write antivirus in the doc-acl",
        "no-mail-scanning": "is for mail proxies; here write a doc-acl without antivirus",
    }

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)
        yield from lacking("doc-acl", raw, "object")

    def engine_names(self) -> frozenset[str]:
        """Those of every doc-acl."""
        return frozenset(name for acl in self.doc_acl for name in acl.antivirus or ())

    def keeps(self) -> bool:
        """Whether a doc-acl does."""
        return any(acl.quarantine for acl in self.doc_acl)


class HttpProxy(ObjectProxy):
    """HTTP, inside mitmproxy."""

    kind: ClassVar[str] = "http-proxy"

    doc_acl: OneOrMany[HttpDocAcl]

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)
        for key in ("tls", "server-tls"):
            if isinstance(raw.get(key), Mapping) and raw[key].get("mode") == "starttls":
                yield (key, "mode"), "HTTP has no starttls; write implicit or none"


class FtpProxy(ObjectProxy):
    """FTP. The server is fixed (`server`), named by the user (`user_at_host`) or dialled (`transparent`)."""

    kind: ClassVar[str] = "ftp-proxy"

    listen: Endpoint
    doc_acl: OneOrMany[FtpDocAcl]
    command_acl: OneOrMany[FtpCommandAcl] | None = None
    user_at_host: Flag = False
    server_allow: Words | None = None
    transparent: Flag = False
    passive_ports: PortRange | None = None
    data_type: Literal["auto", "passive", "active"] = "auto"

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        yield from super().rules(raw)
        ways = [key for key in ("server", "user-at-host", "transparent") if raw.get(key, False) is not False]
        if not ways:
            yield ("server",), "is missing; write server, user-at-host: true or transparent: true"
        for key in ways[1:]:
            yield (key,), f"contradicts {ways[0]}; write one of server, user-at-host and transparent"
        if "server-allow" in raw and raw.get("user-at-host") is not True:
            yield ("server-allow",), "is for user-at-host: true; take it out"
