"""A hosted ftp-proxy: start, reload, drain."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ftpgw.hosted import FtpHosted

POLICY = """
antivirus: {AV: {protocol: builtin}}
ftp-proxy:
  FTP:
    listen: '127.0.0.1:0'
    server: '127.0.0.1:1'
    doc-acl: [{name: CHECKED, antivirus: [AV]}]
"""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[FtpHosted, int, Path]]:
    """A gateway, its port, its policy file."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY + f"audit: {{to: '{tmp_path}/audit'}}\n")
    hosted = FtpHosted(file, "FTP")
    hosted.read()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    await hosted.start([sock])
    yield hosted, port, file
    await hosted.close()


async def test_an_idle_session_is_dismissed(running: tuple[FtpHosted, int, Path]) -> None:
    """At a drain it gets 421 and its end, and nobody new is accepted."""
    hosted, port, _ = running
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readline()).startswith(b"220 ")
    await hosted.drain(5)
    assert (await reader.readline()).startswith(b"421 ")
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_no_server_is_421(running: tuple[FtpHosted, int, Path]) -> None:
    """Where no server can be reached USER ends the session."""
    _, port, _ = running
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"USER me\r\n")
    assert (await reader.readline()).startswith(b"421 ")
    assert await reader.read() == b""
    writer.close()


async def test_a_broken_policy_changes_nothing(
    running: tuple[FtpHosted, int, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the old one stays; a good one takes its place."""
    hosted, _, file = running
    before, good = hosted.gateway, file.read_text()
    file.write_text("ftp-proxy: {FTP: {}}\n")
    with caplog.at_level(logging.ERROR):
        await hosted.reload()
    assert hosted.gateway is before
    assert "stays as it was" in caplog.text
    file.write_text(good)
    await hosted.reload()
    assert hosted.gateway is not before
