"""http://sluice.local/, request by request."""

from __future__ import annotations

import json

import pytest
from mitmproxy import http

from addons.desktop.decisions import Decisions
from addons.desktop.local_site import LocalSite
from tests.addons.accounts import EVIL, clean, refused

KINDS = ("text/html", "application/json", "text/plain")


def make(*accounts: dict[str, object], onboarding: str | None = "mitm.it") -> LocalSite:
    decisions = Decisions()
    for account in accounts:
        decisions.note(account)
    return LocalSite(decisions, lambda: None, lambda: None, lambda: onboarding)


def get(site: LocalSite, path: str, accept: str = "text/html", method: str = "GET") -> http.Response:
    return site.answer(http.Request.make(method, f"http://sluice.local{path}", headers={"Accept": accept}))


@pytest.mark.parametrize("accept", KINDS)
def test_why_explains_in_every_form(accept: str) -> None:
    """Virus, rule, engine and trace of a remembered id, as the client likes to read it."""
    account = refused()
    response = get(make(account), f"/why/{account['id']}", accept)
    assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, accept)
    for word in ("Eicar", "DOCUMENTS", "CLAM", "doc-acl RADIO", account["id"]):
        assert word in (response.text or "")
    if accept == "application/json":
        assert json.loads(response.text or "") == account


@pytest.mark.parametrize("accept", KINDS)
@pytest.mark.parametrize("path", ["/why/hoemz234eg7murpdvfcu", "/why/", "/why/../x", "/why/%3Cscript%3E", "/nothing"])
def test_what_is_not_there_is_not_found(path: str, accept: str) -> None:
    """An id that is not remembered and a page that does not exist are 404, and nothing of the path is repeated."""
    response = get(make(), path, accept)
    assert response.status_code == 404
    assert "script" not in (response.text or "")


def test_the_state_lists_the_newest_first_without_queries() -> None:
    """Of each decision the JSON form has the record's names, and no URL has its query."""
    accounts = [clean(), refused()]
    response = get(make(*accounts), "/", "application/json")
    assert "SECRET" not in (response.text or "")
    state = json.loads(response.text or "")
    assert [d["id"] for d in state["decisions"]] == [a["id"] for a in reversed(accounts)]
    assert (state["counts"], state["refusals"]) == ({"free": 1, "found": 1}, 1)
    assert state["gateway"] is None


def test_refused_lists_what_did_not_pass() -> None:
    """The list of refusals has nothing else."""
    account = refused()
    response = get(make(clean(), account), "/refused", "application/json")
    assert [d["id"] for d in json.loads(response.text or "")["decisions"]] == [account["id"]]


def test_mitmproxys_certificate_is_linked_where_it_is_given() -> None:
    """With the onboarding pages on there is a link to them, else a word that they are off."""
    assert 'href="http://mitm.it/"' in (get(make(), "/").text or "")
    assert "onboarding" in (get(make(onboarding=None), "/").text or "")


@pytest.mark.parametrize("path", ["/", "/refused", "/why/{id}"])
def test_pages_escape_everything(path: str) -> None:
    """Whatever peers and engines put into names, no element, no attribute and no control character comes of it."""
    account = refused(virus=EVIL, object="http://o/" + EVIL, acl=EVIL, content_type=EVIL, client=EVIL)
    account["engines"][0] |= {"name": EVIL, "version": EVIL, "detail": EVIL}
    account["trace"] = [EVIL]
    text = get(make(account), path.format(id=account["id"])).text or ""
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert not set("\x1b\u202e") & set(text)
    assert "{body}" in text


def test_pages_load_nothing_and_cannot_be_framed() -> None:
    """No script, nothing from elsewhere, one style by its digest, not kept by caches and in no frame."""
    response = get(make(refused()), "/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "style-src 'sha256-" in policy
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    text = response.text or ""
    assert not any(
        word in text for word in ("<script", "<img", "<link", "<iframe", "<form", "style=", "url(", "@import")
    )


def test_nothing_can_be_sent() -> None:
    """All but GET and HEAD is 405, and HEAD has no body."""
    response = get(make(), "/", method="POST")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    response = get(make(), "/", method="HEAD")
    assert (response.status_code, response.raw_content) == (200, b"")


def test_a_query_changes_nothing() -> None:
    """What stands behind a question mark is not looked at."""
    assert get(make(), "/?x=1").text == get(make(), "/").text
