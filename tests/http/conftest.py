"""The stage of an end-to-end test: origins and a slow engine in a thread, a real mitmdump, curl before it.

A gateway is started once for each policy and kept for the session, since a start takes seconds; every test
that used it fails if the gateway crashed or logged a traceback meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.fakes.loop_thread import LoopThread
from tests.fakes.origin import Origin
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine
from tests.http.ways import WAYS, Traveller


@pytest.fixture(scope="session", autouse=True)
def no_current_loop() -> None:
    """Tests without a loop of their own have none: else looptime asks for one, and that is a warning."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def fakes() -> Iterator[LoopThread]:
    """The loop in which the fakes live."""
    with LoopThread() as thread:
        yield thread


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority that the gateways trust."""
    return trustme.CA()


def _server_context(authority: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(list(protocols))
    return context


@contextlib.contextmanager
def running(fakes: LoopThread, origin: Origin) -> Iterator[Origin]:
    """The origin, started in the fakes' loop and closed at the end."""
    fakes.run(origin.start())
    yield origin
    fakes.run(origin.close())


@pytest.fixture(scope="session")
def origin(fakes: LoopThread) -> Iterator[Origin]:
    """An HTTP/1 origin."""
    with running(fakes, Origin()) as started:
        yield started


@pytest.fixture(scope="session")
def tls_origin(fakes: LoopThread, authority: trustme.CA) -> Iterator[Origin]:
    """An HTTP/1 origin under TLS."""
    with running(fakes, Origin(_server_context(authority, "http/1.1"))) as started:
        yield started


@pytest.fixture(scope="session")
def h2_origin(fakes: LoopThread, authority: trustme.CA) -> Iterator[Origin]:
    """An HTTP/2 origin."""
    with running(fakes, Origin(_server_context(authority, "h2", "http/1.1"))) as started:
        yield started


@pytest.fixture(scope="session")
def slow_engine(fakes: LoopThread) -> Iterator[SlowEngine]:
    """The engine itself; tests take `engine`, which puts the delay back."""
    engine = SlowEngine()
    fakes.run(engine.start())
    yield engine
    fakes.run(engine.close())


@pytest.fixture
def engine(slow_engine: SlowEngine) -> Iterator[SlowEngine]:
    """A clamd that finds EICAR after `delay` seconds, 0 until the test says otherwise."""
    yield slow_engine
    slow_engine.delay = 0.0


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    """mitmproxy's folder, shared so that its key is made once; gateways trust the `upstream.pem` in it."""
    folder = tmp_path_factory.mktemp("mitmproxy")
    authority.cert_pem.write_to_path(str(folder / "upstream.pem"))
    return folder


@pytest.fixture(scope="session")
def client_ca(confdir: Path) -> str:
    """The file with the certificate that clients of the gateways trust; there once a gateway has started."""
    return str(confdir / "mitmproxy-ca-cert.pem")


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def traveller(request: pytest.FixtureRequest, client_ca: str) -> Traveller:
    """One way after the other."""
    return Traveller(request.param, request.getfixturevalue(request.param.origin), client_ca)


class Gateways:
    """Running gateways by their policy."""

    def __init__(self, stack: contextlib.ExitStack, confdir: Path, folder: Path) -> None:
        self._stack, self._confdir, self._folder = stack, confdir, folder
        self._running: dict[str, Proxy] = {}

    def options(self, *more: str) -> list[str]:
        """mitmproxy's options for a test."""
        trusted = f"ssl_verify_upstream_trusted_ca={self._confdir / 'upstream.pem'}"
        return [f"confdir={self._confdir}", trusted, *more]

    def get(self, policy: str) -> Proxy:
        """The gateway with that policy, started if need be."""
        if policy not in self._running:
            file = self._folder / f"policy{len(self._running)}.yaml"
            file.write_text(policy)
            proxy = Proxy(options=self.options(f"av_policy={file}"))
            self._running[policy] = self._stack.enter_context(proxy)
        return self._running[policy]


@pytest.fixture(scope="session")
def gateways(confdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """All gateways of the session."""
    with contextlib.ExitStack() as stack:
        yield Gateways(stack, confdir, tmp_path_factory.mktemp("policies"))


@pytest.fixture
def gateway(gateways: Gateways) -> Iterator[Callable[[str], Proxy]]:
    """Gives the running gateway for a policy; at the end of the test none of those given has crashed."""
    used: dict[str, tuple[Proxy, int]] = {}

    def get(policy: str) -> Proxy:
        proxy = gateways.get(policy)
        used.setdefault(policy, (proxy, len(proxy.lines)))
        return proxy

    yield get
    for proxy, since in used.values():
        assert proxy.crashes(since) == []


@pytest.fixture
def own_gateway(gateways: Gateways, tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Starts a gateway for this test alone, which judges its log itself; takes the arguments of `Proxy`."""
    with contextlib.ExitStack() as stack:

        def start(policy: str, *options: str, **arguments: object) -> Proxy:
            file = tmp_path / "policy.yaml"
            file.write_text(policy)
            listed = gateways.options(f"av_policy={file}", *options)
            return stack.enter_context(Proxy(options=listed, **arguments))  # type: ignore[arg-type]  # passed through

        yield start
