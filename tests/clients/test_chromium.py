"""A real browser behind the gateway: pages, downloads, uploads, WebSockets and media, clean and infected."""

from __future__ import annotations

import io
import json
import struct
import wave
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.browser import Chromium, Page
from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply, drip, ranged
from tests.http import samples
from tests.http.policies import TRICKLE, builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine

Gateway = Callable[[str], Proxy]

pytestmark = pytest.mark.chromium

EICAR = json.dumps(samples.EICAR.decode())


@pytest.fixture
def proxy(gateway: Gateway) -> Proxy:
    """A gateway with the built-in engine."""
    return gateway(checked(builtin()))


@pytest.fixture
def page(chromium: Chromium, proxy: Proxy, tmp_path: Path) -> Iterator[Page]:
    """A page behind it."""
    with chromium.page(proxy, tmp_path) as opened:
        yield opened


@pytest.fixture
def slow_page(chromium: Chromium, gateway: Gateway, engine: SlowEngine, tmp_path: Path) -> Iterator[Page]:
    """A page behind a gateway that trickles, while its engine takes 0.7 s for a verdict."""
    trickling = gateway(checked(clamav(engine.port), TRICKLE))
    engine.delay = 0.7
    with chromium.page(trickling, tmp_path) as opened:
        yield opened


def html(body: str) -> Reply:
    """A page."""
    text = f"<!DOCTYPE html><title>test</title>{body}".encode()
    return Reply(steps=(text,), headers=[("Content-Type", "text/html; charset=utf-8")])


