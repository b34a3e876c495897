"""The programs and libraries that fetch and store: one shape for all, so that one test can drive each of them.

Rules of this file: a client says what happened by `Run` (exit 0 means that it told its user of success) and leaves its
files in the folder it was given; it judges nothing.
"""

from __future__ import annotations

import asyncio
import ftplib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import aioftp

from tests.clients.programs import Run, run
from tests.ftp.place import Data, Place, Tls

type Way = tuple[Data, Tls]


class Client(ABC):
    """One program, at a place, in a folder. Names are those of plain files, the same on both sides."""

    ways: tuple[Way, ...] = ()
    resumes = True
    stores = True

    def __init__(self, place: Place, data: Data, folder: Path) -> None:
        self.place, self.data, self.folder = place, data, folder

    @abstractmethod
    def get(self, name: str, *, resume: bool = False) -> Run:
        """Fetch; `resume`: go on with what the folder has of it."""

    def put(self, name: str, *, resume: bool = False) -> Run:
        """Store; `resume`: go on with what the server has of it."""
        raise NotImplementedError

    @property
    def _url(self) -> str:
        return f"{self.place.host}:{self.place.port}"


def _calling(work: Callable[[], object]) -> Run:
    try:
        return Run(0, str(work()))
    except (ftplib.Error, OSError, EOFError, aioftp.AIOFTPException) as error:
        return Run(1, str(error) or type(error).__name__)


class Ftplib(Client):
    """Python's own."""

    ways = tuple((d, t) for d in ("pasv", "epsv", "port", "eprt") for t in ("none", "starttls", "implicit"))

    def get(self, name: str, *, resume: bool = False) -> Run:
        file = self.folder / name
        have = file.stat().st_size if resume else None

        def work() -> str:
            with self.place.login(self.data) as ftp, file.open("ab" if resume else "wb") as to:
                return ftp.retrbinary(f"RETR {name}", to.write, rest=have)

        return _calling(work)

    def put(self, name: str, *, resume: bool = False) -> Run:
        def work() -> str:
            with self.place.login(self.data) as ftp, (self.folder / name).open("rb") as data:
                ftp.voidcmd("TYPE I")
                have = ftp.size(name) if resume else None
                data.seek(have or 0)
                return ftp.storbinary(f"STOR {name}", data, rest=have)

        return _calling(work)


class Curl(Client):
    """curl. Active mode under TLS fails in curl 7.88 itself (`sa_addr inet_ntop() failed`)."""

    ways = (
        *((d, "none") for d in ("pasv", "epsv", "port", "eprt")),
        *((d, t) for d in ("pasv", "epsv") for t in ("starttls", "implicit")),
    )
    _DATA: ClassVar[dict[str, list[str]]] = {
        "pasv": ["--disable-epsv"],
        "epsv": [],
        "port": ["--ftp-port", "-", "--disable-eprt"],
        "eprt": ["--ftp-port", "-"],
    }

    def get(self, name: str, *, resume: bool = False) -> Run:
        return self._run(["--output", name, *(["--continue-at", "-"] if resume else [])], name)

    def put(self, name: str, *, resume: bool = False) -> Run:
        return self._run(["--upload-file", name, *(["--continue-at", "-"] if resume else [])], name)

    def _run(self, words: list[str], name: str) -> Run:
        scheme = "ftps" if self.place.tls == "implicit" else "ftp"
        secured = ["--ssl-reqd", "--insecure"] if self.place.tls != "none" else []
        account = ["--user", f"{self.place.user}:{self.place.password}", "--noproxy", "*", "--max-time", "20"]
        command = ["curl", "-sS", *account, *secured, *self._DATA[self.data], *words]
        return run([*command, f"{scheme}://{self._url}/{name}"], self.folder)


class Lftp(Client):
    """lftp, told to give up after two tries."""

    ways = tuple((d, t) for d in ("pasv", "epsv", "port") for t in ("none", "starttls", "implicit"))

    def get(self, name: str, *, resume: bool = False) -> Run:
        return self.script(f"get {'-c ' if resume else ''}{name}")

    def put(self, name: str, *, resume: bool = False) -> Run:
        return self.script(f"put {'-c ' if resume else ''}{name}")

    def script(self, *commands: str, tries: int = 2) -> Run:
        """Commands of lftp's in one session."""
        first = [
            "set cmd:fail-exit yes; set ssl:verify-certificate no; set ftp:sync-mode yes",
            "set net:reconnect-interval-base 1; set net:reconnect-interval-multiplier 1",
            f"set net:max-retries {tries}; set net:timeout 10; set net:persist-retries 0; set xfer:clobber yes",
            f"set ftp:passive-mode {_on(self.data != 'port')}; set ftp:prefer-epsv {_on(self.data == 'epsv')}",
            f"set ftp:ssl-force {_on(self.place.tls != 'none')}; set ftp:ssl-allow {_on(self.place.tls != 'none')}",
            "set ftp:ssl-protect-data yes",
            f"open -u {self.place.user},{self.place.password} "
            f"{'ftps' if self.place.tls == 'implicit' else 'ftp'}://{self._url}",
        ]
        return run(["lftp", "--norc", "-c", "; ".join([*first, *commands])], self.folder)


class Wget(Client):
    """GNU wget; it stores nothing."""

    ways = (("pasv", "none"), ("port", "none"), ("pasv", "starttls"), ("pasv", "implicit"))
    stores = False

    def get(self, name: str, *, resume: bool = False) -> Run:
        scheme = "ftp" if self.place.tls == "none" else "ftps"
        words = ["--ftps-implicit"] if self.place.tls == "implicit" else []
        words += ["--no-check-certificate"] if self.place.tls != "none" else []
        words += ["--no-passive-ftp"] if self.data == "port" else []
        words += ["--continue"] if resume else [f"--output-document={name}"]
        account = [f"--ftp-user={self.place.user}", f"--ftp-password={self.place.password}"]
        command = ["wget", "--no-proxy", "--tries=3", "--waitretry=0", "--timeout=10", *account, *words]
        return run([*command, f"{scheme}://{self._url}/{name}"], self.folder)


class Aioftp(Client):
    """aioftp.Client, plain: under TLS it shakes hands before its command, which servers do not answer."""

    ways = (("pasv", "none"), ("epsv", "none"))

    def get(self, name: str, *, resume: bool = False) -> Run:
        return _calling(lambda: asyncio.run(self._get(name, resume)))

    def put(self, name: str, *, resume: bool = False) -> Run:
        return _calling(lambda: asyncio.run(self._put(name, resume)))

    def _session(self) -> object:
        place = self.place
        return aioftp.Client.context(
            place.host, place.port, place.user, place.password, passive_commands=(self.data,), socket_timeout=10
        )

    async def _get(self, name: str, resume: bool) -> None:
        file = self.folder / name
        have = file.stat().st_size if resume else 0
        async with self._session() as client, client.download_stream(name, offset=have) as stream:
            with file.open("ab" if resume else "wb") as to:
                async for block in stream.iter_by_block():
                    to.write(block)

    async def _put(self, name: str, resume: bool) -> None:
        async with self._session() as client:
            await client.command("TYPE I", "200")
            have = int((await client.command(f"SIZE {name}", "213"))[1][0]) if resume else 0
            async with client.upload_stream(name, offset=have) as stream:
                await stream.write((self.folder / name).read_bytes()[have:])


def _on(truth: bool) -> str:
    return "on" if truth else "off"


CLIENTS: dict[str, type[Client]] = {"ftplib": Ftplib, "curl": Curl, "lftp": Lftp, "wget": Wget, "aioftp": Aioftp}
