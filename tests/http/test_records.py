"""What is written down: the audit record of every object, and the flow as mitmproxy's users see it."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy import http

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import TRICKLE, builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine

Gateway = Callable[[str], Proxy]
OwnGateway = Callable[..., Proxy]

with warnings.catch_warnings():
    # mitmproxy's own filters use names that pyparsing would like to be rid of.
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.io import FlowReader

FIELDS = {
    "time": str,
    "event": str,
    "proxy": str,
    "session": str,
    "id": str,
    "client": str,
    "direction": str,
    "object": str,
    "size": int,
    "sha256": str,
    "status": str,
    "engines": list,
    "acl": str,
    "action": str,
    "released": int,
    "ms": (int, float),
}


@pytest.fixture
def proxy(gateway: Gateway) -> Proxy:
    """A gateway with the built-in engine, and two ACLs before the checking one."""
    before = """\
- name: UNCHECKED
  when: {url: "*/unchecked*"}
- name: CLOSED
  when: {url: "*/closed*"}
  action: deny
"""
    return gateway(checked(builtin(), before=before))


def test_a_record_has_every_field(proxy: Proxy, origin: Origin) -> None:
    """The record of a clean download names who, what, by whom it was checked, and what became of it."""
    data = samples.clean("record", 5000)
    url = origin.serve("/record", Reply(steps=(data,), headers=[("Content-Type", "text/css; charset=utf-8")]))
    curl(proxy, url)
    record = proxy.record_of(url)
    for name, kind in FIELDS.items():
        assert isinstance(record.get(name), kind), name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", record["time"])
    assert (record["event"], record["proxy"]) == ("object", "http-proxy.HTTP")
    assert (record["direction"], record["status"], record["acl"]) == ("download", "free", "CHECKED")
    assert record["client"].startswith("127.0.0.1")
    assert str(origin.port) in record["server"]
    assert record["content_type"].startswith("text/css")
    assert (record["size"], record["sha256"]) == (5000, hashlib.sha256(data).hexdigest())
    (engine,) = record["engines"]
    assert {"name", "protocol", "version", "status", "virus", "ms", "cached", "coverage"} <= set(engine)
    assert (engine["name"], engine["protocol"], engine["status"]) == ("AV", "builtin", "free")
    assert engine["coverage"] == "test-signatures"


def test_every_object_has_one_record_and_ids_differ(proxy: Proxy, origin: Origin) -> None:
    """Three fetches make three records with three ids; one connection keeps its session."""
    url = origin.serve("/thrice", Reply(steps=(b"thrice",)))
    curl(proxy, url, url, url, "-o", "/dev/null", "-o", "/dev/null")
    records = proxy.wait_until(lambda: (r := proxy.records_of(url)) and len(r) == 3 and r, "3 records")
    assert len({r["id"] for r in records}) == 3
    assert len({r["session"] for r in records}) == 1


def test_the_denying_acl_is_recorded(proxy: Proxy, origin: Origin) -> None:
    """An ACL's `deny` is a 403 with reason `acl` and that ACL's name; the origin's bytes stay away."""
    url = origin.serve("/closed", Reply(steps=(b"closed content",)))
    got = curl(proxy, url)
    assert (got.status, b"closed content" in got.body) == (403, False)
    record = proxy.record_of(url)
    assert (record["acl"], record["action"], record["reason"]) == ("CLOSED", "deny", "acl")


def test_what_passes_unchecked_is_recorded_as_such(proxy: Proxy, origin: Origin) -> None:
    """An ACL without engines passes everything and says so: `skipped`, no engines."""
    url = origin.serve("/unchecked", Reply(steps=(samples.EICAR,)))
    assert curl(proxy, url).body == samples.EICAR
    record = proxy.record_of(url)
    assert (record["acl"], record["action"], record["engines"]) == ("UNCHECKED", "accept", [])
    assert record["status"] != "free"


def test_no_matching_acl_is_a_refusal(gateway: Gateway, origin: Origin) -> None:
    """Where the list is walked and nothing matches, the object is rejected with reason `no-acl`."""
    policy = builtin() + (
        "http-proxy:\n  HTTP:\n    listen: 127.0.0.1:8080\n    doc-acl:\n"
        '      - name: ONLY\n        when: {url: "*/only*"}\n        antivirus: [AV]\n'
    )
    proxy = gateway(policy)
    assert curl(proxy, origin.serve("/only", Reply(steps=(b"ok",)))).body == b"ok"
    url = origin.serve("/other", Reply(steps=(b"content of other",)))
    got = curl(proxy, url)
    assert (got.status, b"content of other" in got.body) == (403, False)
    assert proxy.record_of(url)["reason"] == "no-acl"


