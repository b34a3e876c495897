"""Cases files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from policy.cases import load_cases
from policy.load import PolicyError
from policy.verdict import Status


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cases.yaml"
    path.write_text(text)
    return path


def test_every_fact_of_an_object_is_read(tmp_path: Path):
    """An object's case becomes the facts that the decisions take."""
    text = """
- name: all
  proxy: http-proxy.H
  document: {client: 10.0.0.1, user: eve, server: s, time: 2026-11-22T10:00, direction: upload, method: PUT,
    url: "http://e/a", host: e, content-type: text/plain, filename: a, size: 5GB, head: "MZ", virus-status: skipped}
  expect: {action: deny}
"""
    (case,), _ = load_cases(write(tmp_path, text))
    assert case.document is not None
    facts = case.document.facts()
    assert (facts.client, facts.user, facts.server, facts.at) == ("10.0.0.1", "eve", "s", datetime(2026, 11, 22, 10))
    assert (facts.direction, facts.method, facts.url, facts.host) == ("upload", "PUT", "http://e/a", "e")
    assert (facts.content_type, facts.filename, facts.size, facts.head) == ("text/plain", "a", 5 * 10**9, b"MZ")
    assert case.document.virus_status is Status.SKIPPED


def test_every_fact_of_a_mail_is_read(tmp_path: Path):
    """A mail's case becomes the facts that the decisions take."""
    text = """
- name: all
  proxy: imap4-proxy.I
  mail: {sender: a@b, recipients: c@d, direction: upload, size: 10, virus-status: unknown,
    documents: [{filename: a.zip, virus-status: found, virus-name: Eicar}, {content-type: text/plain}]}
  expect: {acl: VIRUS}
"""
    (case,), _ = load_cases(write(tmp_path, text))
    assert case.mail is not None
    facts = case.mail.facts()
    assert (facts.sender, facts.recipients, facts.direction, facts.size) == ("a@b", ("c@d",), "upload", 10)
    assert (facts.status, facts.viruses) == (Status.UNKNOWN, ("Eicar",))
    assert [d.status for d in facts.documents] == [Status.FOUND, Status.FREE]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\n", "1:1: policy: must be a list of cases, each beginning with `- name: ...`"),
        (
            "- {name: x, proxy: http-proxy.H, document: {}}\n",
            "1:3: x.expect: is missing; write for example `expect: {action: deny}`",
        ),
        (
            "- {name: x, proxy: http-proxy.H, document: {}, expect: {}}\n",
            "1:48: x.expect: is empty, so the case would prove nothing; write acl, action or both",
        ),
        (
            "- {name: x, proxy: http-proxy.H, expect: {acl: A}}\n",
            "1:3: x.document: write exactly one of document, mail, session, command",
        ),
        (
            "- {name: x, proxy: smtp-proxy.S, document: {}, expect: {acl: A}}\n",
            "1:34: x.document: is judged by http-proxy, ftp-proxy only, not by smtp-proxy.S",
        ),
        (
            "- {name: x, proxy: http-proxy.H, document: {urll: a}, expect: {acl: A}}\n",
            "1:45: x.document.urll: is no key here; did you mean url?",
        ),
        (
            "- {name: x, proxy: http-proxy.H, document: {time: noon}, expect: {acl: A}}\n",
            "1:45: x.document.time: 'noon' is no moment; write for example 2026-01-31T09:30",
        ),
    ],
)
def test_bad_cases_are_refused_like_bad_policies(tmp_path: Path, text: str, line: str):
    """A mistake in a cases file is told with its place."""
    path = write(tmp_path, text)
    with pytest.raises(PolicyError) as caught:
        load_cases(path)
    assert str(caught.value) == f"{path}:{line}"
