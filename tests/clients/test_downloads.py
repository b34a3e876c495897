"""Download programs through the gateway: what they have half of they complete, and what is cut they give up soon."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.programs import Run, run
from tests.fakes.origin import Origin
from tests.fakes.origin_script import ranged
from tests.http import samples
from tests.http.policies import CHUNK, LIMIT, TRICKLE, builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine

Gateway = Callable[[str], Proxy]

SIZE = 400_000

CURL = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "", "--output", "file"]
RESUMING = {
    "curl": [*CURL, "--continue-at", "-"],
    "wget": ["wget", "--continue", "--output-document=file", "--tries=1"],
}
WITH = [pytest.param("curl"), pytest.param("wget", marks=pytest.mark.wget)]


def fetch(command: list[str], proxy: Proxy, url: str, folder: Path) -> Run:
    """Run a download program that takes its proxy from the environment."""
    return run([*command, url], folder, {"http_proxy": proxy.address})


@pytest.mark.parametrize("program", WITH)
def test_half_a_file_is_completed(gateway: Gateway, origin: Origin, tmp_path: Path, program: str) -> None:
    """The program's Range is answered with the piece of the checked whole, and the file is the origin's."""
    data = samples.clean("resumed", SIZE)
    (tmp_path / "file").write_bytes(data[:150_000])
    proxy = gateway(checked(builtin()))
    url = origin.serve(f"/resume/{program}", ranged(data))
    done = fetch(RESUMING[program], proxy, url, tmp_path)
    assert (done.exit, (tmp_path / "file").read_bytes() == data) == (0, True), done.output
    assert [e.request.header("Range") for e in origin.asked(f"/resume/{program}")] == [None]
    assert proxy.record_of(url)["size"] == SIZE


@pytest.mark.parametrize("program", WITH)
def test_half_of_an_infected_file_stays_half(gateway: Gateway, origin: Origin, tmp_path: Path, program: str) -> None:
    """Whoever asks for the clean-looking rest of an infected file gets a 403 and keeps what there was."""
    data = samples.infected("resumed bad", SIZE)
    (tmp_path / "file").write_bytes(data[: SIZE - 40])  # the rest is a part of EICAR
    url = origin.serve(f"/resume-bad/{program}", ranged(data))
    done = fetch(RESUMING[program], gateway(checked(builtin())), url, tmp_path)
    assert done.exit == (22 if program == "curl" else 8)
    assert "403" in done.output
    assert (tmp_path / "file").read_bytes() == data[: SIZE - 40]


def test_a_player_seeks(gateway: Gateway, origin: Origin) -> None:
    """Ranges as a player asks for them, on one connection: the beginning, the index at the end, the middle."""
    data = samples.clean("film", 3_000_000)
    proxy = gateway(checked(builtin()))
    url = origin.serve("/film", ranged(data))
    player = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    for start, stop in ((0, len(data)), (2_900_000, len(data)), (1_500_000, 1_600_000), (0, 1), (1_600_000, 1_600_001)):
        last = "" if stop == len(data) else stop - 1
        player.request("GET", url, headers={"Range": f"bytes={start}-{last}", "Accept-Encoding": "identity"})
        answer = player.getresponse()
        assert (answer.status, answer.getheader("Content-Range")) == (206, f"bytes {start}-{stop - 1}/{len(data)}")
        assert answer.read() == data[start:stop]
    player.close()


def test_a_player_gets_no_piece_of_an_infected_film(gateway: Gateway, origin: Origin) -> None:
    """Every range of it is a 403, the connection goes on, and EICAR's halves never leave."""
    data = samples.infected("bad film", 300_000)
    proxy = gateway(checked(builtin()))
    url = origin.serve("/bad-film", ranged(data))
    player = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    for span in ("0-", "0-99", f"{len(data) - 68}-{len(data) - 35}", f"{len(data) - 34}-"):
        player.request("GET", url, headers={"Range": f"bytes={span}"})
        answer = player.getresponse()
        assert (answer.status, answer.getheader("X-Sluice-Status")) == (403, "found")
        assert samples.EICAR[:34] not in (page := answer.read())
        assert samples.EICAR[34:] not in page
    player.close()


RETRYING = {
    # curl's own judgement tries neither a cut nor a 403 again; told to try all errors it does so, as often as told.
    "curl": [*CURL, "--retry", "2", "--retry-all-errors", "--retry-delay", "1", "--continue-at", "-"],
    "wget": ["wget", "--tries=20", "--waitretry=0", "--continue", "--output-document=file"],
    # lftp itself takes a cut over HTTP for fatal; users let it go on like this.
    "lftp": ["lftp", "-c", "repeat -c 3 -d 0.2 --until-ok "],
}


def retrying(program: str, url: str) -> list[str]:
    """The command of a program that would try twenty times."""
    command = RETRYING[program]
    return [*command[:-1], command[-1] + f"get -c {url} -o file"] if program == "lftp" else [*command, url]


@pytest.mark.parametrize(
    "program",
    [
        *WITH,
        pytest.param("lftp", marks=pytest.mark.lftp),
    ],
)
def test_a_program_that_tries_again_is_told_no(
    gateway: Gateway, engine: SlowEngine, origin: Origin, tmp_path: Path, program: str
) -> None:
    """After the cut the next answer is the page at once, without a check; the program gives up with no more bytes."""
    proxy = gateway(checked(clamav(engine.port), TRICKLE))
    engine.delay = 0.7
    data = samples.infected(program, 16_000)
    url = origin.serve(f"/cut/{program}", ranged(data))
    scans, began = engine.streams, time.monotonic()
    done = run(retrying(program, url), tmp_path, {"http_proxy": proxy.address})
    assert done.exit != 0
    assert time.monotonic() - began < 5
    assert "403" in done.output
    left = (tmp_path / "file").read_bytes() if (tmp_path / "file").exists() else b""
    assert data.startswith(left)
    assert len(left) <= min(LIMIT, len(data) - CHUNK)
    first, *later = proxy.wait_until(
        lambda: records if len(records := proxy.records_of(url)) > 1 else None, "a second record"
    )
    assert (first["action"], first["reason"]) == ("cut", "virus-found")
    assert {(r["action"], r["status"], r["released"]) for r in later} == {("deny", "found", 0)}
    assert engine.streams == scans + 1
    assert len(later) <= 2


def test_a_changed_object_is_checked_anew(gateway: Gateway, engine: SlowEngine, origin: Origin, tmp_path: Path) -> None:
    """What was cut is refused for its validators alone: a repaired file under the same URL arrives."""
    proxy = gateway(checked(clamav(engine.port), TRICKLE))
    engine.delay = 0.7
    url = origin.serve("/repaired", ranged(samples.infected("repaired", 16_000)))
    assert fetch(CURL, proxy, url, tmp_path).exit == 18
    engine.delay = 0.0
    assert fetch(CURL, proxy, url, tmp_path).exit == 22
    origin.serve("/repaired", ranged(data := samples.clean("repaired", 16_000), '"v2"'))
    done = fetch(CURL, proxy, url, tmp_path)
    assert (done.exit, (tmp_path / "file").read_bytes() == data) == (0, True), done.output
