"""Through an http-proxy: downloads from a server of our own on loopback, and an upload to it.

Rules of this file: a download has passed where its bytes are in the answer, an upload where the server has them;
refused is only what the gateway says it refused. EICAR is asked for over several connections: each may end at another
worker.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import time
from dataclasses import dataclass

from avsluice.diagnosis import CLEAN, INFECTED, ZIPPED
from avsluice.passages.origin import Origin
from avsluice.passages.passage import Fate
from avsluice.passages.visit import NotTried, Visit, close, closing
from policy.ask import decide
from policy.decision import Decision
from policy.facts import ObjectFacts
from policy.verdict import Status
from scanners.body import MemoryBody

ROUNDS = 8
_MOST = 1 << 20
_WORST = (Fate.DELIVERED, Fate.FAILED, Fate.DEFERRED, Fate.REFUSED)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    said: str | None
    body: bytes

    def __str__(self) -> str:
        return f"{self.status} {self.reason}" + (f", {self.said}" if self.said else "")


async def visit_web(visit: Visit) -> None:
    """Fills `visit.passages`."""
    async with Origin() as origin:
        async with visit.bounded():
            await _knock(visit)
        if visit.passages:
            return
        async with visit.bounded():
            await _fetch(visit, origin, "clean", CLEAN, 1)
        # Half of what one client may have: others may come from here, too.
        rounds = max(1, min(ROUNDS, visit.gateway.limits.per_client // 2))
        for what, body in (("EICAR", INFECTED), ("EICAR in a zip", ZIPPED)):
            async with visit.bounded():
                await _fetch(visit, origin, what, body, rounds)
        async with visit.bounded():
            await _send(visit, origin)


async def _knock(visit: Visit) -> None:
    """NotTried where nobody is there, or where our server could not be asked through it."""
    if visit.gateway.server:
        raise NotTried(f"it fetches from {visit.gateway.server[0]} only, not from this command's own server")
    if visit.gateway.tls.mode != "none":
        raise NotTried("TLS towards clients is not built yet")
    await close((await visit.connect())[1])


async def _fetch(visit: Visit, origin: Origin, what: str, body: MemoryBody, rounds: int) -> None:
    content, infected = body.read(0, body.size), body is not CLEAN
    times = f", {rounds} times" if rounds > 1 else ""
    visit.begin(f"{what}, downloaded{times}", infected=infected)
    urls = [origin.url(content) for _ in range(rounds)]
    ends = await asyncio.gather(*(_fetch_one(visit, url, content, infected=infected) for url in urls))
    fate, said, ms = min(ends, key=lambda end: _WORST.index(end[0]))
    decision = _decide(visit, "download", urls[0], content, infected=infected)
    visit.end(fate, said, decision, max(ms, *(end[2] for end in ends)) if rounds > 1 else ms)


async def _fetch_one(visit: Visit, url: str, content: bytes, *, infected: bool) -> tuple[Fate, str, float]:
    began = time.monotonic()
    answer = await _ask(visit, "GET", url)
    arrived = content in answer.body if infected else content == answer.body and answer.status == 200
    return _tell(answer, arrived=arrived), str(answer), (time.monotonic() - began) * 1000


async def _send(visit: Visit, origin: Origin) -> None:
    url, content = origin.url(), INFECTED.read(0, INFECTED.size)
    visit.begin("EICAR, uploaded", infected=True)
    answer = await _ask(visit, "POST", url, content)
    arrived = content in (origin.taken(url) or b"")
    visit.end(_tell(answer, arrived=arrived), str(answer), _decide(visit, "upload", url, content, infected=True))


def _tell(answer: _Answer, *, arrived: bool) -> Fate:
    if arrived:
        return Fate.DELIVERED
    if answer.said is None:
        return Fate.FAILED
    return Fate.DEFERRED if answer.status == 503 else Fate.REFUSED


async def _ask(visit: Visit, method: str, url: str, body: bytes = b"") -> _Answer:
    """OSError, ValueError where nothing comes that is an answer."""
    reader, writer = await visit.connect()
    host = url.split("/")[2]
    head = f"{method} {url} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\n"
    if method == "POST":
        head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n"
    async with closing(writer):
        writer.write(head.encode() + b"\r\n" + body)
        return _parse(await _read_all(reader))


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while len(data) < _MOST and (piece := await reader.read(65536)):
        data += piece
    return data


def _parse(data: bytes) -> _Answer:
    if not data:
        raise OSError("it closed the connection without an answer")
    response = http.client.HTTPResponse(_Bytes(data))  # type: ignore[arg-type]  # it takes no more of a socket
    try:
        response.begin()
        body = response.read()
    except http.client.IncompleteRead as cut:
        body = cut.partial
    except http.client.HTTPException as why:
        raise ValueError(f"what came is no HTTP: {why!r}") from why
    return _Answer(response.status, response.reason, response.getheader("X-Sluice-Status"), body)


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _decide(visit: Visit, direction: str, url: str, content: bytes, *, infected: bool) -> Decision:
    facts = ObjectFacts(
        direction="upload" if direction == "upload" else "download",
        client=visit.client,
        server="127.0.0.1",
        host="127.0.0.1",
        method="POST" if direction == "upload" else "GET",
        url=url,
        filename=url.rpartition("/")[2],
        content_type="application/octet-stream",
        size=len(content),
        head=content,
    )
    return decide(visit.policy, visit.label, facts, Status.FOUND if infected else Status.FREE)
