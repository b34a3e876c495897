"""avsluice top, before the listener of real metrics."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from avsluice.__main__ import main
from inspection.metrics import Metrics
from inspection.metrics_server import WORKER, MetricsServer
from inspection.under_way import UnderWay, tell_all
from policy.address import Address
from tests.fakes.loop_thread import LoopThread


class Work:
    """A transfer of that age."""

    def __init__(self, age: float, url: str) -> None:
        self._age, self._url = age, url

    def tell(self) -> UnderWay:
        return UnderWay(
            id="x",
            client="192.0.2.7",
            object=self._url,
            direction="download",
            received=7,
            sent=2,
            phase="trickling",
            age=self._age,
        )


class Gateway:
    """What is watched, as far as /transfers asks."""

    name = "http-proxy.HTTP"

    def __init__(self, *works: object) -> None:
        self._works = works

    def tell(self) -> list[dict[str, object]]:
        return tell_all(self.name, self._works)


@pytest.fixture
def unix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two processes tell: one of an old and one that cannot tell, the other of a young one."""
    path = str(tmp_path / "m.sock")
    with LoopThread() as loop:
        servers = []
        for number, works in enumerate(([Work(9, "http://h/\x1b[2J\u202e?secret"), object()], [Work(3, "/b")])):
            monkeypatch.setitem(os.environ, WORKER, str(number))
            metrics = Metrics()
            gateway = Gateway(*works)
            metrics.watched.add(gateway)  # type: ignore[arg-type]  # as far as it is asked
            server = MetricsServer(metrics)
            loop.run(server.hold(gateway, Address(unix=path)))
            servers.append((server, gateway))
        yield path
        for server, gateway in servers:
            loop.run(_release(server, gateway))


async def _release(server: MetricsServer, holder: object) -> None:
    server.release(holder)


def test_all_processes_are_asked(unix: str, capsys: pytest.CaptureFixture[str]):
    """Transfers of all siblings, the oldest first, without queries, safe for a terminal."""
    assert main(["top", unix, "--once"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "2 under way, 14 bytes"
    assert out[1].split() == ["PROXY", "CLIENT", "PHASE", "AGE", "RECEIVED", "SENT", "OBJECT"]
    assert out[2].split() == [
        "http-proxy.HTTP",
        "192.0.2.7",
        "trickling",
        "9.0s",
        "7",
        "2",
        "http://h/\\u001b[2J\\u202e",
    ]
    assert out[3].split()[3:] == ["3.0s", "7", "2", "/b"]


def test_json(unix: str, capsys: pytest.CaptureFixture[str]):
    """One array for scripts."""
    assert main(["top", unix, "--json"]) == 0
    assert [one["age"] for one in json.loads(capsys.readouterr().out)] == [9.0, 3.0]


def test_the_policy_says_where(unix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A policy file stands for its metrics.listen; one without is told what to do."""
    proxy = "http-proxy: {H: {listen: '127.0.0.1:1', doc-acl: {name: D, antivirus: B}}}\n"
    text = "antivirus: {B: {protocol: builtin}}\n" + proxy
    (tmp_path / "p.yaml").write_text(f"{text}metrics: {{listen: {unix}}}\n")
    assert main(["top", str(tmp_path / "p.yaml"), "--once"]) == 0
    (tmp_path / "p.yaml").write_text(text)
    assert main(["top", str(tmp_path / "p.yaml")]) == 2
    assert "has no metrics.listen" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]):
    """Where nobody listens, and where somebody else does, it is exit status 2 and a reason."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    assert main(["top", f"127.0.0.1:{port}"]) == 2
    assert "Connection refused" in capsys.readouterr().err
    assert main(["top", "nonsense"]) == 2
    assert "lacks a port" in capsys.readouterr().err
