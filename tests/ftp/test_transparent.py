"""Transparent mode: clients that know of no gateway, their connections redirected by the kernel, over IPv4 and IPv6."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.programs import Run, run
from tests.ftp.conftest import Gateways
from tests.ftp.gateway import FtpGateway
from tests.ftp.namespace import INSIDE4, PASSIVE, SERVER4, SERVER6, Network, find_obstacle, open_networks
from tests.ftp.policies import policy, proxy
from tests.http import samples
from tests.real.vsftpd_server import VsftpdServer

pytestmark = [pytest.mark.vsftpd, pytest.mark.skipif(bool(find_obstacle()), reason=str(find_obstacle()))]

MORE = f"transparent: true\npassive-ports: {PASSIVE.replace(':', '-')}\n"


class ServerInside(VsftpdServer):
    """A vsftpd on port 21 of a private network."""

    def __init__(self, network: Network, host: str) -> None:
        super().__init__()
        self._network, self.host, self.port = network, host, 21

    def command(self) -> Sequence[str]:
        return [*self._network.prefix, *super().command()]

    def _accepts(self) -> bool:
        return f"{self.host}" in self._network.run("ss --listening --tcp --numeric")


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway before two servers that clients reach by their own addresses."""

    gateway: FtpGateway
    servers: dict[str, VsftpdServer]
    client: Network
    folder: Path

    def curl(self, *words: str) -> Run:
        """curl in the client's network."""
        return run([*self.client.prefix, "curl", "-sS", "--noproxy", "*", "--max-time", "20", *words], self.folder)


@pytest.fixture(scope="module")
def stage(gateways: Gateways, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything in its networks, for the whole module."""
    with contextlib.ExitStack() as stack:
        inside, client = stack.enter_context(open_networks())
        servers = {host: stack.enter_context(ServerInside(inside, host)) for host in (SERVER4, SERVER6)}
        proxies = {"FOUR": (proxy(None, more=MORE), "0.0.0.0:2121"), "SIX": (proxy(None, more=MORE), "[::]:2122")}
        written = policy({name: text.replace("127.0.0.1:0", at) for name, (text, at) in proxies.items()})
        gateway = stack.enter_context(gateways.start(written, *proxies, prefix=inside.prefix))
        yield Stage(gateway, servers, client, tmp_path_factory.mktemp("transparent"))
        assert gateway.crashes() == []


WAYS = [
    (SERVER4, "--disable-epsv=--no-ftp-skip-pasv-ip"),
    (SERVER4, "--ftp-pasv"),
    (SERVER4, "--ftp-port=-"),
    (SERVER6, "--ftp-pasv"),
    (SERVER6, "--ftp-port=-"),
]


@pytest.mark.parametrize(("host", "way"), WAYS)
def test_a_client_that_knows_nothing(stage: Stage, host: str, way: str) -> None:
    """By PASV, EPSV, PORT and EPRT files come and go between the client and the server that it dialled, checked."""
    root, name = stage.servers[host].root, f"file{WAYS.index((host, way))}"
    data = samples.clean(name, 100_000)
    (root / name).write_bytes(data)
    (root / f"{name}bad").write_bytes(samples.EICAR)
    url = f"ftp://{f'[{host}]' if ':' in host else host}"
    words = way.split("=")
    done = stage.curl(*words, "--globoff", "--output", name, f"{url}/{name}")
    assert (done.exit, (stage.folder / name).read_bytes() == data) == (0, True), done.output
    done = stage.curl(*words, "--globoff", "--upload-file", name, f"{url}/{name}up")
    assert (done.exit, (root / f"{name}up").read_bytes() == data) == (0, True), done.output
    done = stage.curl(*words, "--globoff", "--output", f"{name}bad", f"{url}/{name}bad")
    assert done.exit == 78, done.output
    record = stage.gateway.record_of_path(f"/{name}bad")
    assert (record["virus"] is not None, record["server"]) == (True, f"[{host}]" if ":" in host else host)


def test_who_dials_the_gateway_itself(stage: Stage) -> None:
    """A connection that was not redirected leads nowhere: 530, and above all not back to the gateway."""
    done = stage.curl("--verbose", f"ftp://{INSIDE4}:2121/x")
    assert "< 530 This connection was not redirected" in done.output