def test_secrets_are_in_no_record_and_no_page(proxy: Proxy, origin: Origin) -> None:
    """Query strings, credentials and cookies stay out of the log, the records and the page."""
    url = origin.serve("/secrets", Reply(steps=(samples.EICAR,)))
    with_login = url.replace("http://", "http://user:MARKER-1@")
    extra = ["-H", "Cookie: a=MARKER-2", "-H", "Authorization: Bearer MARKER-3", "-H", "X: MARKER-4"]
    got = curl(proxy, f"{with_login}?token=MARKER-5", *extra)
    assert got.status == 403
    assert b"MARKER" not in got.body
    record = proxy.record_of(url)
    assert "MARKER" not in str(record)
    assert record["object"] == url


def test_control_characters_are_escaped_in_records(proxy: Proxy, origin: Origin) -> None:
    """Bytes of a URL or content type that would act on a terminal or split a line are escaped."""
    headers = [("Content-Type", "text/\x1b[31mplain\x85")]
    url = origin.serve("/esc%1b%0a%e2%80%ae", Reply(steps=(b"esc",), headers=headers))
    curl(proxy, url)
    proxy.record_of(url)
    lines = [line for line in proxy.lines if line.startswith('{"') and "/esc" in line]
    assert lines
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202a\u202e\u2066" for c in "".join(lines))


@pytest.fixture
def flows(own_gateway: OwnGateway, tmp_path: Path):
    """Runs visits through a gateway of its own and gives the flows that mitmproxy saved, by their path."""

    def run(policy: str, visit: Callable[[Proxy], None]) -> dict[str, http.HTTPFlow]:
        dump = tmp_path / "flows"
        proxy = own_gateway(policy, f"save_stream_file={dump}")
        visit(proxy)
        proxy.stop()
        with dump.open("rb") as stream:
            return {f.request.path: f for f in FlowReader(stream).stream() if isinstance(f, http.HTTPFlow)}

    return run


def test_every_flow_carries_its_verdict(flows, origin: Origin, engine: SlowEngine) -> None:
    """Comment, marker and metadata tell the verdict, also where the body was cut or streamed."""

    def visit(proxy: Proxy) -> None:
        def get(path: str, data: bytes, framing: Framing = Framing.LENGTH) -> None:
            curl(proxy, origin.serve(path, Reply(steps=(data,), framing=framing)))

        get("/flow/clean", b"clean")
        get("/flow/large", samples.clean("flow", 2_000_000))
        get("/flow/found", samples.EICAR)
        get("/flow/skipped", samples.clean("flow skipped", 5_000_000))
        engine.delay = 0.5
        get("/flow/cut", samples.infected("flow cut", 50_000))
        engine.delay = 0.0

    seen = flows(checked(clamav(engine.port, max_checked_size="4MiB"), TRICKLE), visit)
    markers = {path: flow.marked for path, flow in seen.items()}
    assert markers["/flow/found"] == markers["/flow/cut"] == ":biohazard:"
    assert markers["/flow/skipped"] == ":hourglass:"
    assert not markers["/flow/clean"]
    assert not markers["/flow/large"]
    for path, word in (("clean", "free"), ("large", "free"), ("found", "found"), ("cut", "found")):
        flow = seen[f"/flow/{path}"]
        assert word in flow.comment or "Eicar" in flow.comment, flow.comment
        assert any(key.startswith("av.") for key in flow.metadata)
        assert word in str(flow.metadata)


def test_a_warning_marks_an_error(flows, origin: Origin) -> None:
    """A flow that was refused for want of an answer is marked `:warning:`."""
    policy = checked(clamav("/nonexistent/clamd.sock", timeout="1s"))
    seen = flows(policy, lambda p: curl(p, origin.serve("/flow/error", Reply(steps=(b"error",)))))
    assert seen["/flow/error"].marked == ":warning:"
    assert "error" in seen["/flow/error"].comment
