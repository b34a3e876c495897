"""1 GB through the gateway, checked and unchecked: what it holds in memory stays small on every transport."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Fill, Framing, Reply, fill_digest, play_fill
from tests.http.curl import curl, curl_command, environment
from tests.http.policies import TRICKLE, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine
from tests.http.test_client_gone import wait_until
from tests.http.wire_h2 import H2Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE = 1_000_000_000
ROOM = 32 << 20
OwnGateway = Callable[..., Proxy]

TRANSPORTS = {
    "h1-length": ("origin", Framing.LENGTH),
    "h1-chunked": ("origin", Framing.CHUNKED),
    "tls": ("tls_origin", Framing.LENGTH),
    "h2": ("h2_origin", Framing.LENGTH),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A gateway whose memory at rest is known: after a first request, and after the engine's proof."""

    proxy: Proxy
    idle: int

    def assert_small(self) -> None:
        """The peak since the measurement began is within the room."""
        grown = self.proxy.peak_memory() - self.idle
        assert grown <= ROOM, f"{grown / (1 << 20):.1f} MiB above idle"


def measured(proxy: Proxy, origin: Origin, ca: str) -> Measured:
    """Warm the gateway up on that origin's transport, then begin the measurement."""
    warm = curl(proxy, origin.serve("/warm", Reply(steps=(Fill(300_000),))), "--cacert", ca)
    assert warm.status == 200, warm
    idle = proxy.memory()
    proxy.reset_peak()
    return Measured(proxy, idle)


def fetch_digest(proxy: Proxy, url: str, ca: str) -> tuple[int, str]:
    """curl's exit status and the SHA-256 of what it got, without keeping it."""
    command = curl_command(proxy, url, "--cacert", ca, "--max-time", "200")
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as client:
        done = subprocess.run(["sha256sum"], stdin=client.stdout, capture_output=True, text=True)
    return client.returncode, done.stdout.split()[0]


@pytest.fixture
def skipping(own_gateway: OwnGateway, engine: SlowEngine) -> Proxy:
    """A gateway that lets pass what is too large to check."""
    limited = clamav(engine.port, max_checked_size="1MiB")
    return own_gateway(checked(limited, TRICKLE + "accept-antivirus-status: [skipped]\n"))


@pytest.fixture
def passing(own_gateway: OwnGateway, engine: SlowEngine) -> Proxy:
    """A gateway that lets pass what its first ACL names."""
    before = '- name: UNCHECKED\n  when: {url: ["*/warm*", "*/unchecked*", "*/window*"]}\n'
    return own_gateway(checked(clamav(engine.port), before=before))


@pytest.fixture
def checking(own_gateway: OwnGateway, engine: SlowEngine) -> Proxy:
    """A gateway that checks bodies of up to 1 GB, proven: the limit probe has run."""
    limited = clamav(engine.port, max_checked_size=str(SIZE), timeout="120s")
    proxy = own_gateway(checked(limited, TRICKLE))
    # The probe of the rest runs behind `ready`; its bodies are those that come without a request.
    assert wait_until(lambda: engine.streams > 0 and engine.open == 0, 60)
    return proxy


@pytest.mark.parametrize("transport", ["h1-chunked", "h2"])
def test_1_gb_that_is_skipped(skipping: Proxy, request: pytest.FixtureRequest, transport: str, client_ca: str) -> None:
    """Streamed past the engines, 1 GB arrives whole in at most 32 MB."""
    name, framing = TRANSPORTS[transport]
    origin = request.getfixturevalue(name)
    url = origin.serve(f"/skipped/{transport}", Reply(steps=(Fill(SIZE),), framing=framing))
    state = measured(skipping, origin, client_ca)
    assert fetch_digest(skipping, url, client_ca) == (0, fill_digest(SIZE))
    state.assert_small()


@pytest.mark.parametrize("transport", ["h1-length", "h2"])
def test_1_gb_that_passes_unchecked(
    passing: Proxy, request: pytest.FixtureRequest, transport: str, client_ca: str
) -> None:
    """Passed by an ACL without engines, 1 GB arrives whole in at most 32 MB."""
    name, framing = TRANSPORTS[transport]
    origin = request.getfixturevalue(name)
    url = origin.serve(f"/unchecked/{transport}", Reply(steps=(Fill(SIZE),), framing=framing))
    state = measured(passing, origin, client_ca)
    assert fetch_digest(passing, url, client_ca) == (0, fill_digest(SIZE))
    state.assert_small()


@pytest.mark.parametrize("transport", ["h1-length", "tls", "h2"])
def test_1_gb_that_is_checked(checking: Proxy, request: pytest.FixtureRequest, transport: str, client_ca: str) -> None:
    """Spooled, checked and released, 1 GB arrives whole in at most 32 MB."""
    name, framing = TRANSPORTS[transport]
    origin = request.getfixturevalue(name)
    url = origin.serve(f"/checked/{transport}", Reply(steps=(Fill(SIZE),), framing=framing))
    state = measured(checking, origin, client_ca)
    assert fetch_digest(checking, url, client_ca) == (0, fill_digest(SIZE))
    state.assert_small()
    assert checking.record_of(url)["status"] == "free"


UPLOAD = 300_000_000  # the origin keeps it in memory, in the process of the tests


@pytest.mark.parametrize("transport", ["h1-chunked", "h2"])
def test_a_large_upload_that_is_checked(
    checking: Proxy, request: pytest.FixtureRequest, transport: str, client_ca: str, tmp_path: Path
) -> None:
    """Spooled, checked and sent on, 300 MB reach the origin whole in at most 32 MB."""
    origin = request.getfixturevalue(TRANSPORTS[transport][0])
    path = f"/upload/{transport}"
    url = origin.serve(path, Reply(steps=(b"thanks",)))
    with (tmp_path / "file").open("wb") as file:
        file.writelines(play_fill(UPLOAD))
    how = ("-H", "Transfer-Encoding: chunked") if transport == "h1-chunked" else ()
    state = measured(checking, origin, client_ca)
    got = curl(checking, url, "--cacert", client_ca, "-T", str(tmp_path / "file"), *how)
    assert (got.exit, got.body) == (0, b"thanks")
    state.assert_small()
    arrived = origin.asked(path)[-1].request.body
    assert hashlib.sha256(arrived).hexdigest() == fill_digest(UPLOAD)
    arrived.clear()


@pytest.mark.parametrize("kind", ["skipping", "passing", "checking"])
def test_a_client_that_never_opens_its_window(
    request: pytest.FixtureRequest, kind: str, h2_origin: Origin, client_ca: str
) -> None:
    """An HTTP/2 client that takes no more than its first window makes the gateway hold nothing for it."""
    proxy = request.getfixturevalue(kind)
    path = f"/window/{kind}"
    url = h2_origin.serve(path, Reply(steps=(Fill(SIZE),)))
    state = measured(proxy, h2_origin, client_ca)
    with H2Client(proxy, url, client_ca, reading=False) as client:
        taken = client.get(url)
        client.read_while(lambda: len(taken.body) < 65535)
        # The origin is through, or held back by the gateway: either way time for a heap to grow.
        wait_until(lambda: h2_origin.asked(path)[0].ended == "whole", 5)
        state.assert_small()
    assert wait_until(lambda: not proxy.spool_files(), 2)
