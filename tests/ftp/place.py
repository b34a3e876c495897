"""Where an FTP client of a test goes: a server itself, or a gateway before it.

Rules of this file: facts only; `tls` is what the client speaks there, whatever lies behind.
"""

from __future__ import annotations

import ftplib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

type Tls = Literal["none", "starttls", "implicit"]
type Data = Literal["pasv", "epsv", "port", "eprt"]


@dataclass(frozen=True, slots=True)
class Place:
    """An address, an account, how TLS is spoken and whose certificate is believed. `root`: the server's files."""

    port: int
    root: Path
    user: str = "anonymous"
    password: str = "secret-of-the-tests"  # noqa: S105 - the word that no log may contain
    tls: Tls = "none"
    ca: str = ""
    host: str = "127.0.0.1"

    def login(self, data: Data = "pasv") -> ftplib.FTP:
        """A session of ftplib's, logged in; its data connections are opened in that way."""
        client = connect(self, data)
        try:
            client.login(self.user, self.password)
            if isinstance(client, ftplib.FTP_TLS):
                client.prot_p()
        except BaseException:
            client.close()
            raise
        return client


def connect(place: Place, data: Data = "pasv") -> ftplib.FTP:
    """Connected and greeted, nothing more; AUTH TLS is left to `login`."""
    client: ftplib.FTP
    if place.tls == "none":
        client = _plain(data)(timeout=10)
    else:
        kind = _Implicit if place.tls == "implicit" else _Secured
        client = _with_data(kind, data)(context=context(place), timeout=10)
    try:
        client.connect(place.host, place.port)
    except BaseException:
        client.close()
        raise
    return client


def context(place: Place) -> ssl.SSLContext:
    """A client's context that believes the place's certificate."""
    made = ssl.create_default_context(cafile=place.ca)
    made.check_hostname = False  # tests go by address
    return made


class _Secured(ftplib.FTP_TLS):
    """ftplib's, but a data connection resumes the session of the control connection, as vsftpd demands."""

    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            assert isinstance(self.sock, ssl.SSLSocket)
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
        return conn, size


class _Implicit(_Secured):
    """TLS from the first byte."""

    def connect(self, host="", port=0, timeout=-999, source_address=None):
        import socket

        self.host, self.port = host, port
        raw = socket.create_connection((host, port), 10)
        self.af = raw.family
        self.sock = self.context.wrap_socket(raw, server_hostname=host)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def login(self, user="", passwd="", acct="", secure=False):
        return super().login(user, passwd, acct, secure=False)


class _Ways:
    """The four ways to a data connection, whatever the address family; mixed into one of ftplib's classes."""

    data: Data

    def makepasv(self):
        if self.data == "pasv":
            return ftplib.FTP.makepasv(self)
        return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())

    def sendport(self, host, port):
        return self._tell(host, port, 4)

    def sendeprt(self, host, port):
        return self._tell(host, port, 6)

    def _tell(self, host, port, family):
        if self.data == "eprt":
            return self.voidcmd(f"EPRT |{2 if ':' in host else 1}|{host}|{port}|")
        return ftplib.FTP.sendport(self, host, port)


def _with_data(base: type[ftplib.FTP], data: Data) -> type[ftplib.FTP]:
    return type("Client", (_Ways, base), {"data": data, "passiveserver": data in ("pasv", "epsv")})


def _plain(data: Data) -> type[ftplib.FTP]:
    return _with_data(ftplib.FTP, data)
