"""What has an end: peers that say nothing, or nonsense."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avsluice.__main__ import main
from avsluice.passages import visit

WORDS = ("--ftp-login", "me", "--mail-to", "me@example.org", "--json")


class Peer:
    """Accepts, says its words to everybody, and then nothing."""

    def __init__(self) -> None:
        self.words = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._peers: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self._peers.append(peer)
            peer.sendall(self.words)

    def close(self) -> None:
        """End."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for peer in self._peers:
            peer.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    """One."""
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience for tests, and a password."""
    monkeypatch.setattr(visit, "CALM", 0.05)
    monkeypatch.setenv("AVSLUICE_PASSWORD", "x")


def write(folder: Path, peer: Peer, kind: str) -> str:
    """A policy whose one gateway of that kind is the peer."""
    section: dict[str, object] = {"listen": peer.address}
    section |= {} if kind == "http-proxy" else {"server": "127.0.0.1:1"}
    section |= {"no-mail-scanning": True} if kind == "smtp-proxy" else {"doc-acl": [{"name": "D"}]}
    (folder / "policy.yaml").write_text(json.dumps({kind: {"G": section}}))
    return str(folder / "policy.yaml")


@pytest.mark.parametrize("kind", ["http-proxy", "ftp-proxy", "smtp-proxy"])
def test_silence_has_an_end(tmp_path: Path, peer: Peer, kind: str, capsys: pytest.CaptureFixture[str]):
    """A peer that says nothing is a fault, after a while that is told."""
    assert main(["doctor", write(tmp_path, peer, kind), *WORDS]) == 1
    rows = json.loads(capsys.readouterr().out)["gateways"]
    assert {(row["fate"], row["said"].split(" 0.")[0]) for row in rows} == {("failed", "no answer within")}


@pytest.mark.parametrize("kind", ["http-proxy", "ftp-proxy", "smtp-proxy"])
@pytest.mark.parametrize("words", [b"SSH-2.0-odd\r\n" * 2, b"\xff" * 70_000, b"220-for ever\r\n" * 300])
def test_nonsense_is_a_fault(tmp_path: Path, peer: Peer, kind: str, words: bytes, capsys: pytest.CaptureFixture[str]):
    """Another service, an endless line, an endless reply: told as what it is, never as a pass."""
    peer.words = words
    assert main(["doctor", write(tmp_path, peer, kind), *WORDS]) == 1
    rows = json.loads(capsys.readouterr().out)["gateways"]
    assert rows
    assert all(row["fate"] == "failed" and not row["leaked"] and row["said"] for row in rows)
