"""What is said to systemd, and when nothing is said."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from avsluice.notify import Notifier, say_gateway


@pytest.mark.parametrize(
    ("environment", "period"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_whom_it_names(environment: dict[str, str], period: float | None) -> None:
    """Half of its time; none where it is not meant for this process."""
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environment}).period == period
    assert Notifier(environment).period is None


def test_who_was_not_started_by_systemd_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Nor complains."""
    Notifier({}).ready("fine")
    assert caplog.records == []


def test_a_socket_that_is_gone_is_told_and_does_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The service goes on."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).stopping()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "STOPPING=1" in caplog.text


@pytest.mark.parametrize("abstract", [True, False])
def test_one_message_a_state(abstract: bool, tmp_path: Path) -> None:
    """At a path and under an abstract name, as lines of NAME=VALUE."""
    address = f"@sluice-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address.replace("@", "\0"))
        systemd.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.ready("all is well")
        notifier.reloading()
        notifier.alive()
        heard = [systemd.recv(4096).decode() for _ in range(3)]
    assert heard[0] == "READY=1\nSTATUS=all is well"
    assert heard[1].partition("=1\nMONOTONIC_USEC=")[0] == "RELOADING"
    assert heard[2] == "WATCHDOG=1"


def test_a_gateway_is_named_with_its_addresses() -> None:
    """All of them, as a policy writes them."""
    assert say_gateway("ftp-proxy.F", [("127.0.0.1", 21), ("::1", 21)]) == "ftp-proxy.F 127.0.0.1:21 [::1]:21"
