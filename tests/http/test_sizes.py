"""Around `max-checked-size`: exactly that size is checked, one byte more is skipped, known length or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply, Wait, drip
from tests.http import samples
from tests.http.curl import CUT, curl
from tests.http.policies import TRICKLE, builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine

Gateway = Callable[[str], Proxy]

MOST = 100_000
FRAMINGS = [Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE]
ACCEPT = "accept-antivirus-status: [skipped]\n"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [MOST - 1, MOST])
def test_up_to_the_size_an_object_is_checked(gateway: Gateway, origin: Origin, size: int, framing: Framing) -> None:
    """An object of exactly `max-checked-size` or less is checked: clean passes, infected does not."""
    proxy = gateway(checked(builtin(max_checked_size=str(MOST))))
    clean = samples.clean(f"{size} {framing}", size)
    good = origin.serve(f"/size/{size}-{framing}", Reply(steps=(clean,), framing=framing))
    assert curl(proxy, good).body == clean
    assert proxy.record_of(good)["status"] == "free"
    infected = samples.infected(f"{size} {framing}", size)
    bad = origin.serve(f"/size/bad-{size}-{framing}", Reply(steps=(infected,), framing=framing))
    assert curl(proxy, bad).headers["x-sluice-status"] == "found"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_above_the_size_an_object_is_skipped_and_refused(gateway: Gateway, origin: Origin, framing: Framing) -> None:
    """One byte more is `skipped`, and blocked where the ACL does not accept that."""
    proxy = gateway(checked(builtin(max_checked_size=str(MOST))))
    url = origin.serve(f"/over-{framing}", Reply(steps=(samples.clean("over", MOST + 1),), framing=framing))
    got = curl(proxy, url)
    assert (got.status, got.headers["x-sluice-status"]) == (403, "skipped")
    record = proxy.record_of(url)
    assert (record["status"], record["reason"], record["released"]) == ("skipped", "antivirus-status", 0)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_above_the_size_an_accepted_object_streams_whole(gateway: Gateway, origin: Origin, framing: Framing) -> None:
    """Where `skipped` is accepted, the object arrives unchanged and is recorded as skipped."""
    proxy = gateway(checked(builtin(max_checked_size=str(MOST)), ACCEPT))
    data = samples.clean(f"accepted {framing}", 3_000_000)
    url = origin.serve(f"/accepted-{framing}", Reply(steps=drip(data, 5, 0.02), framing=framing))
    got = curl(proxy, url)
    assert (got.exit, got.status, got.body == data) == (0, 200, True)
    record = proxy.record_of(url)
    assert (record["status"], record["action"]) == ("skipped", "accept")


def test_with_a_length_an_accepted_object_streams_at_once(gateway: Gateway, origin: Origin) -> None:
    """A Content-Length over the limit decides at once: bytes pass while the origin still sends."""
    proxy = gateway(checked(builtin(max_checked_size=str(MOST)), ACCEPT))
    data = samples.clean("at once", 200_000)
    url = origin.serve("/stream-at-once", Reply(steps=(data[:1000], Wait(2.0), data[1000:])))
    got = curl(proxy, url, "--max-time", "1")
    assert (got.exit, got.body) == (28, data[:1000])
    assert curl(proxy, url).body == data


def test_with_a_length_a_refusal_does_not_wait_for_the_body(gateway: Gateway, origin: Origin) -> None:
    """Not accepted, an object announced over the limit is refused at its headers."""
    proxy = gateway(checked(builtin(max_checked_size=str(MOST))))
    data = samples.clean("refused at once", 200_000)
    url = origin.serve("/refuse-at-once", Reply(steps=(Wait(3.0), data)))
    got = curl(proxy, url, "--max-time", "2")
    assert (got.exit, got.status) == (0, 403)


def test_growing_over_the_size_cuts_after_a_trickle(gateway: Gateway, origin: Origin, engine: SlowEngine) -> None:
    """Without a length the count decides, in the middle: what trickled is cut, and the engine is never asked."""
    proxy = gateway(checked(clamav(engine.port, max_checked_size=str(MOST)), TRICKLE))
    before = engine.streams
    data = samples.clean("growing", MOST + 10)
    url = origin.serve("/growing", Reply(steps=drip(data, 4, 0.2), framing=Framing.CHUNKED))
    got = curl(proxy, url)
    assert got.exit in CUT
    record = proxy.record_of(url)
    assert (record["status"], record["action"]) == ("skipped", "cut")
    assert engine.streams == before


def test_an_upload_over_the_size_is_refused(gateway: Gateway, origin: Origin, tmp_path: Path) -> None:
    """An unchecked upload does not reach the origin where `skipped` is not accepted, and does where it is."""
    (tmp_path / "file").write_bytes(data := samples.clean("big upload", MOST + 1))
    strict, lax = (gateway(checked(builtin(max_checked_size=str(MOST)), acl)) for acl in ("", ACCEPT))
    for number, how in enumerate([(), ("-H", "Transfer-Encoding: chunked")]):
        url = origin.serve(f"/big-upload/{number}", Reply(steps=(b"thanks",)))
        got = curl(strict, url, "-T", str(tmp_path / "file"), *how)
        assert (got.status, got.headers["x-sluice-status"]) == (403, "skipped")
        assert origin.asked(f"/big-upload/{number}") == []
        assert curl(lax, url, "-T", str(tmp_path / "file"), *how).body == b"thanks"
        assert bytes(origin.asked(f"/big-upload/{number}")[0].request.body) == data


def test_the_decoded_size_counts(gateway: Gateway, origin: Origin) -> None:
    """Under a content-coding it is the decoded body that must fit."""
    proxy = gateway(checked(builtin(max_checked_size=str(MOST))))
    headers = [("Content-Encoding", "gzip")]
    for size, status in ((MOST, 200), (MOST + 1, 403)):
        packed = samples.gzipped(bytes(size))
        url = origin.serve(f"/decoded/{size}", Reply(steps=(packed,), headers=headers))
        assert curl(proxy, url).status == status
