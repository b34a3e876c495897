"""Debian's vsftpd, run as the user who runs the tests.

Rules of this file: one anonymous user who may do everything, so that neither PAM nor root is needed; under TLS the data
connections must resume the session of the control connection.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence

from tests.real.ftp_server import FtpServer, find_program, passive_range


def find_vsftpd() -> str | None:
    """Where vsftpd is, or None."""
    return find_program("vsftpd")


class VsftpdServer(FtpServer):
    """A running vsftpd."""

    def command(self) -> Sequence[str]:
        config = self.directory / "vsftpd.conf"
        config.write_text("".join(f"{line}\n" for line in self._lines()))
        program = find_vsftpd()
        assert program is not None
        return [program, str(config)]

    def _lines(self) -> Iterator[str]:
        first, last = passive_range()
        version6 = ":" in self.host
        yield from (f"listen={_yes(not version6)}", f"listen_ipv6={_yes(version6)}")
        yield f"listen_address{'6' if version6 else ''}={self.host}"
        yield from (f"listen_port={self.port}", f"pasv_min_port={first}", f"pasv_max_port={last}")
        yield from ("background=NO", "run_as_launching_user=YES", "max_clients=0", "max_per_ip=0", "seccomp_sandbox=NO")
        yield f"ftp_username={pwd.getpwuid(os.getuid()).pw_name}"
        yield from ("anonymous_enable=YES", f"anon_root={self.root}", "anon_umask=022", "write_enable=YES")
        yield from ("anon_upload_enable=YES", "anon_mkdir_write_enable=YES", "anon_other_write_enable=YES")
        yield from ("anon_world_readable_only=NO", "ascii_upload_enable=YES", "ascii_download_enable=YES")
        yield from ("connect_from_port_20=NO", "mdtm_write=YES", "ls_recurse_enable=YES", "use_localtime=NO")
        yield from ("xferlog_enable=NO", "dual_log_enable=NO", f"vsftpd_log_file={self.directory}/log")
        yield from ("log_ftp_protocol=YES", "idle_session_timeout=60", "data_connection_timeout=60")
        if self.tls != "none":
            yield from (
                "ssl_enable=YES",
                "allow_anon_ssl=YES",
                f"rsa_cert_file={self.pem}",
                f"implicit_ssl={_yes(self.tls == 'implicit')}",
            )
            yield from ("force_anon_logins_ssl=YES", "force_anon_data_ssl=YES", "require_ssl_reuse=YES")
            yield from ("ssl_tlsv1=YES", "ssl_ciphers=HIGH")


def _yes(truth: bool) -> str:
    return "YES" if truth else "NO"
