"""The mail gateways to be compared, each with a configuration of its own on loopback, ended by its id.

Rules of this file: the same next hop (Postfix's smtp-sink) and, for those that check, the same clamd; the system's own
configurations and services are not touched; what is not installed is left out by whoever asks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.peers import Peer, free_port, ready, run

NAIVE = Path(__file__).with_name("naive_mail.py")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
SINK_SESSIONS = 1000

POLICY = """\
antivirus:
  CLAMD: {{protocol: clamav-net, address: {clamd}, timeout: 60s, max-checked-size: 190MB}}
audit: {{to: {folder}/audit.log}}
smtp-proxy:
  SMTP:
    listen: 127.0.0.1:{port}
    server: [127.0.0.1:{sink}]
    use-antivirus: [CLAMD]
    mail-acl:
      - {{name: VIRUS, when: {{virus-status: [found]}}, action: deny}}
      - {{name: AV-ERROR, when: {{virus-status: [error]}}, action: defer}}
      - {{name: AV-UNKNOWN, when: {{virus-status: [skipped, unknown]}}, action: deny}}
      - {{name: MAILOK, action: accept}}
    doc-acl: [{{name: DOCOK, action: accept}}]
"""

CLAMSMTP = """\
OutAddress: 127.0.0.1:{sink}
Listen: 127.0.0.1:{port}
ClamAddress: {clamd}
TempDirectory: {folder}/tmp
Action: bounce
MaxConnections: 100
"""

AMAVIS = """\
use strict;
$MYHOME = '{folder}/home'; $TEMPBASE = '{folder}/home/tmp'; $db_home = '{folder}/home/db';
$helpers_home = '{folder}/home';
$lock_file = '{folder}/home/lock'; $pid_file = '{folder}/home/pid'; $LOGFILE = '{folder}/home/amavis.log';
$daemon_user = 'amavis'; $daemon_group = 'amavis'; $max_servers = 4; $max_requests = 100000; $child_timeout = 300;
$enable_db = 0; $log_level = 0; $do_syslog = 0; $enable_dkim_verification = 0; $enable_dkim_signing = 0;
$mydomain = 'example.com'; $myhostname = 'mx.example.com'; @mynetworks = qw( 127.0.0.0/8 );
$inet_socket_bind = '127.0.0.1'; $inet_socket_port = {port}; $unix_socketname = undef;
$forward_method = 'smtp:[127.0.0.1]:{sink}'; $notify_method = $forward_method;
@bypass_spam_checks_maps = (1); @bypass_banned_checks_maps = (1); @bypass_header_checks_maps = (1);
$virus_quarantine_to = undef; $virus_quarantine_method = undef; $bad_header_quarantine_method = undef;
$virus_admin = undef; $warnvirusrecip = 0; $final_virus_destiny = D_REJECT;
$final_bad_header_destiny = D_PASS; $allow_disclaimers = 0; $undecipherable_subject_tag = undef;
@keep_decoded_original_maps = (1);
@av_scanners = (['ClamAV-clamd', \\&ask_daemon, ["CONTSCAN {{}}\\n", '{clamd}'],
  qr/\\bOK$/m, qr/\\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m]);
@av_scanners_backup = ();
@decoders = (['mail', \\&do_mime_decode]);
1;
"""

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:{sink}
disable_dns_lookups = yes
message_size_limit = 60000000
mailbox_size_limit = 0
"""
MASTER = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
smtp unix - - n - - smtp
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What all share: the folder is the gateway's own."""

    folder: Path
    clamd: str
    sink: int

    def write(self, name: str, text: str, port: int) -> Path:
        """A configuration, filled in."""
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.format(folder=self.folder, clamd=self.clamd, sink=self.sink, port=port))
        return file


def find(program: str) -> str | None:
    """Where a program is installed, or None."""
    return shutil.which(program, path=PATH)


@contextlib.contextmanager
def run_sink(folder: Path, limit: int = 200) -> Iterator[Peer]:
    """Postfix's smtp-sink: it takes every mail and forgets it."""
    sink, port = find("smtp-sink"), free_port()
    assert sink is not None
    command = [sink, "-u", "nobody" if os.geteuid() == 0 else "", "-m", str(limit), f"127.0.0.1:{port}"]
    with run([*command, str(SINK_SESSIONS)], port, folder / "sink.log") as pid:
        yield Peer("smtp-sink alone", port, (pid,))


