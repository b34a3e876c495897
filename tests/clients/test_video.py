"""A player of films in a real browser: it learns the length, jumps by Ranges of its own, and shows pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clients.browser import Chromium, Page
from tests.clients.webm import film
from tests.fakes.origin import Origin
from tests.fakes.origin_script import Handler, Reply, ranged
from tests.http import samples
from tests.http.conftest import Gateways
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy

Gateway = Callable[[str], Proxy]
Factory = pytest.TempPathFactory

pytestmark = pytest.mark.chromium

SECONDS, WIDTH, HEIGHT = 60, 64, 48
FILLING = 200_000  # bytes a second: a player must not have all of it before it jumps

# Chromium's own encoder paints the film: a grey that tells the second, each picture a keyframe.
PAINT = """(async (seconds, width, height) => {
  const chunks = [], canvas = new OffscreenCanvas(width, height), brush = canvas.getContext('2d');
  const encoder = new VideoEncoder({
    error: error => { throw error; },
    output: chunk => { const data = new Uint8Array(chunk.byteLength); chunk.copyTo(data);
                       chunks.push(btoa(String.fromCharCode(...data))); },
  });
  encoder.configure({codec: 'vp8', width, height});
  for (let second = 0; second < seconds; second++) {
    brush.fillStyle = `rgb(${second * 4}, ${second * 4}, ${second * 4})`;
    brush.fillRect(0, 0, width, height);
    const frame = new VideoFrame(canvas, {timestamp: second * 1e6});
    encoder.encode(frame, {keyFrame: true});
    frame.close();
  }
  await encoder.flush();
  return chunks;
})"""

# Jump, wait until the picture is there, and measure how bright it is.
JUMP = """new Promise((done, failed) => {
  const video = document.querySelector('video');
  video.onerror = () => failed(new Error(video.error.message));
  const seek = () => {
    video.onseeked = () => {
      const canvas = new OffscreenCanvas(8, 8), brush = canvas.getContext('2d');
      brush.drawImage(video, 0, 0, 8, 8);
      done([video.duration, video.videoWidth, Math.round(brush.getImageData(4, 4, 1, 1).data[0] / 4)]);
    };
    video.currentTime = %s;
  };
  video.readyState ? seek() : video.onloadedmetadata = seek;
})"""


@pytest.fixture(scope="module")
def frames(chromium: Chromium, gateways: Gateways, origin: Origin, tmp_path_factory: Factory) -> list[bytes]:
    """The film's pictures, made once, on a page of 127.0.0.1: encoders are for trustworthy origins."""
    with chromium.page(gateways.get(checked(builtin())), tmp_path_factory.mktemp("paint")) as page:
        page.open(origin.serve("/studio", Reply(headers=[("Content-Type", "text/html")])))
        return [base64.b64decode(c) for c in page.run(f"{PAINT}({SECONDS}, {WIDTH}, {HEIGHT})")]


def as_film(data: bytes) -> Handler:
    """Serves it with its type, whole or by ranges."""
    serve = ranged(data)

    def answer(request: object) -> Reply:
        reply = serve(request)  # type: ignore[arg-type]  # passed through
        headers = [(name, value) for name, value in reply.headers if name != "Content-Type"]
        return replace(reply, headers=[*headers, ("Content-Type", "video/webm")])

    return answer


def watch(page: Page, origin: Origin, path: str, data: bytes) -> str:
    """Open a page with the film in it; the film's URL."""
    url = origin.serve(path, as_film(data))
    text = f"<!DOCTYPE html><video preload=metadata muted src={path}></video>".encode()
    page.open(origin.serve(f"{path}/page", Reply(steps=(text,), headers=[("Content-Type", "text/html")])))
    return url


def test_a_film_can_be_sought_in(
    chromium: Chromium, gateway: Gateway, origin: Origin, frames: list[bytes], tmp_path: Path
) -> None:
    """Jumps near the end and back show the second that was jumped to; each piece is cut from the checked whole."""
    proxy = gateway(checked(builtin()))
    data = film(frames, [samples.clean(f"film {n}", FILLING) for n in range(SECONDS)], width=WIDTH, height=HEIGHT)
    with chromium.page(proxy, tmp_path) as page:
        url = watch(page, origin, "/film.webm", data)
        seen = [page.run(JUMP % second) for second in (55.1, 20.1, 40.1)]
    assert [(duration, width) for duration, width, _ in seen] == [(SECONDS, WIDTH)] * 3
    # A lossy encoder changes a grey by a few steps; the places lie further apart.
    assert all(abs(grey - second) <= 5 for (_, _, grey), second in zip(seen, (55, 20, 40), strict=True)), seen
    asked = origin.asked("/film.webm")
    assert {e.request.header("Range") for e in asked} == {None}
    records = proxy.wait_until(lambda: r if len(r := proxy.records_of(url)) > 1 else None, "a record of a jump")
    # A player that jumps breaks off what it was fetching, before its first byte or amid it.
    passed = [(r["status"], r["action"]) == ("free", "accept") for r in records]
    assert any(passed)
    assert all(free or r["reason"] == "client-gone" for free, r in zip(passed, records, strict=True)), records


def test_an_infected_film_does_not_begin(
    chromium: Chromium, gateway: Gateway, origin: Origin, frames: list[bytes], tmp_path: Path
) -> None:
    """With EICAR in its last second the player gets no picture at all, whatever piece it asks for."""
    filling = [*(samples.clean(f"film {n}", 2000) for n in range(SECONDS - 1)), samples.infected("film", 2000)]
    proxy = gateway(checked(builtin()))
    with chromium.page(proxy, tmp_path) as page:
        url = watch(page, origin, "/bad.webm", film(frames, filling, width=WIDTH, height=HEIGHT))
        state = page.run(
            "new Promise(done => { const video = document.querySelector('video');"
            " const end = () => done([video.readyState, video.videoWidth]);"
            " video.error || video.networkState === 3 ? end() : video.onerror = end; })"
        )
    assert state == [0, 0]
    assert proxy.record_of(url)["status"] == "found"
