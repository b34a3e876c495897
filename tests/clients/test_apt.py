"""apt updates from a repository and downloads a package through the gateway; an infected one it does not get."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.clients.programs import Run, run
from tests.fakes.origin import Origin
from tests.fakes.origin_script import Handler, Reply, Request
from tests.http import samples
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy

Gateway = Callable[[str], Proxy]

pytestmark = pytest.mark.apt

CONTROL = """\
Package: sluice-demo
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: what a test downloads
"""
CHANGED = datetime(2026, 3, 2, 10, tzinfo=UTC)
DEB = "sluice-demo_1.0_all.deb"


def build_deb(folder: Path, payload: bytes) -> bytes:
    """A package that holds the payload as it is: its parts are not compressed."""
    root = folder / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(CONTROL)
    (root / "payload").write_bytes(payload)
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(folder / DEB)]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / DEB).read_bytes()


def serve_repository(origin: Origin, at: str, deb: bytes, more: str = "") -> str:
    """A flat repository of that package, with `more` in its description; returns its URL."""
    digest = hashlib.sha256(deb).hexdigest()
    packages = f"{CONTROL}{more}Filename: ./{DEB}\nSize: {len(deb)}\nSHA256: {digest}\n\n".encode()
    packed = gzip.compress(packages, mtime=0)
    lines = ["Origin: test", f"Date: {format_datetime(CHANGED, usegmt=True)}", "SHA256:"]
    lines += [
        f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}"
        for name, data in (("Packages", packages), ("Packages.gz", packed))
    ]
    origin.serve(f"{at}/./Release", fresh("\n".join([*lines, ""]).encode()))
    origin.serve(f"{at}/./Packages.gz", fresh(packed))
    origin.serve(f"{at}/./{DEB}", fresh(deb))
    return origin.url(at)


def fresh(data: bytes) -> Handler:
    """Serves the data with a date, and 304 to whoever knows it."""
    dated = [("Last-Modified", format_datetime(CHANGED, usegmt=True)), ("Accept-Ranges", "bytes")]

    def answer(request: Request) -> Reply:
        if request.header("If-Modified-Since"):
            return Reply(status=304, reason="Not Modified", headers=dated)
        return Reply(steps=(data,), headers=dated)

    return answer


class Apt:
    """apt-get with folders of its own, all of its traffic through the gateway."""

    def __init__(self, proxy: Proxy, repository: str, folder: Path) -> None:
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/trusted.gpg.d", "dpkg"):
            (folder / name).mkdir(parents=True)
        (folder / "dpkg/status").touch()
        (folder / "sources.list").write_text(f"deb [trusted=yes] {repository} ./\n")
        options = {
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "dpkg/status",
            "Dir::Cache": folder / "cache",
            "Dir::Etc": folder / "etc",
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Log": folder,
            "APT::Sandbox::User": "root",
            "APT::Update::Post-Invoke::": "",
            "Acquire::http::Proxy": proxy.address,
            "Acquire::http::Proxy::127.0.0.1": proxy.address,
            "Acquire::Languages": "none",
            "Acquire::Retries": "0",
        }
        self._options = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        (folder / "apt.conf").touch()

    def get(self, *words: str) -> Run:
        """Run apt-get; the machine's own configuration is not read."""
        return run(["apt-get", *self._options, *words], self.folder, {"APT_CONFIG": str(self.folder / "apt.conf")})


def test_apt_updates_and_downloads(gateway: Gateway, origin: Origin, tmp_path: Path) -> None:
    """The lists come with their hashes right, a second update is answered by 304s, and the package is the one."""
    deb = build_deb(tmp_path, samples.clean("deb", 300_000))
    proxy = gateway(checked(builtin()))
    apt = Apt(proxy, serve_repository(origin, "/apt", deb), tmp_path / "apt")
    for _ in range(2):
        done = apt.get("update")
        assert done.exit == 0, done.output
        assert "Err:" not in done.output
    done = apt.get("download", "sluice-demo")
    assert (done.exit, (apt.folder / DEB).read_bytes() == deb) == (0, True), done.output
    assert proxy.record_of(origin.url(f"/apt/./{DEB}"))["status"] == "free"


def test_apt_goes_on_where_it_was_interrupted(gateway: Gateway, origin: Origin, tmp_path: Path) -> None:
    """A half of the package that is there already is completed by a 206 cut from the checked whole."""
    deb = build_deb(tmp_path, samples.clean("half deb", 300_000))
    apt = Apt(gateway(checked(builtin())), serve_repository(origin, "/apt-half", deb), tmp_path / "apt")
    assert apt.get("update").exit == 0
    partial = apt.folder / "cache/archives/partial" / DEB
    partial.write_bytes(deb[:100_000])
    os.utime(partial, (CHANGED.timestamp(), CHANGED.timestamp()))  # apt's If-Range
    done = apt.get("install", "--download-only", "--yes", "sluice-demo")
    assert done.exit == 0, done.output
    assert "Fetched 218 kB" in done.output  # of 318
    assert (apt.folder / "cache/archives" / DEB).read_bytes() == deb
    assert [e.request.header("Range") for e in origin.asked(f"/apt-half/./{DEB}")] == [None]


def test_apt_gets_no_infected_package(gateway: Gateway, origin: Origin, tmp_path: Path) -> None:
    """The package is refused with a 403 that apt shows, its exit status is 100, and no file is left."""
    deb = build_deb(tmp_path, samples.EICAR)
    apt = Apt(gateway(checked(builtin())), serve_repository(origin, "/apt-bad", deb), tmp_path / "apt")
    assert apt.get("update").exit == 0
    done = apt.get("download", "sluice-demo")
    assert done.exit == 100
    assert "403" in done.output
    assert not (apt.folder / DEB).exists()


def test_apt_takes_no_infected_list(gateway: Gateway, origin: Origin, tmp_path: Path) -> None:
    """An index with EICAR in it, inside its gzip, is an error of the update."""
    repository = serve_repository(origin, "/apt-list", b"", f" {samples.EICAR.decode()}\n")
    apt = Apt(gateway(checked(builtin())), repository, tmp_path / "apt")
    done = apt.get("update")
    assert done.exit == 100, done.output
    assert "403" in done.output
