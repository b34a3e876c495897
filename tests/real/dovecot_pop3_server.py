"""A real Dovecot for POP3 on loopback, with mailboxes of its own, as the user who runs the tests.

Rules of this file: a mailbox is filled before it is opened; what is put in is what POP3 gives, octet for octet.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.real.dovecot_server import find_dovecot, list_users
from tests.real.ports import free_port

_START_WITHIN = 20.0
_NOBODY = 65534
PASSWORD = "secret-Pass-1"  # noqa: S105 - of the tests alone

_CONFIG = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = pop3
listen = 127.0.0.1
ssl = {ssl}
disable_plaintext_auth = no
auth_failure_delay = 0
{users}
{certificate}
mail_location = maildir:{base}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
first_valid_gid = 0
mail_fsync = never
mail_max_userip_connections = 1000
auth_mechanisms = plain login cram-md5 apop scram-sha-256
passdb {{
  driver = static
  args = password={{PLAIN}}{password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/home/%u
}}
namespace inbox {{
  inbox = yes
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


def find_dovecot_pop3() -> str | None:
    """Where a Dovecot with POP3 is installed, or None."""
    return find_dovecot() if Path("/usr/lib/dovecot/pop3").exists() else None


@dataclass
class DovecotPop3:
    """`port` speaks POP3 (with STLS where there is a certificate), `pop3s` under TLS from the start; 0: not there."""

    base: Path
    port: int
    pop3s: int
    owner: tuple[int, int]
    _users: Iterator[int] = field(default_factory=itertools.count)

    def fill(self, mails: Sequence[bytes]) -> str:
        """A new mailbox with these mails in this order; its user's name. CRLF mails are kept as they are."""
        user = f"user{next(self._users)}"
        box = self.base / "mail" / user
        for name in ("cur", "new", "tmp"):
            (box / name).mkdir(parents=True)
        for number, mail in enumerate(mails):
            (box / "cur" / f"{1_600_000_000 + number}.M{number}P1.host,S={len(mail)},W={len(mail)}:2,").write_bytes(
                mail
            )
        for path in (box, *box.rglob("*")):
            os.chown(path, *self.owner)
        return user


@contextlib.contextmanager
def run_dovecot_pop3(certificate: Path | None = None, key: Path | None = None) -> Iterator[DovecotPop3]:
    """Serves for the time of the block; every user logs in with PASSWORD."""
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as path:
        base, port = Path(path), free_port()
        pop3s = free_port() if certificate else 0
        for name in ("run", "state", "mail", "home"):
            (base / name).mkdir()
        uid, gid = (os.getuid(), os.getgid()) if os.getuid() else (_NOBODY, _NOBODY)  # it refuses mail of root's
        for name in ("mail", "home"):
            os.chown(base / name, uid, gid)
        base.chmod(0o755)
        words = {"base": base, "port": port, "pop3s": pop3s, "uid": uid, "gid": gid, "users": list_users()}
        tls = f"ssl_cert = <{certificate}\nssl_key = <{key}" if certificate else ""
        ssl = "yes" if certificate else "no"
        config = base / "dovecot.conf"
        config.write_text(_CONFIG.format(**words, password=PASSWORD, certificate=tls, ssl=ssl))
        process = subprocess.Popen([shutil.which("dovecot") or find_dovecot() or "", "-F", "-c", str(config)])
        try:
            _await_greeting(port, base / "log")
            yield DovecotPop3(base, port, pop3s, (uid, gid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def _await_greeting(port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            if link.recv(3) == b"+OK":
                return
        time.sleep(0.05)
    raise RuntimeError(f"dovecot did not start: {log.read_text() if log.exists() else 'no log'}")
