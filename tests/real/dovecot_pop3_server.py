"""A real Dovecot for POP3 on loopback, with mailboxes of its own, as the user who runs the tests.

Rules of this file: a mailbox is filled before it is opened; what is put in is what POP3 gives, octet for octet.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.real.dovecot_server import find_dovecot, list_users, own_place, serve
from tests.real.ports import free_port

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
    with own_place() as (base, uid, gid):
        port, pop3s = free_port(), free_port() if certificate else 0
        words = {"base": base, "port": port, "pop3s": pop3s, "uid": uid, "gid": gid, "users": list_users()}
        tls = f"ssl_cert = <{certificate}\nssl_key = <{key}" if certificate else ""
        ssl = "yes" if certificate else "no"
        config = _CONFIG.format(**words, password=PASSWORD, certificate=tls, ssl=ssl)
        with serve(base, config, port, b"+OK"):
            yield DovecotPop3(base, port, pop3s, (uid, gid))
