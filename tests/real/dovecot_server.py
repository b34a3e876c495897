"""A real Dovecot for IMAP on loopback, with mailboxes of its own, as the user who runs the tests."""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.real.ports import free_port

_START_WITHIN = 20.0
_NOBODY = 65534
USER, PASSWORD = "user@example.org", 'pass "word" \\ of mine'

_CONFIG = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
{users}
mail_location = maildir:{base}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 0
first_valid_gid = 0
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/home/%u
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


def find_dovecot() -> str | None:
    """Where a Dovecot with IMAP is installed, or None."""
    found = shutil.which("dovecot") or shutil.which("/usr/sbin/dovecot")
    return found if found and Path("/usr/lib/dovecot/imap").exists() else None


@contextlib.contextmanager
def run_dovecot() -> Iterator[tuple[str, int]]:
    """Serves for the time of the block; the address. USER logs in with PASSWORD."""
    with own_place() as (base, uid, gid):
        (base / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        port = free_port()
        config = _CONFIG.format(base=base, port=port, uid=uid, gid=gid, users=list_users())
        with serve(base, config, port, b"* OK"):
            yield "127.0.0.1", port


@contextlib.contextmanager
def own_place() -> Iterator[tuple[Path, int, int]]:
    """A directory for one Dovecot, and the user and group who own its mail."""
    with tempfile.TemporaryDirectory(prefix="dc-", dir="/tmp") as path:  # names of its sockets must stay short
        base = Path(path)
        for name in ("run", "state", "mail", "home"):
            (base / name).mkdir()
        uid, gid = (os.getuid(), os.getgid()) if os.getuid() else (_NOBODY, _NOBODY)  # it refuses mail of root's
        for name in ("mail", "home"):
            os.chown(base / name, uid, gid)
        base.chmod(0o755)  # for the package's own users, to whom root's Dovecot hands what needs no rights
        yield base, uid, gid


@contextlib.contextmanager
def serve(base: Path, config: str, port: int, greeting: bytes) -> Iterator[None]:
    """A Dovecot with that configuration for the time of the block, once it greets on `port`."""
    file = base / "dovecot.conf"
    file.write_text(config)
    process = subprocess.Popen([find_dovecot() or "dovecot", "-F", "-c", str(file)])
    try:
        _await_greeting(port, base / "log", greeting)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def list_users() -> str:
    """Root's Dovecot insists on the package's users; anybody else's can only be themselves."""
    if os.getuid() == 0:
        return ""
    user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
    return f"default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}"


def _await_greeting(port: int, log: Path, greeting: bytes) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            if link.recv(len(greeting)) == greeting:
                return
        time.sleep(0.05)
    raise RuntimeError(f"dovecot did not start: {log.read_text() if log.exists() else 'no log'}")
