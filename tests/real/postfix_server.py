"""Debian's Postfix, run with a configuration, a queue and ports of our own; the system's is not touched.

Rules of this file: the real thing or nothing; every mail it accepts stays in its hold queue, where the tests read it;
its master needs root, so without root the tests are left out and counted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.real.ports import free_port

_START_WITHIN = 30.0

_MAIN = """\
compatibility_level = 3.6
queue_directory = {0}/queue
data_directory = {0}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {0}/log
maillog_file_prefixes = {0}
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination = example.com
local_recipient_maps =
local_header_rewrite_clients =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_authorized_xforward_hosts = 127.0.0.0/8
smtpd_recipient_restrictions =
  check_recipient_access inline:{{nobody@example.com=REJECT}},
  check_client_access static:HOLD, permit
smtpd_delay_reject = no
message_size_limit = 60000000
"""
_MASTER = """\
{inner} inet n - n - - smtpd
{front} inet n - n - - smtpd
  -o smtpd_proxy_filter=127.0.0.1:{filter}
  -o smtpd_recipient_restrictions=permit
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
"""


def find_postfix() -> str | None:
    """Where postfix is installed, or None; None without root, too."""
    found = shutil.which("postfix", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return found if os.geteuid() == 0 else None


class PostfixServer:
    """`port` takes mail; `front_port` takes mail and has it filtered at `filter_port` before its queue."""

    def __init__(self) -> None:
        # Postfix's own user must get in, and Unix socket names are short.
        self.directory = Path(tempfile.mkdtemp(prefix="postfix-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.port, self.front_port, self.filter_port = free_port(), free_port(), free_port()
        for made in ("etc", "queue", "data"):
            (self.directory / made).mkdir()
        shutil.chown(self.directory / "data", "postfix")
        (self.directory / "etc/main.cf").write_text(_MAIN.format(self.directory))
        ports = {"inner": self.port, "front": self.front_port, "filter": self.filter_port}
        (self.directory / "etc/master.cf").write_text(_MASTER.format(**ports))

    def start(self) -> None:
        """Returns once it has started."""
        self._control("start")
        deadline = time.monotonic() + _START_WITHIN
        while "daemon started" not in self.log():
            if time.monotonic() > deadline:
                raise RuntimeError("postfix did not start:\n" + self.log())
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it and removes its directory."""
        self._control("stop")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _control(self, word: str) -> None:
        postfix = find_postfix()
        assert postfix is not None
        subprocess.run([postfix, "-c", str(self.directory / "etc"), word], capture_output=True, timeout=60, check=False)

    def log(self) -> str:
        """What it wrote so far."""
        file = self.directory / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def held(self) -> set[str]:
        """The queue ids of what it took."""
        return {file.name for file in (self.directory / "queue/hold").glob("*")}

    def envelope(self, queue_id: str) -> list[str]:
        """The recipients of a mail as it lies in the queue, `!` before who gets no notification."""
        words = ["postcat", "-c", str(self.directory / "etc"), "-eq", queue_id]
        text = subprocess.run(words, capture_output=True, timeout=30, check=True, text=True).stdout
        recipients: list[str] = []
        for line in text.splitlines():
            if line.startswith("recipient: "):
                recipients.append(line.removeprefix("recipient: "))
            elif line.endswith(" notify_flags=1"):
                recipients.append("!")
        return recipients

    def content(self, queue_id: str) -> bytes:
        """A mail as it lies in the queue, line ends LF, without the Received field that Postfix put before it."""
        words = ["postcat", "-c", str(self.directory / "etc"), "-bhq", queue_id]
        mail = subprocess.run(words, capture_output=True, timeout=30, check=True).stdout
        lines = mail.split(b"\n")
        assert lines[0].startswith(b"Received: from")
        count = next(n for n, line in enumerate(lines[1:], 1) if not line.startswith((b"\t", b" ")))
        return b"\n".join(lines[count:])


@contextlib.contextmanager
def run_postfix() -> Iterator[PostfixServer]:
    """A Postfix for the time of the block."""
    server = PostfixServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()