def png(width: int) -> bytes:
    """A picture so many pixels wide and 40 high, of noise that does not compress."""
    rows = b"".join(b"\0" + samples.clean(f"{width} {row}", 3 * width) for row in range(40))
    header = struct.pack(">IIBBBBB", width, 40, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("server", ["origin", "tls_origin", "h2_origin"])
def test_a_page_with_pictures_arrives(page: Page, request: pytest.FixtureRequest, server: str) -> None:
    """All of 20 pictures decode to their size, over HTTP/1, TLS and HTTP/2, with a length and without."""
    origin: Origin = request.getfixturevalue(server)
    for number in range(1, 21):
        framing = Framing.CHUNKED if number % 3 == 0 else Framing.LENGTH
        headers = [("Content-Type", "image/png")]
        origin.serve(f"/picture/{number}", Reply(steps=(png(number * 10),), headers=headers, framing=framing))
    page.open(origin.serve("/pictures", html("".join(f"<img src=/picture/{n}>" for n in range(1, 21)))))
    sizes = page.run("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert sizes == [number * 10 for number in range(1, 21)]


def test_an_infected_picture_leaves_the_rest_of_the_page(page: Page, origin: Origin) -> None:
    """The picture that is refused does not decode, the others do."""
    origin.serve("/mixed/good", Reply(steps=(png(30),), headers=[("Content-Type", "image/png")]))
    origin.serve("/mixed/bad", Reply(steps=(png(20) + samples.EICAR,), headers=[("Content-Type", "image/png")]))
    page.open(origin.serve("/mixed", html("<img src=/mixed/good><img src=/mixed/bad>")))
    assert page.run("[...document.images].map(image => image.naturalWidth)") == [30, 0]


def test_a_blocked_page_shows_the_block_page(page: Page, origin: Origin, proxy: Proxy) -> None:
    """Who opens an infected page sees ours, with status 403, the virus and the id that the record has."""
    url = origin.serve("/infected", html(f"<p>{samples.EICAR.decode()}"))
    page.open(url)
    assert page.run("performance.getEntriesByType('navigation')[0].responseStatus") == 403
    shown = page.run("document.body.innerText")
    record = proxy.record_of(url)
    assert record["id"] in shown
    assert record["virus"] in shown
    assert "STANDARD-ANTIVIRUS" not in page.run("document.documentElement.outerHTML")


def attachment(data: bytes, *, slow: bool = False) -> Reply:
    """Something that a browser downloads."""
    headers = [("Content-Type", "application/octet-stream"), ("Content-Disposition", "attachment; filename=x.bin")]
    return Reply(steps=drip(data, 4, 0.2) if slow else (data,), headers=[*headers, ("ETag", '"v1"')])


def test_a_download_that_trickles_is_completed(slow_page: Page, origin: Origin) -> None:
    """It comes slowly, is checked slowly, and is the origin's byte for byte."""
    data = samples.clean("browser download", 60_000)
    over, file = slow_page.download(origin.serve("/download", attachment(data, slow=True)))
    assert (over["state"], file.read_bytes() == data) == ("completed", True)


def test_a_download_that_is_cut_is_a_failure(slow_page: Page, origin: Origin, engine: SlowEngine) -> None:
    """It is never shown as completed and no file is left; who tries again sees the block page at once."""
    data = samples.infected("browser cut", 60_000)
    url = origin.serve("/download-cut", attachment(data))
    over, file = slow_page.download(url)
    assert over["state"] == "canceled"
    assert over["receivedBytes"] < len(data)
    assert not file.exists()
    scans = engine.streams
    slow_page.open(url)
    assert engine.streams == scans
    assert slow_page.run("performance.getEntriesByType('navigation')[0].responseStatus") == 403
    assert "Virus found" in slow_page.run("document.body.innerText")


def test_an_upload_is_checked(page: Page, origin: Origin) -> None:
    """A clean POST arrives, one with EICAR gets the 403, and the origin saw nothing of it."""
    page.open(origin.serve("/form", html("")))
    origin.serve("/form/good", Reply(steps=(b"thanks",)))
    origin.serve("/form/bad", Reply(steps=(b"thanks",)))
    post = "fetch({path}, {{method: 'POST', body: new Blob([{body}])}}).then(r => r.status)"
    assert page.run(post.format(path="'/form/good'", body="'x'.repeat(300000)")) == 200
    assert page.run(post.format(path="'/form/bad'", body=EICAR)) == 403
    assert [bytes(e.request.body) for e in origin.asked("/form/good")] == [b"x" * 300_000]
    assert origin.asked("/form/bad") == []


def test_a_web_socket_is_checked(page: Page, origin: Origin) -> None:
    """Messages are echoed; one with EICAR ends the connection and the origin does not get it."""
    page.open(origin.serve("/chat", html("")))
    script = """new Promise(done => {
      const seen = [], ws = new WebSocket('%s');
      ws.onopen = () => ws.send('hello');
      ws.onmessage = event => { seen.push(event.data); ws.send(seen.length < 3 ? 'again' : %s); };
      ws.onclose = event => done({seen, clean: event.wasClean && event.code === 1000});
    })"""
    url = origin.url("/echo/browser").replace("http", "ws")
    assert page.run(script % (url, EICAR)) == {"seen": ["hello", "again", "again"], "clean": False}
    assert bytes(origin.asked("/echo/browser")[-1].request.body) == b"helloagainagain"


def tone(seconds: int) -> bytes:
    """A WAV file, stereo, 192 kB a second."""
    packed = io.BytesIO()
    with wave.open(packed, "wb") as file:
        file.setparams((2, 2, 48_000, 0, "NONE", ""))
        file.writeframes(samples.clean("tone", 192_000) * seconds)
    return packed.getvalue()


SEEK = """new Promise((done, failed) => {
  const audio = document.querySelector('audio');
  audio.onerror = () => failed(new Error(audio.error.message));
  const seek = () => { audio.onseeked = () => audio.play().catch(failed); audio.currentTime = 50; };
  audio.ontimeupdate = () => audio.currentTime > 50 && done([audio.duration, audio.seekable.end(0)]);
  audio.readyState ? seek() : audio.onloadedmetadata = seek;
})"""


def play(page: Page, origin: Origin, path: str) -> str:
    """Play a recording of a minute from its 50th second; the recording's URL."""
    reply = ranged(tone(60))
    url = origin.serve(path, lambda request: wav(reply(request)))
    page.open(origin.serve(f"{path}/page", html(f"<audio preload=metadata src={path}></audio>")))
    assert page.run(SEEK) == [60, 60]
    return url


def test_a_recording_can_be_sought_in(page: Page, origin: Origin, proxy: Proxy) -> None:
    """The player knows how long it is, jumps near its end by a Range of its own, and plays from there."""
    url = play(page, origin, "/tone.wav")
    assert {e.request.header("Range") for e in origin.asked("/tone.wav")} == {None}
    proxy.wait_until(lambda: len(proxy.records_of(url)) > 1, "a second request for the recording")


def test_a_recording_too_large_to_check_can_be_sought_in(
    chromium: Chromium, gateway: Gateway, origin: Origin, tmp_path: Path
) -> None:
    """Where the policy accepts `skipped` the origin is asked for the piece that the player jumps to."""
    lax = gateway(checked(builtin(max_checked_size="1MiB"), "accept-antivirus-status: [skipped]\n"))
    with chromium.page(lax, tmp_path) as page:
        play(page, origin, "/large.wav")
    spans = [e.request.header("Range") for e in origin.asked("/large.wav")]
    assert spans[0] is None
    assert any(span and int(span.removeprefix("bytes=").partition("-")[0]) > 9_000_000 for span in spans)


def wav(reply: Reply) -> Reply:
    """The same as a WAV."""
    headers = [(name, value) for name, value in reply.headers if name != "Content-Type"]
    return Reply(
        status=reply.status, reason=reply.reason, steps=reply.steps, headers=[*headers, ("Content-Type", "audio/wav")]
    )


def test_a_range_by_script_is_a_piece_of_the_checked_whole(page: Page, origin: Origin) -> None:
    """fetch with a Range gets its 206 and the bytes; of an infected object it gets a 403."""
    data = samples.clean("fetched range", 200_000)
    page.open(origin.serve("/ranges-page", html("")))
    origin.serve("/ranges-good", ranged(data))
    origin.serve("/ranges-bad", ranged(samples.infected("fetched range", 200_000)))
    script = """fetch('%s', {headers: {Range: 'bytes=150000-150009'}})
      .then(async r => [r.status, [...new Uint8Array(await r.arrayBuffer())].slice(0, 10)])"""
    assert page.run(script % "/ranges-good") == [206, list(data[150_000:150_010])]
    assert page.run(script % "/ranges-bad")[0] == 403
