"""http://sluice.local/ and the way to it from a block page, through a real mitmdump."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy

HTML, JSON = ("-H", "Accept: text/html"), ("-H", "Accept: application/json")


@pytest.fixture
def proxy(gateway: Callable[[str], Proxy]) -> Proxy:
    """A gateway with the built-in engine and an ACL before the checking one."""
    return gateway(checked(builtin(), before="- name: RADIO\n  when: {url: '*/radio/*'}\n"))


def test_a_block_pages_id_leads_to_its_explanation(proxy: Proxy, origin: Origin) -> None:
    """The page's one link, followed, names the virus, the engine, every rule, and no query."""
    url = origin.serve("/local/eicar.com", Reply(steps=(samples.EICAR,)))
    page = curl(proxy, f"{url}?token=MARKER", *HTML)
    (link,) = re.findall(r'href="([^"]*)"', page.text)
    assert link == f"http://sluice.local/why/{page.headers['x-sluice-id']}"
    why = curl(proxy, link, *HTML)
    assert why.status == 200
    for word in ("Eicar", "virus-found", "CHECKED", "doc-acl RADIO: no match", "AV (builtin)"):
        assert word in why.text
    assert "MARKER" not in why.text
    account = json.loads(curl(proxy, link, *JSON).text)
    assert account["sha256"] == proxy.record_of(url)["sha256"]
    assert "why:       http://sluice.local/why/" in curl(proxy, url).text


def test_the_state_tells_the_engine_and_the_last_decision(proxy: Proxy, origin: Origin) -> None:
    """Gateway, policy file, the engine's proof, and the newest decision first."""
    url = origin.serve("/local/clean", Reply(steps=(b"clean",)))
    curl(proxy, url)
    proxy.record_of(url)
    state = json.loads(curl(proxy, "http://sluice.local/", *JSON).text)
    assert (state["gateway"], state["engines"][0]["state"]) == ("http-proxy.HTTP", "proven")
    assert state["policy"].endswith(".yaml")
    assert (state["decisions"][0]["object"], state["decisions"][0]["status"]) == (url, "free")
    assert curl(proxy, "http://SLUICE.local.:81/", *HTML).headers["content-security-policy"].startswith("default-src")


@pytest.mark.parametrize("url", ["https://sluice.local/", "http://sluice.local/"])
def test_the_name_leads_to_no_server(proxy: Proxy, url: str) -> None:
    """Neither a tunnel nor a plain request makes the gateway connect, or ask for an address."""
    since = len(proxy.lines)
    tunnel = ["--proxytunnel"] if url.startswith("http:") else []
    assert curl(proxy, url, *tunnel).exit == 56
    proxy.wait_for_line("CONNECT sluice.local:", since=since)
    assert not [line for line in proxy.lines[since:] if "server connect" in line]


def test_a_post_is_answered_without_its_body(proxy: Proxy) -> None:
    """There is nothing to send there: 405, and the connection goes on."""
    got = curl(proxy, "http://sluice.local/", "--data-binary", "x" * 100_000)
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


def test_a_head_has_no_body(proxy: Proxy) -> None:
    """The second request of the connection is answered, too: nothing was in the way."""
    got = curl(proxy, "http://sluice.local/", "-I", "http://sluice.local/refused", "-o", "/dev/null")
    assert (got.exit, got.status) == (0, 200)
