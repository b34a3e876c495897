"""The desktop as an addon: who is answered, who is refused, and what its commands say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mitmproxy import ctx, exceptions, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import taddons, tflow

from addons.desktop.desktop import Desktop
from addons.gateway import HttpGateway
from addons.wire.exchange import Clearance, exchange_of
from tests.addons.accounts import clean, refused
from tests.addons.test_gateway import EICAR, make


@dataclass
class InForce:
    """A policy in force, or none."""

    gateway: HttpGateway | None
    file: Path | None = None


@pytest.fixture
async def desktop() -> AsyncIterator[Desktop]:
    """At work over a gateway with the built-in engine."""
    gateway, _ = make()
    await gateway.open()
    made = Desktop()
    with taddons.context(made) as context:
        for name, value in (("onboarding", True), ("onboarding_host", "mitm.it")):
            context.options.add_option(name, type(value), value, "")
        made.serve(InForce(gateway))
        yield made
        made.done()
    await gateway.close()


def ask(url: str, client: str = "127.0.0.1", method: str = "GET") -> http.HTTPFlow:
    flow = tflow.tflow(req=http.Request.make(method, url))
    flow.client_conn.peername = (client, 1234)
    return flow


def test_a_local_client_gets_the_page(desktop: Desktop) -> None:
    """The answer is complete before any server is asked, and cleared as one of ours."""
    flow = ask("http://sluice.local/")
    desktop.requestheaders(flow)
    assert flow.response is not None
    assert flow.response.status_code == 200
    assert "http-proxy.H" in (flow.response.text or "")
    assert exchange_of(flow).response is Clearance.OURS


def test_a_stranger_is_refused(desktop: Desktop) -> None:
    """A client from elsewhere gets 403 and no word of the state."""
    flow = ask("http://sluice.local/", client="192.0.2.1")
    desktop.requestheaders(flow)
    assert flow.response is not None
    assert flow.response.status_code == 403
    assert "http-proxy.H" not in (flow.response.text or "")
    assert "engines" not in (flow.response.text or "")


def test_a_page_that_is_off_is_refused_to_all(desktop: Desktop) -> None:
    """With av_local_page=false there is neither page nor link, and still no way to a server of that name."""
    ctx.options.update(av_local_page=False)
    flow = ask("http://sluice.local/")
    assert desktop.link(flow, "id") is None
    desktop.requestheaders(flow)
    assert flow.response is not None
    assert flow.response.status_code == 403


def test_a_tunnel_is_refused(desktop: Desktop) -> None:
    """CONNECT to the name is 403 for everybody."""
    flow = ask("http://sluice.local:443/", method="CONNECT")
    desktop.http_connect(flow)
    assert flow.response is not None
    assert flow.response.status_code == 403


def test_other_hosts_are_left_alone(desktop: Desktop) -> None:
    """Nothing is answered for anybody else, nor over another addon's answer."""
    flow = ask("http://example.org/")
    desktop.requestheaders(flow)
    desktop.http_connect(flow)
    assert flow.response is None
    flow = ask("http://sluice.local/")
    flow.response = http.Response.make(407)
    desktop.requestheaders(flow)
    assert flow.response.status_code == 407


@pytest.mark.parametrize(("host", "refused"), [("Sluice.Local.", True), ("example.org", False)])
def test_no_server_of_that_name_is_asked(desktop: Desktop, host: str, refused: bool) -> None:
    """Whatever mode brought the name to a server connection, it ends before a name server is asked."""
    flow = tflow.tflow()
    flow.server_conn.address = (host, 80)
    data = ServerConnectionHookData(client=flow.client_conn, server=flow.server_conn)
    desktop.server_connect(data)
    assert (data.server.error is not None) is refused


def test_explain_logs_the_content_views_text(desktop: Desktop, caplog: pytest.LogCaptureFixture) -> None:
    """The whole decision, under the request's name without its query."""
    flow = ask("http://o/x?token=SECRET")
    flow.metadata["av.download"] = refused()
    with caplog.at_level("INFO"):
        desktop.explain([flow])
    assert "GET http://o/x\n  # refused: found Eicar" in caplog.text
    assert "doc-acl RADIO" in caplog.text
    assert "SECRET" not in caplog.text


async def finish(desktop: Desktop) -> None:
    await asyncio.gather(*desktop._tasks)


async def test_rescan_logs_and_keeps_what_it_found(desktop: Desktop, caplog: pytest.LogCaptureFixture) -> None:
    """What the engines say now stands in the log and on the flow, which keeps only so many lines."""
    flow = tflow.tflow(resp=http.Response.make(200, EICAR))
    flow.request.raw_content = b""
    flow.metadata |= {"av.download": clean(), "av.rescan": ["old"] * 10}
    with caplog.at_level("INFO"):
        desktop.rescan([flow])
        await finish(desktop)
    assert "download: found, 68 B" in caplog.text
    assert len(flow.metadata["av.rescan"]) == 10
    assert flow.metadata["av.rescan"][-1].startswith("download: found")


async def test_a_flow_without_bodies_is_told(desktop: Desktop, caplog: pytest.LogCaptureFixture) -> None:
    """Where there is nothing to scan, the command says that."""
    flow = tflow.tflow()
    flow.request.raw_content = b""
    with caplog.at_level("INFO"):
        desktop.rescan([flow])
        await finish(desktop)
    assert "there is nothing in it to scan" in caplog.text


def test_quarantine_needs_one(desktop: Desktop) -> None:
    """Without a quarantine in the policy the command fails with that word."""
    with pytest.raises(exceptions.CommandError, match="keeps nothing"):
        desktop.quarantine()


async def test_quarantine_lists_and_shows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The list and an unknown id are logged; the directory is read beside the loop."""
    folder = tmp_path / "q"
    folder.mkdir(mode=0o700)
    listed = {"name": "ALL", "antivirus": "AV", "quarantine": True}
    gateway, _ = make(listed, quarantine={"directory": str(folder)})
    await gateway.open()
    desktop = Desktop()
    desktop.serve(InForce(gateway))
    with caplog.at_level("INFO"):
        desktop.quarantine()
        desktop.quarantine("nothing")
        await finish(desktop)
    assert "quarantine: 0 entries, 0 B" in caplog.text
    assert "has no entry nothing" in caplog.text
    await gateway.close()


def test_commands_need_a_policy() -> None:
    """Before one is in force there are no engines to ask."""
    with pytest.raises(exceptions.CommandError, match="no policy"):
        Desktop().rescan([])


def test_commands_are_documented(desktop: Desktop) -> None:
    """mitmproxy knows each command by name, with a text for its help."""
    for name in ("av.explain", "av.rescan", "av.quarantine"):
        assert ctx.master.commands.commands[name].help
