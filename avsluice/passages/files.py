"""Through an ftp-proxy: a clean file up, back and away again, then EICAR, which must not arrive.

Rules of this file: names are random and nothing else on the server is touched; what went up is deleted; where the
server itself refuses a clean file for good, nothing is said of EICAR.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import ssl
from dataclasses import dataclass

from avsluice.diagnosis import CLEAN, INFECTED, ZIPPED
from avsluice.passages.dialogue import Dialogue, Reply, trust
from avsluice.passages.passage import Fate
from avsluice.passages.visit import NotTried, Visit, closing
from policy.ask import decide
from policy.decision import Decision
from policy.facts import ObjectFacts
from policy.model import FtpProxy
from policy.verdict import Status

_OBJECTS = 4
_EPSV = re.compile(r"\((.)\1\1(\d{1,5})\1\)")
_MOST = 1 << 16


@dataclass(frozen=True, slots=True)
class Login:
    """An account of the server behind the gateway, and the directory to store in ("" is where it begins)."""

    user: str
    password: str
    directory: str = ""

    def __repr__(self) -> str:
        return f"<Login {self.user}>"


async def visit_files(visit: Visit, gateway: FtpProxy, login: Login | None) -> None:
    """Fills `visit.passages`; `gateway` is the visit's."""
    async with visit.bounded(_OBJECTS):
        if gateway.transparent:
            raise NotTried("it is transparent: only connections that were redirected to it lead anywhere")
        streams = await visit.connect()
        async with closing(streams[1]):
            if visit.client is None:
                raise NotTried("it listens on a Unix socket, where there is no way for data connections")
            if login is None:
                raise NotTried(_ask_for_login(gateway))
            await _Session(visit, login, gateway, Dialogue(*streams)).run()


def _ask_for_login(gateway: FtpProxy) -> str:
    return f"needs an account: --ftp-login {'USER@HOST:PORT' if gateway.user_at_host else 'USER'}"


