"""The named engine sections: who is asked, how, and how much.

Rules of this file: one class a protocol, told apart by `protocol`; a key stands only where its protocol uses
it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from policy.fields import (
    Canary,
    ClamdEndpoint,
    Count,
    DrwebEndpoint,
    Duration,
    FileName,
    Flag,
    IcapEndpoint,
    OneOrMany,
    OrNone,
    Size,
)
from policy.section import Problems, Section

_NET_ONLY = "is for the *-file protocols; take it out, or write protocol: clamav-file or drweb-file"
_ICAP_ONLY = "is for protocol: icap; take it out"


def _parse_uri(value: object) -> str:
    """An ICAP service's path (RFC 3507, 4.2): printable ASCII without spaces, beginning with a slash."""
    if not isinstance(value, str) or not re.fullmatch(r"/[\x21-\x7e]{0,1000}", value):
        raise ValueError(f"{value!r} is no ICAP service; write its path, for example /av/respmod")
    return value


type Uri = Annotated[str, BeforeValidator(_parse_uri), WithJsonSchema({"type": "string", "pattern": r"^/[!-~]*$"})]


def _parse_path_map(value: object) -> object:
    if isinstance(value, Mapping):
        for path in (p for pair in value.items() for p in pair):
            if not isinstance(path, str) or not path.startswith("/"):
                raise ValueError(f"{path!r} is no absolute path; write {{/our/prefix: /the/engine's/prefix}}")
    return None if value == "none" else value


type PathMap = Annotated[Mapping[str, str] | None, BeforeValidator(_parse_path_map)]


class Antivirus(Section):
    """What every engine section has. Durations are seconds, sizes bytes."""

    timeout: Duration = 30.0
    max_checked_size: Size = 100 * 2**20
    concurrency: Count = 8
    canary: Canary = 30.0

    refused: ClassVar[Mapping[str, str]] = {
        "comm-dir": _NET_ONLY,
        "path-map": _NET_ONLY,
        "uri": _ICAP_ONLY,
        "tls": _ICAP_ONLY,
        "icap-pass-200-with-pure-body": _ICAP_ONLY,
        "transport": "is for protocol: clamav-net; take it out",
    }


class ClamavNet(Antivirus):
    """clamd that is sent the bytes, or the open file through a Unix socket."""

    protocol: Literal["clamav-net"]
    address: OneOrMany[ClamdEndpoint]
    transport: Literal["auto", "fildes", "instream"] = "auto"

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        address = raw.get("address")
        hosts = [a for a in (address if isinstance(address, list) else [address]) if isinstance(a, str)]
        if raw.get("transport") == "fildes" and any(not a.startswith("/") for a in hosts):
            yield (
                ("transport",),
                "fildes needs a Unix socket; write its path as address, or transport: instream",
            )


COMM_DIR = "/data/tmp/antivirus"
"""The handbook's directory for objects that an engine is given by path ("Antivirus Checking of Data")."""


class ClamavFile(Antivirus):
    """clamd that is given the path of a file in `comm_dir`."""

    protocol: Literal["clamav-file"]
    address: OneOrMany[ClamdEndpoint]
    comm_dir: FileName = Path(COMM_DIR)
    path_map: PathMap = None


class DrwebNet(Antivirus):
    """Dr.Web's daemon that is sent the bytes."""

    protocol: Literal["drweb-net"]
    address: OneOrMany[DrwebEndpoint]


class DrwebFile(Antivirus):
    """Dr.Web's daemon that is given the path of a file in `comm_dir`."""

    protocol: Literal["drweb-file"]
    address: OneOrMany[DrwebEndpoint]
    comm_dir: FileName = Path(COMM_DIR)
    path_map: PathMap = None


class IcapTls(Section):
    """TLS towards an ICAP server."""

    ca: FileName | None = None
    verify: Flag = True


class Icap(Antivirus):
    """An ICAP server's RESPMOD (RFC 3507)."""

    protocol: Literal["icap"]
    address: OneOrMany[IcapEndpoint]
    uri: Uri
    tls: Annotated[IcapTls | None, BeforeValidator(lambda v: None if v == "off" else v)] = None
    icap_pass_200_with_pure_body: Flag = True


class Builtin(Antivirus):
    """The small engine inside: test signatures, listed hashes, YARA rules."""

    protocol: Literal["builtin"]
    hashes: OrNone[FileName] = None
    yara_rules: OrNone[FileName] = None


class Auto(Antivirus):
    """A proven clamd at the usual places, else what is inside."""

    protocol: Literal["auto"]


type AnyAntivirus = Annotated[
    ClamavNet | ClamavFile | Icap | DrwebNet | DrwebFile | Builtin | Auto, Field(discriminator="protocol")
]
