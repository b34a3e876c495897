"""`avsluice explain FILE PROXY`: which rule would decide about one imagined object or mail, and why.

Rules of this file: the answer is the policy's own trace; without `--virus-status` each of the five is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import policy as sluice
from policy.cases import MailCase, ObjectCase
from policy.decide import choose_doc_acl, decide_document, decide_session
from policy.decision import Decision, MailDecision
from policy.load import PolicyError
from policy.model import ObjectProxy, Policy
from policy.section import kebab
from policy.trial import whole_trace
from policy.verdict import Status

_TEXTS = {
    "url": "the whole URL",
    "method": "HTTP method",
    "host": "the host, where it is not the URL's",
    "content-type": "the declared type",
    "filename": "the file's name, where it is not the URL's",
    "magic": "the true type",
    "size": "bytes, or 5MiB",
    "direction": "download or upload",
    "client": "the client's address",
    "user": "the user's name",
    "server": "the server's name or address",
    "time": "local time, 2026-01-31T09:30",
    "sender": "the envelope's sender",
    "virus-name": "what the engine calls it",
    "virus-status": "free, found, skipped, unknown or error",
}
_OF_DOCUMENTS = ("content-type", "filename", "magic", "virus-status", "virus-name")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE PROXY and one option a fact."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the policy file")
    parser.add_argument("proxy", metavar="PROXY", help="a gateway, e.g. http-proxy.HTTP")
    for name, text in _TEXTS.items():
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--recipient", action="append", help="an envelope recipient; may be repeated")


def run(arguments: argparse.Namespace) -> int:
    """Prints the trace and the decision; 0, or 2 for bad input."""
    given = {name: value for name in _TEXTS if (value := getattr(arguments, name.replace("-", "_"))) is not None}
    if arguments.recipient:
        given["recipients"] = arguments.recipient
    try:
        policy = sluice.load(arguments.file)
        lines = list(explain(policy, arguments.proxy, given))
    except ValidationError as bad:
        for error in bad.errors(include_url=False):
            print(f"--{_option(error['loc'])}: {error['msg']}")
        return 2
    except (PolicyError, LookupError) as bad:
        print(bad)
        return 2
    print("\n".join(lines))
    return 0


def _option(loc: tuple[int | str, ...]) -> str:
    names = [kebab(str(step)) for step in loc if isinstance(step, str) and step != "documents"]
    return names[-1].replace("recipients", "recipient") if names else "?"


def explain(policy: Policy, proxy: str, given: dict[str, Any]) -> Iterator[str]:
    """The lines to print. LookupError for an unknown gateway, ValidationError for facts that it does not take."""
    gateway = policy.find_gateway(proxy)
    if not isinstance(gateway, ObjectProxy):
        yield from _explain_mail(policy, proxy, given)
        return
    case = ObjectCase.model_validate(given)
    facts = case.facts()
    session = decide_session(gateway, facts)
    yield from map(str, session.trace)
    if not session.passes:
        yield _sum_up(session)
        return
    choice = choose_doc_acl(gateway, facts)
    yield from map(str, choice.trace)
    checked = choice.acl is not None and choice.acl.action == "accept" and choice.acl.antivirus is not None
    if not checked:
        yield _sum_up(decide_document(choice))
        return
    for status in [case.virus_status] if case.virus_status else Status:
        yield f"virus-status {status}: {_sum_up(decide_document(choice, status))}"


def _explain_mail(policy: Policy, proxy: str, given: dict[str, Any]) -> Iterator[str]:
    statuses = [given["virus-status"]] if "virus-status" in given else list(Status)
    for status in statuses:
        document = {key: given[key] for key in _OF_DOCUMENTS if key in given} | {"virus-status": status}
        mail = {key: value for key, value in given.items() if key not in _OF_DOCUMENTS}
        case = MailCase.model_validate({**mail, "documents": [document]})
        decision = sluice.decide(policy, proxy, case.facts())
        if len(statuses) == 1:
            yield from map(str, whole_trace(decision))
        yield f"virus-status {status}: {_sum_up(decision)}"


def _sum_up(decision: Decision) -> str:
    words = [str(decision.action)]
    words += [f"({decision.reason})"] if decision.reason else []
    words += [f"by {decision.acl}"] if decision.acl else []
    words += ["with quarantine"] if decision.quarantine else []
    for document in decision.documents if isinstance(decision, MailDecision) else ():
        words.append(f"- the document: {document.action} by {document.acl or 'no ACL'}")
    return " ".join(words)
