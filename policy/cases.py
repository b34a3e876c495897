"""Scripted policy tests: imagined objects, mails, sessions and commands, and what the policy should do with
them.

Rules of this file: a cases file is read with the same care as a policy file; a case names exactly one thing
to judge; nothing is judged here (`policy.trial` does that).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema

from policy.facts import DocumentFacts, MailFacts, ObjectFacts, SessionFacts
from policy.fields import Flag, Line, OneOrMany, Size
from policy.model.acl import Command
from policy.problem import PolicyError
from policy.section import Problems, Section
from policy.source import Source, read_source
from policy.verdict import Status

type Text = Annotated[str, Field(strict=True, max_length=8192)]
type Headed = Annotated[bytes, BeforeValidator(lambda v: v.encode("latin-1", "replace") if isinstance(v, str) else v)]


def parse_moment(value: object) -> datetime:
    """Local time from `2026-01-31T09:30`, or with an offset; ValueError else."""
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no moment; write for example 2026-01-31T09:30") from None


type Moment = Annotated[datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string"})]


class SessionCase(Section):
    """Who connects."""

    client: Text | None = None
    user: Text | None = None
    server: Text | None = None
    time: Moment | None = None

    def facts(self) -> SessionFacts:
        """As the decisions take them."""
        return SessionFacts(client=self.client, user=self.user, server=self.server, at=self.time)


class CommandCase(SessionCase):
    """An FTP command."""

    command: Command


class ObjectCase(SessionCase):
    """An HTTP or FTP object. Without `virus_status` it is what a healthy engine would say of clean data."""

    direction: Literal["download", "upload"] = "download"
    method: Text | None = None
    url: Text | None = None
    host: Text | None = None
    content_type: Text | None = None
    filename: Text | None = None
    size: Size | None = None
    head: Headed | None = None
    magic: Text | None = None
    virus_status: Status | None = None

    def facts(self) -> ObjectFacts:
        """As the decisions take them. The object is complete: a head that is not given is empty."""
        head = self.head or b""
        return ObjectFacts(**_given(self, without=("virus_status", "time", "head")), at=self.time, head=head)


class DocumentCase(Section):
    """One document of a mail."""

    content_type: Text | None = None
    filename: Text | None = None
    size: Size | None = None
    head: Headed | None = None
    magic: Text | None = None
    virus_status: Status = Status.FREE
    virus_name: Text | None = None

    def facts(self) -> DocumentFacts:
        """As the decisions take them."""
        given = _given(self, without=("virus_status", "virus_name"))
        return DocumentFacts(**given, status=self.virus_status, virus=self.virus_name)


class MailCase(SessionCase):
    """A mail. `virus_status` and `virus_name` are what the check of the raw mail adds to its documents'."""

    direction: Literal["download", "upload"] = "download"
    sender: Text | None = None
    recipients: OneOrMany[Text] | None = None
    size: Size | None = None
    virus_status: Status | None = None
    virus_name: Text | None = None
    documents: OneOrMany[DocumentCase]

    def facts(self) -> MailFacts:
        """As the decisions take them."""
        given = _given(self, without=("virus_status", "virus_name", "documents", "recipients", "time"))
        return MailFacts(
            **given,
            at=self.time,
            recipients=self.recipients or (),
            status=self.virus_status,
            virus=self.virus_name,
            documents=tuple(d.facts() for d in self.documents),
        )


def _given(case: Section, without: tuple[str, ...]) -> dict[str, Any]:
    return {key: getattr(case, key) for key in type(case).model_fields if key not in without}


class ExpectedDocument(Section):
    """What should happen to one document; what is not written is not compared."""

    acl: Line | None = None
    action: Literal["accept", "deny", "defer", "replace"] | None = None


class Expected(Section):
    """What should come out; what is not written is not compared. `acl: none` is: no ACL decided."""

    acl: Line | None = None
    action: Literal["accept", "deny", "defer", "discard", "permit", "abort"] | None = None
    reason: Line | None = None
    quarantine: Flag | None = None
    virus_status: Status | None = None
    copy_to: OneOrMany[Text] | None = None
    prefix_subject: Line | None = None
    reply: Line | None = None
    documents: OneOrMany[ExpectedDocument] | None = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        if not raw:
            yield (), "is empty, so the case would prove nothing; write acl, action or both"


_SUBJECTS = ("document", "mail", "session", "command")


class Case(Section):
    """One scripted test: what is judged, by which gateway, and what should come out."""

    name: Line
    proxy: Line
    document: ObjectCase | None = None
    mail: MailCase | None = None
    session: SessionCase | None = None
    command: CommandCase | None = None
    expect: Expected

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        given = [key for key in _SUBJECTS if key in raw]
        if len(given) != 1:
            yield (given[1] if given else "document",), f"write exactly one of {', '.join(_SUBJECTS)}"
        for key, kinds in _JUDGES.items():
            proxy = raw.get("proxy")
            if key in raw and isinstance(proxy, str) and proxy.partition(".")[0] not in kinds:
                yield (key,), f"is judged by {', '.join(kinds)} only, not by {proxy}"


_MAIL = ("smtp-proxy", "pop3-proxy", "imap4-proxy")
_JUDGES = {"document": ("http-proxy", "ftp-proxy"), "mail": _MAIL, "command": ("ftp-proxy",)}

_CASES: TypeAdapter[tuple[Case, ...]] = TypeAdapter(tuple[Case, ...])


def load_cases(path: str | Path) -> tuple[tuple[Case, ...], Source]:
    """The cases of a file and their source; PolicyError with every problem where it cannot be used."""
    source = read_source(Path(path))
    problems = [*source.problems]
    cases: tuple[Case, ...] = ()
    if not isinstance(source.data, list):
        problems.append(source.problem((), "must be a list of cases, each beginning with `- name: ...`"))
        raise PolicyError(problems)
    try:
        cases = _CASES.validate_python(source.data)
    except ValidationError as bad:
        problems += [source.problem(e["loc"], e["msg"]) for e in bad.errors(include_url=False)]
    if problems:
        raise PolicyError(problems)
    return cases, source
