"""Every variant, with EICAR and with a harmless payload, through the gateway and through stock mitmdump.

Rules of this file: nothing is asserted here; a finding says which client had what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.clients.browser import Chromium, Page
from tests.fakes.loop_thread import LoopThread
from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply
from tests.http import samples
from tests.http.proxy import Proxy
from tests.http.variants import clients, in_chromium
from tests.http.variants.catalogue import catalogue
from tests.http.variants.clients import Got
from tests.http.variants.oracle import holds_eicar
from tests.http.variants.variant import Variant, sized
from tests.http.variants.wire_origin import WireOrigin

HARMLESS = b"Nothing in here does any harm to anybody; it is as long as that one."
# The blanks are EICAR's own (up to 128 characters): what is cut at the end is cut of them.
PAYLOADS = {"eicar": samples.EICAR + b" " * 12, "harmless": HARMLESS}
THREADS = 4


@dataclass(slots=True)
class Outcome:
    """What became of one variant. `leaks`: the clients that had EICAR. `ours` and `stock`: a harmless payload's
    way; `differs`: the clients to whom it came otherwise than from stock."""

    variant: Variant
    leaks: list[str] = field(default_factory=list)
    ours: Got = field(default_factory=Got)
    stock: Got = field(default_factory=Got)
    differs: list[str] = field(default_factory=list)
    how: list[str] = field(default_factory=list)  # and what they got
    seconds: float = 0.0
    in_chromium: bool = False  # it was shown to a browser, too

    @property
    def name(self) -> str:
        """The variant's full name."""
        return f"{self.variant.kind} / {self.variant.name}"

    def note(self, who: str, got: Got, expected: Got) -> None:
        """It came to somebody otherwise than from stock."""
        self.differs.append(who)
        self.how.append(f"{who}: {_tell(got)} instead of {_tell(expected)}")

    @property
    def delivered(self) -> bool:
        """The gateway let a harmless payload through."""
        return arrived(self.ours)

    @property
    def stock_delivers(self) -> bool:
        """Stock mitmdump let it through."""
        return arrived(self.stock)


def _tell(got: Got) -> str:
    return f"{got.status} {'whole' if got.whole else 'cut'} {got.body[:200]!r}"


def arrived(got: Got) -> bool:
    """A complete message that is no page of a proxy's."""
    return got.whole and b"X-Sluice-Id" not in got.wire and b"Server: mitmproxy" not in got.wire and got.status != 0