class _Session:
    def __init__(self, visit: Visit, login: Login, gateway: FtpProxy, dialogue: Dialogue) -> None:
        self._visit, self._login, self._gateway, self._dialogue = visit, login, gateway, dialogue
        self._tls: ssl.SSLContext | None = None

    async def run(self) -> None:
        await self._log_in()
        clean = CLEAN.read(0, CLEAN.size)
        name = _make_name()
        if await self._try_clean(name, clean):
            await self._try_back(name, clean)
            for what, body in (("EICAR", INFECTED), ("EICAR in a zip", ZIPPED)):
                await self._try_infected(what, body.read(0, body.size))
        self._dialogue.say("QUIT")

    # --- the session

    async def _log_in(self) -> None:
        await self._secure()
        reply = await self._dialogue.ask(f"USER {self._login.user}")
        if reply.code == 331:
            reply = await self._dialogue.ask(f"PASS {self._login.password}")
        self._require(reply, "the login failed", 230, 232)
        if self._tls is not None:
            await self._dialogue.ask("PBSZ 0")
            self._require(await self._dialogue.ask("PROT P"), "PROT P", 200)
        if self._login.directory:
            self._require(await self._dialogue.ask(f"CWD {self._login.directory}"), "CWD", 250)
        self._require(await self._dialogue.ask("TYPE I"), "TYPE I", 200)

    async def _secure(self) -> None:
        tls = self._gateway.tls
        if tls.mode != "none":
            self._tls = trust(tls.certificate)
        if tls.mode == "implicit" and self._tls is not None:
            await self._dialogue.start_tls(self._tls)
        self._require(await self._dialogue.reply(), "the greeting", 220)
        if tls.mode == "starttls" and self._tls is not None:
            self._require(await self._dialogue.ask("AUTH TLS"), "AUTH TLS", 234)
            await self._dialogue.start_tls(self._tls)

    def _require(self, reply: Reply, what: str, *codes: int) -> None:
        if reply.code not in codes:
            raise NotTried(f"{what}: {self._spell(reply)}")

    def _spell(self, reply: Reply) -> str:
        """A server may repeat what it was told."""
        password = self._login.password
        return str(reply).replace(password, "...") if password else str(reply)

    # --- the files

    async def _try_clean(self, name: str, content: bytes) -> bool:
        """Whether it lies there now."""
        self._visit.begin("clean, uploaded", infected=False)
        reply = await self._store(name, content)
        if reply.code // 100 == 5 and not reply.ours:
            raise NotTried(f"the account can store nothing here: {self._spell(reply)}")
        decision = self._decide("upload", name, content, Status.FREE)
        self._visit.end(_tell(reply), self._spell(reply), decision)
        return reply.good

    async def _try_back(self, name: str, content: bytes) -> None:
        self._visit.begin("clean, downloaded", infected=False)
        reply, back = await self._retrieve(name)
        altered = reply.good and back != content
        fate = Fate.FAILED if altered else _tell(reply)
        said = "other bytes came back" if altered else self._spell(reply)
        said += await self._delete(name)
        self._visit.end(fate, said, self._decide("download", name, content, Status.FREE))

    async def _try_infected(self, what: str, content: bytes) -> None:
        name = _make_name()
        self._visit.begin(f"{what}, uploaded", infected=True)
        reply = await self._store(name, content)
        said = self._spell(reply) + (await self._delete(name) if reply.good else "")
        self._visit.end(_tell(reply), said, self._decide("upload", name, content, Status.FOUND))

    async def _delete(self, name: str) -> str:
        reply = await self._dialogue.ask(f"DELE {name}")
        return "" if reply.code == 250 else f"; {name} is left there: {self._spell(reply)}"

    async def _store(self, name: str, content: bytes) -> Reply:
        _reader, writer = await self._open_data()
        async with closing(writer):
            reply = await self._dialogue.ask(f"STOR {name}")
            if reply.code not in (125, 150):
                return reply
            with contextlib.suppress(OSError):  # a refusal may come as a reset; the reply says so
                await self._secure_data(writer)
                writer.write(content)
                await writer.drain()
                writer.close()
            return await self._dialogue.reply()

    async def _retrieve(self, name: str) -> tuple[Reply, bytes]:
        reader, writer = await self._open_data()
        back = b""
        async with closing(writer):
            reply = await self._dialogue.ask(f"RETR {name}")
            if reply.code not in (125, 150):
                return reply, back
            with contextlib.suppress(OSError):
                await self._secure_data(writer)
                while len(back) < _MOST and (piece := await reader.read(_MOST)):
                    back += piece
        return await self._dialogue.reply(), back

    async def _open_data(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reply = await self._dialogue.ask("EPSV")
        found = _EPSV.search(reply.text)
        if reply.code != 229 or found is None:
            raise NotTried(f"EPSV: {self._spell(reply)}")
        host = self._dialogue.writer.get_extra_info("peername")[0]
        return await asyncio.open_connection(host, int(found[2]))

    async def _secure_data(self, writer: asyncio.StreamWriter) -> None:
        if self._tls is not None:
            await writer.start_tls(self._tls)

    def _decide(self, direction: str, name: str, content: bytes, status: Status) -> Decision:
        server = self._gateway.server
        facts = ObjectFacts(
            direction="upload" if direction == "upload" else "download",
            client=self._visit.client,
            user=self._login.user.rpartition("@")[0] if self._gateway.user_at_host else self._login.user,
            server=server[0].host if server else self._login.user.rpartition("@")[2].partition(":")[0],
            filename=name,
            size=len(content),
            head=content,
        )
        return decide(self._visit.policy, self._visit.label, facts, status)


def _make_name() -> str:
    return f"avsluice-doctor-{secrets.token_hex(8)}.bin"


def _tell(reply: Reply) -> Fate:
    """550 and 451 are the gateway's words for refused and not checkable."""
    if reply.good:
        return Fate.DELIVERED
    return {550: Fate.REFUSED, 451: Fate.DEFERRED}.get(reply.code, Fate.FAILED)
