"""ACLs of the proxies for objects: session-acl, ftp-proxy's command-acl, and the doc-acl of HTTP and FTP.

Rules of this file: an ACL is flat; the first that matches wins; the doc-acl is chosen before the check, so
its outcome is filtered by `accept-antivirus-status` and never a condition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, WithJsonSchema

from policy.conditions import CommandWhen, FtpWhen, HttpWhen, SessionWhen, When
from policy.fields import AnyNumber, Duration, Flag, Name, OneOrMany, Size
from policy.scalars import size_or_none
from policy.section import Problems, Section
from policy.verdict import Status

_MISPLACED_STATUS = "stands under `when` only in mail proxies; here write accept-antivirus-status"


def parse_command(value: object) -> str:
    """An FTP command in capitals, with a second word where it has one (`SITE CHMOD`); ValueError else."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]{3,8}( [A-Za-z]{3,8})?", value):
        raise ValueError(f"{value!r} is no FTP command; write for example STOR, or SITE CHMOD")
    return value.upper()


type Command = Annotated[
    str,
    BeforeValidator(parse_command),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z]{3,8}( [A-Za-z]{3,8})?$"}),
]


class Acl(Section):
    """A named rule."""

    name: Name


class SessionAcl(Acl):
    """Who may talk to the gateway at all."""

    when: SessionWhen = SessionWhen()
    action: Literal["permit", "deny"]


class FtpCommandAcl(Acl):
    """Which FTP commands go through. Without `commands`: all of them. `abort` ends the session."""

    when: CommandWhen = CommandWhen()
    commands: OneOrMany[Command] | None = None
    action: Literal["permit", "deny", "abort"]


class DocAcl(Acl):
    """What happens to an HTTP or FTP object. `limit` and `chunk` are bytes, `interval` seconds."""

    when: When = When()
    action: Literal["accept", "deny"] = "accept"
    antivirus: OneOrMany[Name] | None = None
    accept_antivirus_status: AnyNumber[Status] = ()
    interval: Duration | None = None
    chunk: Size | None = None
    limit: Size = 64 * 2**10
    quarantine: Flag = False

    refused: ClassVar[Mapping[str, str]] = {
        "virus-status": _MISPLACED_STATUS,
        "virus-name": "is not known when the ACL is chosen; take it out",
        "replace": "is for the doc-acl of mail proxies; write action: deny",
        "use-antivirus": "is for mail proxies; write antivirus",
        "permit": "is no key; write action: accept",
    }

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        for one, other in (("interval", "chunk"), ("chunk", "interval")):
            if one in raw and other not in raw:
                yield (
                    (one,),
                    f"comes together with {other}; write both, or neither to let nothing leave early",
                )
        chunk, limit = size_or_none(raw.get("chunk")), size_or_none(raw.get("limit", 64 * 2**10))
        if chunk is not None and limit is not None and limit < chunk:
            key = "limit" if "limit" in raw else "chunk"
            yield (key,), f"limit ({limit}) is less than chunk ({chunk}); write a limit of at least one chunk"


class HttpDocAcl(DocAcl):
    """doc-acl of http-proxy."""

    when: HttpWhen = HttpWhen()


class FtpDocAcl(DocAcl):
    """doc-acl of ftp-proxy."""

    when: FtpWhen = FtpWhen()
