"""The ways in which a body can travel, client side and origin side, for tests that hold on all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply, Step
from tests.http.proxy import Proxy
from tests.http.wire import Taken, ask, connect, connect_tls, take
from tests.http.wire_h2 import H2Client

Gateway = Callable[[str], Proxy]


@dataclass(frozen=True, slots=True)
class Way:
    """One combination of an origin, its framing, its version, and the client's version."""

    name: str
    origin: str  # the fixture's name
    framing: Framing
    client: str = "HTTP/1.1"
    version: str = "HTTP/1.1"

    @property
    def tls(self) -> bool:
        """True where the client speaks through a tunnel."""
        return self.origin != "origin"

    @property
    def ends_by_close(self) -> bool:
        """True where the client can tell the end of a body by the connection's only."""
        return self.client == "HTTP/1.0" and self.framing is not Framing.LENGTH

    @property
    def curl_args(self) -> tuple[str, ...]:
        """What makes curl speak the client's version."""
        return ({"HTTP/1.0": "--http1.0", "HTTP/1.1": "--http1.1", "HTTP/2": "--http2"}[self.client],)


WAYS = (
    Way("h1-length", "origin", Framing.LENGTH),
    Way("h1-chunked", "origin", Framing.CHUNKED),
    Way("h1-close", "origin", Framing.CLOSE),
    Way("http10-origin", "origin", Framing.CLOSE, version="HTTP/1.0"),
    Way("http10-client-length", "origin", Framing.LENGTH, client="HTTP/1.0"),
    Way("http10-client-chunked", "origin", Framing.CHUNKED, client="HTTP/1.0"),
    Way("http10-both", "origin", Framing.CLOSE, client="HTTP/1.0", version="HTTP/1.0"),
    Way("tls-length", "tls_origin", Framing.LENGTH),
    Way("tls-chunked", "tls_origin", Framing.CHUNKED),
    Way("tls-close", "tls_origin", Framing.CLOSE),
    Way("tls-http10-both", "tls_origin", Framing.CLOSE, client="HTTP/1.0", version="HTTP/1.0"),
    Way("h2-length", "h2_origin", Framing.LENGTH, client="HTTP/2"),
    Way("h2-no-length", "h2_origin", Framing.CHUNKED, client="HTTP/2"),
)


class Traveller:
    """Serves a body on a way and fetches it through a gateway, by raw sockets that note every arrival."""

    def __init__(self, way: Way, origin: Origin, ca: str) -> None:
        self.way, self.origin, self.ca = way, origin, ca

    def serve(self, path: str, *steps: Step) -> str:
        """The URL of the steps on this way; the path is made the way's own."""
        reply = Reply(steps=steps, framing=self.way.framing, version=self.way.version)
        return self.origin.serve(f"/{self.way.name}{path}", reply)

    def first_byte_at(self, url: str) -> float:
        """When the origin sent the first body byte of the latest reply, in time.monotonic() seconds."""
        return self.origin.asked("/" + url.split("/", 3)[3])[-1].first_byte_at

    def sent_at(self, url: str) -> list[tuple[float, int]]:
        """The origin's sending, (time.monotonic(), body bytes so far)."""
        return self.origin.asked("/" + url.split("/", 3)[3])[-1].sent

    def fetch(self, proxy: Proxy, url: str) -> Taken:
        """Fetch on a connection of its own."""
        if self.way.client == "HTTP/2":
            with H2Client(proxy, url, self.ca) as client:
                taken = client.get(url)
                client.read_all()
                return taken
        with connect_tls(proxy, url, self.ca) if self.way.tls else connect(proxy) as sock:
            return take(sock, ask(url, absolute=not self.way.tls, version=self.way.client))
