"""Flows in the policy's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow

from addons.description import announced_length, describe_download, describe_upload


def make(**headers: str) -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    flow.request = http.Request.make("GET", "http://evil.example/dir/a%20b.exe?q=1")
    assert flow.response is not None
    flow.response.headers = http.Headers(**headers)
    return flow


@pytest.mark.parametrize(("mode", "host"), [("regular", "evil.example"), ("transparent", "trusted.example")])
def test_a_host_header_renames_no_named_target(mode: str, host: str) -> None:
    """The Host header is looked at only where the target came as an address."""
    flow = make()
    flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    flow.request.headers["host"] = "trusted.example"
    facts = describe_download(flow)
    assert facts.host == host
    assert facts.url is not None
    assert facts.url.startswith(f"http://{host}/")


def test_the_name_comes_from_the_header_or_the_path() -> None:
    """Without folders, and whatever the server's system takes for one."""
    assert describe_download(make()).filename == "a b.exe"
    named = make(Content_Disposition='attachment; filename="..\\\\x/evil.doc"')
    assert describe_download(named).filename == "evil.doc"


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=60))
def test_no_header_breaks_it(value: str) -> None:
    """Whatever stands in Content-Disposition, there are facts, and no endless name."""
    flow = make()
    assert flow.response is not None
    flow.response.headers = http.Headers(((b"content-disposition", f"attachment; filename*={value}".encode()),))
    name = describe_download(flow).filename
    assert name is None or len(name) <= 255


@pytest.mark.parametrize(
    ("value", "length"),
    [("5", 5), ("0", 0), ("+5", None), ("5, 5", None), ("\u0665", None), ("9" * 19, None), ("", None)],
)
def test_only_a_plain_length_is_believed(value: str, length: int | None) -> None:
    """What readers could read in two ways is no length."""
    assert announced_length(http.Headers(((b"content-length", value.encode()),))) == length


def test_a_coded_length_is_not_the_engines() -> None:
    """The size is told only where the engine would get as many bytes; servers in IPv6 keep their brackets."""
    assert describe_download(make(Content_Length="9")).size == 9
    assert describe_download(make(Content_Length="9", Content_Encoding="gzip")).size is None
    flow = make()
    flow.request.host, flow.request.port = "2001:db8::1", 81
    assert describe_upload(flow).server == "[2001:db8::1]:81"
    assert describe_upload(flow).direction == "upload"
