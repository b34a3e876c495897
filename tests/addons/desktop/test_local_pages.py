"""The pages' parts that need a gateway's state."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest

from addons.desktop.local_pages import headers, render_note, render_refused, render_state
from tests.addons.accounts import clean, refused

ENGINE: dict[str, Any] = {
    "name": "CLAM",
    "engine": "clamd at 127.0.0.1:3310",
    "state": "proven",
    "proven": True,
    "limit": 5 << 20,
    "coverage": "full",
    "failure": "",
    "version": "ClamAV 1.4.6/27000/x",
    "database_age_hours": 5.0,
    "load": 2,
}


def render(**changed: Any) -> str:
    state = {"gateway": "http-proxy.H", "policy": "p.yaml", "banners": ["test signatures only"], "transfers": 3}
    return render_state({**state, "spooled": 9, "engines": [{**ENGINE, **changed}]}, {"free": 4}, (), None)


def test_the_state_names_gateway_policy_and_engines() -> None:
    """Gateway, policy, banner, counts, and of an engine its place, proof, version, database and load."""
    page = render()
    for word in ("http-proxy.H", "p.yaml", "test signatures only", "3 transfers, 9 B", "4 free", "127.0.0.1:3310"):
        assert word in page
    for word in ("up to 5 MiB", "ClamAV 1.4.6/27000/x", "database 5 h old", "2 under way"):
        assert word in page


def test_an_engine_that_is_down_is_told_with_its_reason() -> None:
    """What cannot be used is no green badge, and the failure stands beside it."""
    page = render(proven=False, state="not proven", failure="connection refused", limit=None)
    assert '<span class="badge bad">not usable</span>' in page
    assert "connection refused" in page
    assert "finds EICAR" not in page


@pytest.mark.parametrize(
    ("account", "badge"),
    [
        (clean(), '<span class="badge good">free</span>'),
        (clean(status=None), '<span class="badge odd">unchecked</span>'),
        (clean(status="skipped"), '<span class="badge odd">skipped</span>'),
        (refused(), '<span class="badge bad">found</span>'),
        (refused(status=None), '<span class="badge bad">refused</span>'),
    ],
)
def test_only_what_was_found_clean_is_green(account: dict[str, Any], badge: str) -> None:
    """What passed without a check has another colour and its own word, as has what a rule refused."""
    assert badge in render_refused([account])


@pytest.mark.parametrize(("hours", "words"), [(47.5, "47.5 h old"), (240.0, "10 days old"), (None, None)])
def test_the_databases_age_is_readable(hours: float | None, words: str | None) -> None:
    """Hours, then days; without a known age none is claimed."""
    page = render(database_age_hours=hours)
    assert (words in page) if words else ("database" not in page)


def test_the_style_is_the_one_that_the_policy_allows() -> None:
    """The digest in the Content-Security-Policy is that of the style on the page."""
    style = re.search(r"<style>(.*?)</style>", render_note("T", "text"), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in headers()["Content-Security-Policy"]