@contextlib.contextmanager
def sluice(scene: Scene, workers: int = 1) -> Iterator[Peer]:
    """`avsluice run` with so many workers."""
    port = free_port()
    policy = scene.write("policy.yaml", POLICY, port)
    command = [sys.executable, "-m", "avsluice", "run", str(policy), "--allow-root"]
    command += ["--workers", str(workers)] if workers > 1 else []
    with run(command, port, scene.folder / "log") as pid:
        ready(scene.folder / "log")
        yield Peer("Sluice" if workers == 1 else f"Sluice, {workers} workers", port, (pid,))


@contextlib.contextmanager
def clamsmtp(scene: Scene) -> Iterator[Peer]:
    """clamsmtpd: one thread a connection, a temporary file, SCAN by its path."""
    port = free_port()
    (scene.folder / "tmp").mkdir()
    config = scene.write("clamsmtpd.conf", CLAMSMTP, port)
    with run(["/usr/sbin/clamsmtpd", "-d", "1", "-f", str(config)], port, scene.folder / "log") as pid:
        yield Peer("clamsmtp", port, (pid,))


@contextlib.contextmanager
def amavisd(scene: Scene) -> Iterator[Peer]:
    """amavisd with four processes, its checks for anything but viruses off."""
    port = free_port()
    # Its own user must not be able to write where its configuration lies.
    for name in ("home", "home/tmp", "home/db"):
        (scene.folder / name).mkdir()
        shutil.chown(scene.folder / name, "amavis", "amavis")
    config = scene.write("amavisd.conf", AMAVIS, port)
    with run(["/usr/sbin/amavisd", "-c", str(config), "foreground"], port, scene.folder / "log") as pid:
        yield Peer("amavisd", port, (pid,))


@contextlib.contextmanager
def naive(scene: Scene) -> Iterator[Peer]:
    """aiosmtpd and aiosmtplib, put together in an afternoon."""
    port = free_port()
    with run([sys.executable, str(NAIVE), str(port), str(scene.sink), scene.clamd], port, scene.folder / "log") as pid:
        yield Peer("aiosmtpd + aiosmtplib", port, (pid,))


@contextlib.contextmanager
def postfix(scene: Scene) -> Iterator[Peer]:
    """Postfix alone, with its queue; it checks nothing."""
    port = free_port()
    for name in ("queue", "data"):
        (scene.folder / name).mkdir()
    shutil.chown(scene.folder / "data", "postfix")
    scene.write("etc/main.cf", MAIN, port)
    scene.write("etc/master.cf", MASTER, port)
    command = ["/usr/sbin/postfix", "-c", str(scene.folder / "etc")]
    subprocess.run([*command, "start"], capture_output=True, timeout=60, check=False)
    try:
        master = _await_master(scene.folder)
        yield Peer("Postfix, no check", port, (master,))
    finally:
        subprocess.run([*command, "stop"], capture_output=True, timeout=60, check=False)


def _await_master(folder: Path) -> int:
    deadline, log = time.monotonic() + 30, folder / "log"
    while not (log.exists() and "daemon started" in log.read_text(errors="replace")):
        if time.monotonic() > deadline:
            raise RuntimeError("postfix did not start")
        time.sleep(0.05)
    return int((folder / "queue/pid/master.pid").read_text())


def await_queue(folder: Path) -> None:
    """Until Postfix has sent on what it took; others keep no queue."""
    deadline = time.monotonic() + 60
    queues = [folder / "queue" / name for name in ("maildrop", "incoming", "active", "deferred")]
    while any(file.is_file() for queue in queues if queue.exists() for file in queue.rglob("*")):
        if time.monotonic() > deadline:
            raise RuntimeError("postfix does not get rid of its queue")
        time.sleep(0.1)


GATEWAYS = {
    "sluice": (sluice, "avsluice"),
    "sluice2": (partial(sluice, workers=2), "avsluice"),
    "clamsmtp": (clamsmtp, "clamsmtpd"),
    "amavisd": (amavisd, "amavisd"),
    "naive": (naive, ""),
    "postfix": (postfix, "postfix"),
}
"""By name: how to start it, and the program it needs."""


def installed(name: str) -> bool:
    """Whether the gateway can be started here."""
    program = GATEWAYS[name][1]
    needs_root = name in ("amavisd", "postfix")
    return program in ("", "avsluice") or (find(program) is not None and (os.geteuid() == 0 or not needs_root))


@contextlib.contextmanager
def folders() -> Iterator[Path]:
    """A folder that daemons of other users may enter; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)
