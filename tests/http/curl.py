"""curl as the client: the exit status and the bytes that a user would have."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.http.proxy import Proxy

CUT = (18, 56, 92)  # partial file, receive failure, HTTP/2 stream error: what a cut transfer must end in


@dataclass(frozen=True, slots=True)
class Curled:
    """What one curl run left: its exit status, the last reply's status and headers, and the body."""

    exit: int
    status: int
    headers: dict[str, str]
    body: bytes
    error: str

    @property
    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode()


def curl_command(proxy: Proxy, url: str, *args: str) -> list[str]:
    """The command line, for a caller who wants to run it another way."""
    return ["curl", "-sS", "--noproxy", "", "--proxy", proxy.address, "--max-time", "20", *args, url]


def environment() -> dict[str, str]:
    """The environment without any proxy settings of the machine."""
    return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}


def curl(proxy: Proxy, url: str, *args: str) -> Curled:
    """Run curl through the proxy until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        head, body = Path(folder, "head"), Path(folder, "body")
        written = ["-D", str(head), "-o", str(body), "-w", "%{http_code}"]
        command = curl_command(proxy, url, *written, *args)
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        raw = head.read_text("latin-1") if head.exists() else ""
        data = body.read_bytes() if body.exists() else b""
    return Curled(done.returncode, int(done.stdout[-3:] or 0), _last_headers(raw), data, done.stderr)


def _last_headers(raw: str) -> dict[str, str]:
    """The headers of the last block (a CONNECT and interim replies come before it), names in lower case."""
    blocks = [block for block in raw.replace("\r\n", "\n").split("\n\n") if block]
    lines = blocks[-1].split("\n")[1:] if blocks else []
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
