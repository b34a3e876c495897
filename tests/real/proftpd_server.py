"""Debian's proftpd with mod_tls, run as the user who runs the tests.

Rules of this file: one virtual user with a password file of its own; under TLS the data connections must resume the
session of the control connection, which is proftpd's default.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator, Sequence

from tests.real.ftp_server import UNPACKED, FtpServer, find_program, passive_range


def find_proftpd() -> str | None:
    """Where proftpd is, or None."""
    return find_program("proftpd")


class ProftpdServer(FtpServer):
    """A running proftpd."""

    user = "tester"

    def command(self) -> Sequence[str]:
        config = self.directory / "proftpd.conf"
        config.write_text("".join(f"{line}\n" for line in self._lines()))
        passwords = self.directory / "passwd.conf"
        passwords.write_text(
            f"{self.user}:{_crypted(self.password)}:{os.getuid()}:{os.getgid()}::{self.root}:/bin/sh\n"
        )
        passwords.chmod(0o600)
        program = find_proftpd()
        assert program is not None
        return [program, "--nodaemon", "--quiet", "--config", str(config)]

    def _lines(self) -> Iterator[str]:
        modules = UNPACKED / "usr/lib/proftpd"
        first, last = passive_range()
        if modules.exists():
            yield f"ModulePath {modules}"
        yield "LoadModule mod_tls.c"
        yield from ("ServerType standalone", "DefaultServer on", f"Port {self.port}", f"DefaultAddress {self.host}")
        yield from ("SocketBindTight on", f"PassivePorts {first} {last}", "UseIPv6 on", "UseReverseDNS off")
        name, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        yield from (f"User {name}", f"Group {group}", "RootLogin on", "RequireValidShell off")
        yield from ("AuthOrder mod_auth_file.c", f"AuthUserFile {self.directory}/passwd.conf", "AuthPAM off")
        yield from (f"PidFile {self.directory}/pid", f"ScoreboardFile {self.directory}/scoreboard", "WtmpLog off")
        yield from (f"SystemLog {self.directory}/log", "TransferLog none", "MaxInstances 200", "UseFtpUsers off")
        yield from ("AllowOverwrite on", "AllowStoreRestart on", "AllowRetrieveRestart on", "TimesGMT on")
        yield from (f"DelayTable {self.directory}/delay", "DelayEngine off", "UseSendfile off")
        if self.tls != "none":
            implicit = ["UseImplicitSSL"] if self.tls == "implicit" else []
            yield from ("TLSEngine on", "TLSRequired on", f"TLSLog {self.directory}/tls.log")
            yield from (f"TLSRSACertificateFile {self.pem}", f"TLSRSACertificateKeyFile {self.pem}")
            yield from ("TLSVerifyClient off", "TLSRenegotiate none", *(f"TLSOptions {name}" for name in implicit))


def _crypted(password: str) -> str:
    """For `AuthUserFile` (crypt(5), SHA-512), by openssl: Python has no crypt any more."""
    import subprocess

    done = subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, check=True, text=True)
    return done.stdout.strip()
