"""Content-codings are undone for the check, whatever their number and names, and never passed on unread."""

from __future__ import annotations

import bz2
import gzip
import time
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply, drip
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import TRICKLE, builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine

Gateway = Callable[[str], Proxy]
Encoder = Callable[[bytes], bytes]

HTML = ("Content-Type", "text/html")


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def _two_members(data: bytes) -> bytes:
    middle = len(data) // 2
    return gzip.compress(data[:middle]) + gzip.compress(data[middle:])


SINGLE: dict[str, tuple[str, Encoder]] = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate raw": ("deflate", _raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "identity": ("identity", bytes),
}
STACKS: dict[str, tuple[str, Encoder]] = {
    "gzip, gzip": ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "gzip, deflate": ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
    "br, gzip": ("br, gzip", lambda data: gzip.compress(brotli.compress(data))),
    "identity, gzip": ("identity, gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "upper case": ("GZIP", gzip.compress),
    "gzip members": ("gzip", _two_members),  # of which some clients read only the first
    "empty items": (" ,gzip,, ", gzip.compress),
    "five": ("gzip, gzip, gzip, gzip, gzip", lambda data: _gzip_times(data, 5)),
}


def _gzip_times(data: bytes, times: int) -> bytes:
    for _ in range(times):
        data = gzip.compress(data)
    return data


@pytest.fixture
def proxy(gateway: Gateway) -> Proxy:
    """A gateway with the built-in engine."""
    return gateway(checked(builtin()))


def coded(origin: Origin, path: str, coding: str, body: bytes, framing: Framing = Framing.LENGTH) -> str:
    """The URL of a body with a Content-Encoding."""
    headers = [HTML, ("Content-Encoding", coding), ("ETag", '"strong"')]
    return origin.serve(path, Reply(steps=(body,), headers=headers, framing=framing))


@pytest.mark.parametrize("name", SINGLE)
def test_a_clean_body_with_one_coding_arrives_as_it_is(proxy: Proxy, origin: Origin, name: str) -> None:
    """With one plain coding the client gets the origin's bytes and the origin's Content-Encoding."""
    coding, encode = SINGLE[name]
    data = samples.clean(name, 20_000)
    body = encode(data)
    url = coded(origin, f"/coded/{name.replace(' ', '-')}", coding, body)
    got = curl(proxy, url)
    assert (got.exit, got.status, got.body == body) == (0, 200, True)
    assert got.headers.get("content-encoding", "identity").lower() == coding.lower()
    assert proxy.record_of(url)["size"] == len(data)


@pytest.mark.parametrize("name", STACKS)
def test_a_clean_body_with_a_stack_arrives_as_identity(proxy: Proxy, origin: Origin, name: str) -> None:
    """With a stack or odd tokens (RFC 9110 8.4.1: x-gzip and any case mean gzip) the client gets identity."""
    coding, encode = STACKS[name]
    data = samples.clean(name, 20_000)
    url = coded(origin, f"/stack/{list(STACKS).index(name)}", coding, encode(data))
    got = curl(proxy, url)
    assert (got.exit, got.status, got.body == data) == (0, 200, True)
    assert "content-encoding" not in got.headers
    assert got.headers.get("content-length", str(len(data))) == str(len(data))


@pytest.mark.parametrize("name", [*SINGLE, *STACKS])
def test_an_infected_body_is_found_under_every_coding(proxy: Proxy, origin: Origin, name: str) -> None:
    """What a client would decode is what is checked."""
    coding, encode = {**SINGLE, **STACKS}[name]
    url = coded(origin, f"/coded-bad/{name.replace(' ', '-')}", coding, encode(samples.EICAR))
    got = curl(proxy, url)
    assert (got.status, got.headers["x-sluice-status"]) == (403, "found")
    assert "content-encoding" not in got.headers


def test_an_infected_zip_under_a_coding_is_found(proxy: Proxy, origin: Origin) -> None:
    """The coding is undone first, the archive opened then."""
    url = coded(origin, "/coded-zip", "br", brotli.compress(samples.zipped()))
    assert curl(proxy, url).headers["x-sluice-status"] == "found"


GOOD = gzip.compress(samples.EICAR + samples.clean("odd", 3000))
ODD = {
    "bad crc": ("gzip", GOOD[:-8] + bytes([GOOD[-8] ^ 1]) + GOOD[-7:]),
    "bad length": ("gzip", GOOD[:-1] + bytes([GOOD[-1] ^ 1])),
    "cut": ("gzip", GOOD[:-20]),
    "cut in the trailer": ("gzip", GOOD[:-3]),
    "trailing bytes": ("gzip", GOOD + b"trailing"),
    "trailing zeros": ("gzip", GOOD + bytes(8)),
    "not coded at all": ("gzip", samples.EICAR),
    "unknown token": ("bzip2", bz2.compress(samples.EICAR)),
    "unknown token, plain": ("x-something", samples.EICAR),
    "garbage token": ("gz ip", GOOD),
    "six layers": (", ".join(["gzip"] * 6), _gzip_times(samples.EICAR, 6)),
    "deflate cut": ("deflate", zlib.compress(samples.EICAR)[:-3]),
    "deflate trailing": ("deflate", zlib.compress(samples.EICAR) + b"x"),
    "br cut": ("br", brotli.compress(samples.EICAR)[:-2]),
    "br trailing": ("br", brotli.compress(samples.EICAR) + b"x"),
    "zstd cut": ("zstd", zstandard.compress(samples.EICAR)[:-2]),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_decoded_in_one_way_is_unknown(proxy: Proxy, origin: Origin, name: str) -> None:
    """Bad checksums, cuts, trailing bytes and unknown tokens are `unknown` or worse, and never the raw bytes."""
    coding, body = ODD[name]
    for framing in (Framing.LENGTH, Framing.CHUNKED):
        url = coded(origin, f"/odd/{list(ODD).index(name)}-{framing}", coding, body, framing)
        got = curl(proxy, url)
        assert (got.status, got.headers["x-sluice-status"]) in ((403, "unknown"), (403, "found"))
        assert body[:30] not in got.body or not body
        assert proxy.record_of(url)["released"] == 0


def test_two_content_encoding_headers_are_one_list(proxy: Proxy, origin: Origin) -> None:
    """Repeated headers stack like a list."""
    headers = [HTML, ("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")]
    url = origin.serve("/two-headers", Reply(steps=(_gzip_times(samples.EICAR, 2),), headers=headers))
    assert curl(proxy, url).headers["x-sluice-status"] == "found"


def test_an_infected_coded_upload_never_reaches_the_origin(proxy: Proxy, origin: Origin, tmp_path) -> None:
    """Request bodies are decoded too."""
    (tmp_path / "body").write_bytes(brotli.compress(samples.EICAR))
    url = origin.serve("/coded-upload", Reply())
    got = curl(proxy, url, "-H", "Content-Encoding: br", "--data-binary", f"@{tmp_path / 'body'}")
    assert (got.status, got.headers["x-sluice-status"]) == (403, "found")
    assert origin.asked("/coded-upload") == []


def test_a_coded_body_trickles_the_bytes_that_the_client_gets(
    gateway: Gateway, origin: Origin, engine: SlowEngine
) -> None:
    """With one coding the origin's bytes trickle, with a stack the decoded ones, and both arrive whole."""
    proxy = gateway(checked(clamav(engine.port), TRICKLE))
    engine.delay = 0.5
    data = samples.clean("coded trickle", 12_000)
    once, twice = gzip.compress(data), _gzip_times(data, 2)
    for coding, body, expected in (("gzip", once, once), ("gzip, gzip", twice, data)):
        headers = [HTML, ("Content-Encoding", coding)]
        url = origin.serve(f"/coded-trickle/{len(coding)}", Reply(steps=drip(body, 3, 0.15), headers=headers))
        got = curl(proxy, url)
        assert (got.exit, got.body == expected) == (0, True)
        assert proxy.record_of(url)["released"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_bounded_in_time_and_memory(own_gateway, origin: Origin, layers: int) -> None:
    """1 GiB of zeros in a gzip: refused, at most 64 MiB more memory, at most 5 s, and others are served."""
    packer, parts = zlib.compressobj(wbits=31), []
    zeros = bytes(1 << 20)
    parts = [packer.compress(zeros) for _ in range(1024)]
    bomb = _gzip_times(b"".join([*parts, packer.flush()]), layers - 1)
    proxy = own_gateway(checked(builtin(max_checked_size="100MiB")))
    assert curl(proxy, origin.serve("/bomb/before", Reply(steps=(b"warm",)))).status == 200
    idle = proxy.memory()
    proxy.reset_peak()
    url = coded(origin, "/bomb", ", ".join(["gzip"] * layers), bomb)
    began = time.monotonic()
    got = curl(proxy, url)
    assert got.status == 403
    assert got.headers["x-sluice-status"] in ("skipped", "found", "unknown")
    assert time.monotonic() - began < 5
    assert proxy.peak_memory() - idle < 64 << 20
    assert curl(proxy, origin.serve("/bomb/after", Reply(steps=(b"after",)))).body == b"after"
    assert proxy.spool_files() == []
