"""What a flow still holds, scanned again."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from addons.desktop.rescan import rescan
from addons.gateway import HttpGateway
from scanners.body import MemoryBody
from tests.addons.accounts import clean, refused
from tests.addons.test_gateway import EICAR, make


def kept(content: bytes | None, **headers: str) -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    flow.request.raw_content = b""
    assert flow.response is not None
    flow.response.headers = http.Headers(**headers)
    flow.response.raw_content = content
    return flow


async def lines(flow: http.HTTPFlow, *acls: dict[str, Any]) -> list[str]:
    gateway, notes = make(*acls)
    await gateway.open()
    found = [line async for line in rescan(gateway, flow)]
    assert gateway.room.used == 0
    assert notes.records == []
    await gateway.close()
    return found


@pytest.mark.parametrize("coded", [False, True])
async def test_kept_content_is_scanned(coded: bool) -> None:
    """What came through once and is known now is found, also under a coding; nothing is recorded."""
    flow = kept(gzip.compress(EICAR), Content_Encoding="gzip") if coded else kept(EICAR)
    (line,) = await lines(flow)
    assert line.startswith("download: found, 68 B; AV found Eicar-Test-Signature in ")
    assert line.endswith("it would be deny by ALL")


async def test_an_upload_is_scanned_too() -> None:
    """Both bodies have a line, and a clean one says so."""
    flow = kept(b"clean")
    flow.request.raw_content = EICAR
    upload, download = await lines(flow)
    assert upload.startswith("upload: found")
    assert download.startswith("download: free, 5 B")


async def test_a_streamed_flow_says_so() -> None:
    """Nothing was kept, and that is told instead of a verdict on nothing."""
    flow = kept(None)
    flow.metadata["av.download"] = clean()
    (line,) = await lines(flow)
    assert line.startswith("download: not scanned: it was streamed")


@pytest.mark.parametrize(("where", "words"), [(None, "it was not kept"), ("q" * 20, f"has it as {'q' * 20}")])
async def test_our_own_page_is_not_taken_for_the_object(where: str | None, words: str) -> None:
    """A refused download shows the block page, which is clean: it is not scanned, and the quarantine is named."""
    flow = kept(b"<html>refused</html>")
    flow.metadata |= {"av.download": refused(quarantine=where), "av.action": "deny"}
    (line,) = await lines(flow)
    assert line.startswith("download: not scanned: it was refused")
    assert words in line


async def test_the_answer_to_a_refused_upload_is_ours() -> None:
    """Neither the upload, which was not kept, nor the page in its answer is scanned."""
    flow = kept(b"<html>refused</html>")
    flow.request.raw_content = None
    flow.metadata |= {"av.upload": refused(direction="upload"), "av.action": "deny"}
    assert [line.split(":")[1] for line in await lines(flow)] == [" not scanned", " not scanned"]


@pytest.mark.parametrize("coding", ["gzip", "compress"])
async def test_what_cannot_be_decoded_is_no_verdict(coding: str) -> None:
    """A broken or unknown coding is told."""
    (line,) = await lines(kept(b"no gzip", Content_Encoding=coding))
    assert line.startswith("download: not scanned: ")


async def test_the_acl_of_now_decides() -> None:
    """An ACL without engines has nobody asked, and its answer is told."""
    (line,) = await lines(kept(EICAR), {"name": "SHUT", "action": "deny"})
    assert line == "download: no engine is asked; it would be deny by SHUT"


async def test_messages_of_a_websocket_are_scanned() -> None:
    """Each kept message is an object of its own."""
    flow = tflow.twebsocketflow()
    assert flow.websocket is not None
    flow.websocket.messages[-1].content = EICAR
    found = await lines(flow)
    assert [line.split(",")[0] for line in found[-3:]] == ["upload: free", "upload: free", "download: found"]


async def test_remembered_verdicts_do_not_answer() -> None:
    """A rescan asks the engine, whatever was said of the same bytes before."""
    gateway: HttpGateway
    gateway, _ = make()
    await gateway.open()
    (antivirus,) = gateway.antiviruses.values()
    bodies = [MemoryBody(b"the same") for _ in range(2)]
    assert [(await antivirus.check(body)).cached for body in bodies] == [False, True]
    asked: list[bool] = []
    check = antivirus.check

    async def watch(body: Any, *, fresh: bool = False) -> Any:
        report = await check(body, fresh=fresh)
        asked.append(report.cached)
        return report

    antivirus.check = watch  # type: ignore[method-assign]  # a look at what is said, no change to it
    assert [line async for line in rescan(gateway, kept(b"the same"))]
    await gateway.close()
    assert asked == [False]