class Campaign:
    """One run. `ours` and `stock` are running proxies."""

    def __init__(
        self,
        ours: Proxy,
        stock: Proxy,
        fakes: LoopThread,
        h2_origin: Origin,
        ca: str,
        browser: Chromium | None = None,
    ) -> None:
        self._ours, self._stock, self._fakes, self._browser = ours, stock, fakes, browser
        self._h2_origin, self._ca = h2_origin, ca
        self._libraries = clients.Libraries(ours), clients.Libraries(stock)
        self._origin = WireOrigin(self._answer)
        self.outcomes = [Outcome(variant) for variant in catalogue()]
        self._built: dict[tuple[int, str], bytes | None] = {}

    def _answer(self, path: str) -> bytes | None:
        if path == in_chromium.HOME:
            return sized([(b"Content-Type", b"text/html")], in_chromium.PAGE)
        _, number, payload, *_ = path.split("/")
        key = (int(number), payload)
        if key not in self._built:  # an archive packed a second later is another one
            variant = self.outcomes[key[0]].variant
            self._built[key] = variant.reply(PAYLOADS[payload]) if variant.reply else None
        return self._built[key]

    def run(self) -> list[Outcome]:
        """Everything; takes some tens of seconds."""
        self._fakes.run(self._origin.start())
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                jobs = [pool.submit(self._show_to_sockets, n) for n in range(len(self.outcomes))]
                jobs += self._library_jobs(pool)
                jobs.append(pool.submit(self._show_over_http2))
                if self._browser is not None:
                    jobs.append(pool.submit(self._show_to_chromium, self._browser))
                for job in jobs:
                    job.result()
        finally:
            for library in self._libraries:
                library.close()
            self._fakes.run(self._origin.close())
        return self.outcomes

    def _url(self, number: int, payload: str, who: str) -> str:
        return f"http://127.0.0.1:{self._origin.port}/{number}/{payload}/{who}"

    # --- the socket: all variants, both payloads

    def _show_to_sockets(self, number: int) -> None:
        outcome = self.outcomes[number]
        bad = self._by_socket(self._ours, number, "eicar", "ours")
        outcome.seconds = bad.seconds
        if holds_eicar(bad.wire, pieces=outcome.variant.kind == "range"):
            outcome.leaks.append("socket")
        outcome.ours = self._by_socket(self._ours, number, "harmless", "ours")
        outcome.stock = self._by_socket(self._stock, number, "harmless", "stock")
        if outcome.stock_delivers and not self._same(outcome):
            outcome.note("socket", outcome.ours, outcome.stock)

    def _by_socket(self, proxy: Proxy, number: int, payload: str, who: str) -> Got:
        variant = self.outcomes[number].variant
        ask = variant.upload(PAYLOADS[payload]) if variant.upload else variant.ask
        url = self._url(number, payload, who)
        got = clients.ask_by_socket(proxy, url, ask)
        if variant.upload is None:
            return got
        path = url.removeprefix(f"http://127.0.0.1:{self._origin.port}")
        return Got(got.status, *self._uploaded(path, got), got.seconds)

    def _uploaded(self, path: str, got: Got) -> tuple[bytes, bool, bytes]:
        """The body as the origin would read it, whether it came whole, and all that came to it and to the client."""
        came = self._origin.got.get(path, b"")
        body = clients.read_request(came)
        return body or b"", arrived(got) and body is not None, b"HTTP/ " + came + b"\r\n\r\n" + got.wire

    def _same(self, outcome: Outcome) -> bool:
        ours, stock = outcome.ours, outcome.stock
        return arrived(ours) and (ours.status, ours.body) == (stock.status, stock.body)

    # --- HTTP/2 on both sides

    def _show_over_http2(self) -> None:
        streamed = [n for n, outcome in enumerate(self.outcomes) if outcome.variant.streamed]
        valid = [n for n in streamed if self.outcomes[n].variant.valid]
        for number, got in self._over_http2(self._ours, streamed, "eicar"):
            self._judge(number, "HTTP/2", got)
        expected = dict(self._over_http2(self._stock, valid, "harmless"))
        for number, got in self._over_http2(self._ours, valid, "harmless"):
            self._note_difference(number, "HTTP/2", got, expected[number])

    def _over_http2(self, proxy: Proxy, numbers: list[int], payload: str) -> list[tuple[int, Got]]:
        urls = [self._serve_over_http2(number, payload) for number in numbers]
        return list(zip(numbers, clients.by_http2(proxy, self._ca, urls), strict=True))

    def _serve_over_http2(self, number: int, payload: str) -> str:
        build = self.outcomes[number].variant.streamed
        assert build is not None
        fields, body = build(PAYLOADS[payload])
        headers = [(name.decode(), value.decode("latin-1")) for name, value in fields]
        reply = Reply(steps=(body,), status=200, headers=headers)
        return self._h2_origin.serve(f"/variants/{number}/{payload}", reply)

    # --- Chromium: what a plain GET can bring, by scripts, and one of each kind as a download

    def _show_to_chromium(self, browser: Chromium) -> None:
        gets, valid = self._plain_gets()
        origin = f"http://127.0.0.1:{self._origin.port}"
        with in_chromium.page_behind(browser, self._ours, origin) as page:
            for number, got in self._fetch(page, gets, "eicar"):
                self._judge(number, "Chromium", got)
                self.outcomes[number].in_chromium = True
            arrived_from_us = self._fetch(page, valid, "harmless")
            self._download(page, gets)
        with in_chromium.page_behind(browser, self._stock, origin) as page:
            expected = dict(self._fetch(page, valid, "harmless"))
        for number, got in arrived_from_us:
            self._note_difference(number, "Chromium", got, expected[number])

    def _download(self, page: Page, gets: list[int]) -> None:
        """One of each kind with EICAR, and harmless what every client takes for a file."""
        who = "Chromium's downloads"
        for number in {self.outcomes[n].variant.kind: n for n in gets}.values():
            self._judge(number, who, in_chromium.navigate(page, self._url(number, "eicar", "download")))
        for number in gets:
            if self.outcomes[number].variant.kind == "framing: plain":
                got = in_chromium.navigate(page, self._url(number, "harmless", "download"))
                self._note_difference(number, who, got, Got(200, HARMLESS, whole=True))

    def _fetch(self, page: Page, numbers: list[int], payload: str) -> list[tuple[int, Got]]:
        paths = [f"/{number}/{payload}/Chromium" for number in numbers]
        return list(zip(numbers, in_chromium.fetch_all(page, paths), strict=True))

    # --- the libraries: what a plain GET can bring

    def _plain_gets(self) -> tuple[list[int], list[int]]:
        """The variants that any client can ask for, and those among them that are valid."""
        gets = [n for n, outcome in enumerate(self.outcomes) if outcome.variant.plain_get]
        return gets, [n for n in gets if self.outcomes[n].variant.valid]

    def _library_jobs(self, pool: ThreadPoolExecutor) -> list[Future[None]]:
        gets, valid = self._plain_gets()
        ours, stock = self._libraries
        return [
            pool.submit(self._curl, gets),
            pool.submit(self._curl, gets, "--compressed"),
            *(pool.submit(self._leak_by, ours.by_requests, "requests", n) for n in gets[::2]),
            *(pool.submit(self._leak_by, ours.by_httpx, "httpx", n) for n in gets[1::2]),
            *(pool.submit(self._compare, ours.by_httpx, stock.by_httpx, "httpx", n) for n in valid),
        ]

    def _curl(self, numbers: list[int], *options: str) -> None:
        who = "curl" + "".join(options)
        urls = [self._url(n, "eicar", who) for n in numbers]
        for number, got in zip(numbers, clients.by_curl(self._ours, urls, *options), strict=True):
            self._judge(number, who, got)

    def _leak_by(self, fetch: Callable[[str], Got], who: str, number: int) -> None:
        self._judge(number, who, fetch(self._url(number, "eicar", who)))

    def _judge(self, number: int, who: str, got: Got) -> None:
        if samples.EICAR in got.body or holds_eicar(b"HTTP/\r\n\r\n" + got.body):
            self.outcomes[number].leaks.append(who)

    def _compare(self, ours: Callable[[str], Got], stock: Callable[[str], Got], who: str, number: int) -> None:
        expected = stock(self._url(number, "harmless", f"{who}-stock"))
        self._note_difference(number, who, ours(self._url(number, "harmless", f"{who}-ours")), expected)

    def _note_difference(self, number: int, who: str, got: Got, expected: Got) -> None:
        if expected.whole and (got.status, got.body, got.whole) != (expected.status, expected.body, True):
            self.outcomes[number].note(who, got, expected)


def leaks(outcomes: Iterable[Outcome]) -> list[str]:
    """One line a variant that brought EICAR to somebody."""
    return [f"{outcome.name}: {', '.join(outcome.leaks)}" for outcome in outcomes if outcome.leaks]
