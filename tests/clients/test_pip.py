"""pip installs from a package index through the gateway, and installs nothing that is infected."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.programs import Run, find_pip, run
from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply, drip
from tests.http import samples
from tests.http.policies import TRICKLE, builtin, checked, clamav
from tests.http.proxy import Proxy
from tests.http.slow_engine import SlowEngine

Gateway = Callable[[str], Proxy]

pytestmark = pytest.mark.pip

WHEEL = "sluice_demo-1.0-py3-none-any.whl"


def build_wheel(payload: bytes) -> bytes:
    """A wheel with one module and the payload as package data."""
    packed = io.BytesIO()
    info = "sluice_demo-1.0.dist-info"
    files = {
        "sluice_demo/__init__.py": b"ANSWER = 42\n",
        "sluice_demo/data.bin": payload,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: sluice-demo\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def serve_index(origin: Origin, at: str, wheel: bytes, *, gzipped: bool = False, slow: bool = False) -> str:
    """A simple index of one project; returns its URL."""
    page = f'<!DOCTYPE html><a href="{at}/{WHEEL}#sha256={hashlib.sha256(wheel).hexdigest()}">{WHEEL}</a>'.encode()
    headers = [("Content-Type", "text/html"), ("ETag", '"i"')]
    coded = [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")] if gzipped else []
    origin.serve(
        f"{at}/sluice-demo/", Reply(steps=(gzip.compress(page) if gzipped else page,), headers=headers + coded)
    )
    steps = drip(wheel, 4, 0.2) if slow else (wheel,)
    origin.serve(f"{at}/{WHEEL}", Reply(steps=steps, headers=[("ETag", '"w"'), ("Accept-Ranges", "bytes")]))
    return origin.url(at)


def install(proxy: Proxy, index: str, folder: Path) -> Run:
    """Install the project from the index into `folder`/site."""
    options = ["--isolated", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    options += ["--retries", "1"]
    where = ["--proxy", proxy.address, "--index-url", index, "--target", folder / "site"]
    return run([*(find_pip() or []), "install", *options, *where, "sluice-demo"], folder)


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gzip"])
def test_pip_installs_from_an_index(gateway: Gateway, origin: Origin, tmp_path: Path, gzipped: bool) -> None:
    """The index page, plain or coded, and the wheel arrive as they are: pip compares the wheel's hash."""
    payload = samples.clean("wheel", 200_000)
    index = serve_index(origin, f"/index-{gzipped}", build_wheel(payload), gzipped=gzipped)
    done = install(gateway(checked(builtin())), index, tmp_path)
    assert done.exit == 0, done.output
    assert (tmp_path / "site/sluice_demo/data.bin").read_bytes() == payload


def test_pip_installs_nothing_that_is_infected(gateway: Gateway, origin: Origin, tmp_path: Path) -> None:
    """A wheel with EICAR in it is a 403, pip says so and fails, and no file of it is installed."""
    index = serve_index(origin, "/index-bad", build_wheel(samples.EICAR))
    done = install(gateway(checked(builtin())), index, tmp_path)
    assert done.exit != 0
    assert "403" in done.output
    assert not (tmp_path / "site").exists()


def test_pip_waits_for_a_wheel_that_trickles(
    gateway: Gateway, engine: SlowEngine, origin: Origin, tmp_path: Path
) -> None:
    """A wheel that comes slowly and is checked slowly is installed all the same."""
    payload = samples.clean("slow wheel", 20_000)
    index = serve_index(origin, "/index-slow", build_wheel(payload), slow=True)
    proxy = gateway(checked(clamav(engine.port), TRICKLE))
    engine.delay = 0.5
    done = install(proxy, index, tmp_path)
    assert done.exit == 0, done.output
    assert (tmp_path / "site/sluice_demo/data.bin").read_bytes() == payload


def test_pip_fails_on_a_wheel_that_is_cut(gateway: Gateway, engine: SlowEngine, origin: Origin, tmp_path: Path) -> None:
    """An infected wheel of which a part has left is a failure for pip, whether it asks for the rest or not."""
    index = serve_index(origin, "/index-cut", build_wheel(samples.infected("cut wheel", 20_000)))
    proxy = gateway(checked(clamav(engine.port), TRICKLE))
    engine.delay = 0.5
    done = install(proxy, index, tmp_path)
    assert done.exit != 0
    assert not (tmp_path / "site").exists()
    assert proxy.records_of(origin.url(f"/index-cut/{WHEEL}"))[0]["action"] == "cut"
