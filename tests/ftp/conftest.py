"""The stage of the FTP tests: real servers, one process with a gateway for every way to each, engines, clients.

Servers and gateways are started once and kept for the session of a process; a test that used a gateway fails if the
gateway crashed or logged a traceback meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.fakes.ftp_server import FakeFtpServer
from tests.fakes.loop_thread import LoopThread
from tests.ftp import policies
from tests.ftp.gateway import FtpGateway
from tests.ftp.place import Place, Tls
from tests.ftp.wire import Wire
from tests.http import samples
from tests.http.conftest import engine, fakes, slow_engine
from tests.http.policies import TRICKLE, clamav
from tests.http.slow_engine import SlowEngine
from tests.real.ftp_server import FtpServer
from tests.real.proftpd_server import ProftpdServer
from tests.real.vsftpd_server import VsftpdServer

__all__ = ["engine", "fakes", "slow_engine"]

SERVERS: dict[str, tuple[type[FtpServer], Tls]] = {
    "vsftpd": (VsftpdServer, "none"),
    "vsftpd-tls": (VsftpdServer, "starttls"),
    "vsftpd-implicit": (VsftpdServer, "implicit"),
    "proftpd": (ProftpdServer, "none"),
    "proftpd-tls": (ProftpdServer, "starttls"),
}


class Certificates:
    """One authority, and one certificate with its key for everybody."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca, self.pem = folder / "ca.pem", folder / "server.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        issued = authority.issue_cert("localhost", "127.0.0.1", "127.0.0.9", "::1")
        issued.private_key_and_cert_chain_pem.write_to_path(str(self.pem))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For servers and gateways."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Servers:
    """The real servers by name, started when they are asked for first."""

    def __init__(self, stack: contextlib.ExitStack, certificates: Certificates) -> None:
        self._stack, self._certificates = stack, certificates
        self._running: dict[str, FtpServer] = {}

    def get(self, name: str, host: str = "127.0.0.1") -> FtpServer:
        """That server."""
        key = f"{name} {host}"
        if key not in self._running:
            kind, tls = SERVERS[name]
            self._running[key] = self._stack.enter_context(kind(tls, self._certificates.pem, host))
        return self._running[key]

    def place(self, name: str) -> Place:
        """The server itself, as a place to go to."""
        server = self.get(name)
        ca = str(self._certificates.ca)
        return Place(server.port, server.root, server.user, server.password, server.tls, ca, server.host)


@pytest.fixture(scope="session")
def servers(certificates: Certificates) -> Iterator[Servers]:
    """All servers of the session."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack, certificates)


@pytest.fixture(scope="session")
def vsftpd(servers: Servers) -> FtpServer:
    """A plain vsftpd. Ask for it in tests marked `vsftpd` only."""
    return servers.get("vsftpd")


class Gateways:
    """Running processes by their policy."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self._running: dict[str, FtpGateway] = {}

    def get(self, policy: str, *names: str) -> FtpGateway:
        """The process with that policy and these gateways, started if need be."""
        if policy not in self._running:
            self._running[policy] = self._stack.enter_context(self.start(policy, *names))
        return self._running[policy]

    def start(self, policy: str, *names: str, **arguments: object) -> FtpGateway:
        """One more, not started yet."""
        file = self._folder / f"policy{len(list(self._folder.iterdir()))}.yaml"
        file.write_text(policy)
        return FtpGateway(file, list(names) or ["FTP"], **arguments)  # type: ignore[arg-type]  # passed through


@pytest.fixture(scope="session")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """All gateways of the session."""
    with contextlib.ExitStack() as stack:
        yield Gateways(stack, tmp_path_factory.mktemp("policies"))


@pytest.fixture
def gateway(gateways: Gateways) -> Iterator[Callable[..., FtpGateway]]:
    """Gives the running process for a policy; at the end of the test none of those given has crashed."""
    used: list[tuple[FtpGateway, int]] = []

    def get(policy: str, *names: str) -> FtpGateway:
        running = gateways.get(policy, *names)
        used.append((running, len(running.lines)))
        return running

    yield get
    for running, since in used:
        assert running.crashes(since) == [], "\n".join(running.lines[since:][-60:])


@pytest.fixture
def own_gateway(gateways: Gateways) -> Iterator[Callable[..., FtpGateway]]:
    """Starts a process for this test alone, which judges its log itself."""
    with contextlib.ExitStack() as stack:

        def start(policy: str, *names: str, **arguments: object) -> FtpGateway:
            return stack.enter_context(gateways.start(policy, *names, **arguments))

        yield start


@pytest.fixture(scope="session")
def fake_server(fakes: LoopThread) -> Iterator[FakeFtpServer]:
    """The server itself; tests take an `upstream` of their own, which forgets the last test."""
    server = FakeFtpServer()
    fakes.run(server.start())
    yield server
    fakes.run(server.close())


FRONTS: tuple[Tls, ...] = ("none", "starttls", "implicit")


class Crossings:
    """One gateway for every server and every way a client speaks TLS, all in one process."""

    def __init__(self, servers: Servers, certificates: Certificates, gateways: Gateways) -> None:
        self._servers, self._certificates, self._gateways = servers, certificates, gateways

    def place(self, server: str, tls: Tls) -> Place:
        """The gateway before that server at which clients speak TLS so."""
        real = self._servers.get(server)
        port = self.process.ports[_name(server, tls)]
        return Place(port, real.root, real.user, real.password, tls, str(self._certificates.ca))

    @property
    def process(self) -> FtpGateway:
        """The process, started if need be."""
        proxies = {_name(server, tls): self._proxy(server, tls) for server in SERVERS for tls in FRONTS}
        return self._gateways.get(policies.policy(proxies), *proxies)

    def _proxy(self, server: str, tls: Tls) -> str:
        real, own = self._servers.get(server), self._certificates
        more = policies.server_tls(real.tls, own.ca) if real.tls != "none" else ""
        more += policies.client_tls(tls, own.pem) if tls != "none" else ""
        return policies.proxy(real.port, more=more)


def _name(server: str, tls: Tls) -> str:
    return f"{server}-{tls}".upper()


@pytest.fixture(scope="session")
def crossings(servers: Servers, certificates: Certificates, gateways: Gateways) -> Crossings:
    """Ask for it in tests marked `vsftpd` and `proftpd`."""
    return Crossings(servers, certificates, gateways)


DATA = samples.clean("faults", 40_000)
"""What the server by script has in `file`."""


@pytest.fixture
def upstream(fake_server: FakeFtpServer) -> FakeFtpServer:
    """A server by script, with one clean file and one infected."""
    fake_server.reset()
    fake_server.files = {"file": DATA, "bad": samples.infected("faults", 40_000)}
    return fake_server


@pytest.fixture
def running(gateway: Callable[..., FtpGateway], engine: SlowEngine, upstream: FakeFtpServer) -> FtpGateway:
    """A gateway before it that trickles, and waits a second for who says nothing."""
    limits = "limits: {stall: 1s, header: 2s, idle: 20s}\n"
    return gateway(policies.policy(policies.proxy(upstream.port, TRICKLE, more=limits), clamav(engine.port)))


@pytest.fixture
def wire(running: FtpGateway) -> Iterator[Wire]:
    """A session through that gateway, logged in."""
    with Wire(running.port) as session:
        yield session.login()
