"""STOR, APPE and STOU: received whole, checked, and only then sent on.

Rules of this file: the server hears of an upload once it has passed (R8); what is joined to something that is there is
checked joined, and refused where that cannot be fetched (R9); in TYPE A both what came and what will be stored are
checked (R7); a client that breaks off leaves nothing on the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable

from ftpgw.data_channel import Channel
from ftpgw.failures import ClientGone, Refused, Unconfirmed, UpstreamError
from ftpgw.line_ends import ToStore
from ftpgw.session import Session
from ftpgw.transfer import Transfer
from ftpgw.turns import TURNS
from ftpgw.wire import Reply, make_reply
from inspection.spool import Spool
from policy.decision import Reason
from policy.verdict import Status

_FORBIDDEN = re.compile(r"denied|permi|allowed|forbid", re.IGNORECASE)  # in the words of a 550
_SLICE = 1024 * 1024
_DRAIN = 64 * 1024 * 1024  # of a refused upload, bytes


class Upload(Transfer):
    """`verb` is STOR, APPE or STOU; `offset` REST's."""

    def __init__(self, session: Session, channel: Channel, verb: str, name: str, path: str, offset: int) -> None:
        super().__init__(session, channel, "upload", name, path)
        self._command = f"{verb} {name}".rstrip(" ") if not name else f"{verb} {name}"
        self._offset = offset if verb == "STOR" else 0
        self._joins = verb == "APPE" or self._offset > 0
        self._lines = ToStore() if session.type == "A" else None
        self._former: Spool | None = None  # all of what is there; None: nothing is
        self._start = 0  # where the upload begins in the body
        self._wire: Spool | None = None  # as it came, where that is not what is stored

    async def move(self) -> Reply:
        try:
            return await self._take_and_forward()
        except Unconfirmed as error:
            self.stop(Reason.UPSTREAM, str(error))
            return error.reply  # the server's own word, as without us
        except (Refused, OSError) as error:
            if isinstance(error, UpstreamError):
                raise
            await self._drain()
            raise

    async def _drain(self) -> None:
        """Take what a refused client still sends, so that it comes to read why; not without end."""
        if self.client is None:
            return
        try:
            rest = _DRAIN
            while rest > 0 and (data := await self.client.receive()):
                rest -= len(data)
        except (OSError, TimeoutError):
            return

    async def _take_and_forward(self) -> Reply:
        self.judge_early(None)
        body = self.body = self.open_spool()
        if self._joins and self.inspection is None and (refusal := await self._fetch_former(body)) is not None:
            return refusal
        self._wire = self.open_spool() if self._lines else None
        if self.inspection is not None:
            return await self._stream()
        if (head := await self._receive_all(body)) is not None:
            return await self._stream_rest(head)
        await self._judge(body)
        self.refuse_stopped()
        return await self._forward(body)

    # --- what is there already

    async def _fetch_former(self, body: Spool) -> Reply | None:
        """The part that stays goes into the body; the server's reply where there is nothing that could be continued.
        Raises Refused where it cannot be had."""
        former = self.open_spool()
        if (refusal := await self._fetch(former.append)) is None:
            self._former = former
            former.finish()
            start = former.size if not self._offset else self._offset
            if start > former.size:
                self._refuse("REST lies behind the end of what is there")
            await _copy(former, 0, start, body)
            self._start = start
        elif not await self._is_new(refusal):
            self._refuse("what is there cannot be fetched and checked together with this")
        elif self._offset:
            return refusal
        else:
            self._command = f"STOR {self.name}"  # where the server has hidden a file from us, this is not joined to it
        return None

    async def _fetch(self, keep: Callable[[bytes], object]) -> Reply | None:
        """None, or the reply that refuses."""
        await self.upstream.set_type("I")
        self.server, reply = await self.upstream.open_data(f"RETR {self.name}")
        if self.server is None:
            return reply
        while data := await self.receive():
            keep(data)
        await self.confirm()
        return None

    async def _see_that_it_stayed(self) -> None:
        """What this was checked with is still there, nothing more and nothing less. Raises UpstreamError."""
        now = hashlib.sha256()
        refusal = await self._fetch(now.update)
        if self._former is None:
            stayed = refusal is not None and await self._is_new(refusal)
        else:
            stayed = refusal is None and now.hexdigest() == self._former.sha256
        if not stayed:
            raise UpstreamError("what this is joined to was changed meanwhile")

    async def _is_new(self, refusal: Reply) -> bool:
        """True where nothing of that name is there: it cannot be fetched, has no size and no time, cannot be renamed,
        and none of that because it is forbidden. A file that may only be written would be read by nobody here, and then
        what is appended to it cannot be judged."""
        if await self.upstream.ask_size(self.name) is not None or await self.upstream.ask_time(self.name) is not None:
            return False
        renaming = await self.upstream.ask(f"RNFR {self.name}")
        return renaming.code == 550 and not any(_FORBIDDEN.search(reply.message) for reply in (refusal, renaming))

    def _refuse(self, why: str) -> None:
        self.inspection = self.gateway.inspector.judge(self.choice, Status.UNKNOWN, why)
        self.refuse_stopped()
        self.stop(Reason.PROTOCOL, why)
        raise Refused

    # --- what comes

    async def _open_client(self) -> None:
        if self.client is None:
            await self.open_client(make_reply(150, "Ok to send data."))

    async def _receive_all(self, body: Spool) -> Spool | None:
        """Everything into the body; the body, where the policy lets it pass before its end: no more is kept then."""
        await self._open_client()
        while (data := await self.until_head(self._receive_client)) != b"":
            if data is not None:
                if self._wire is not None:
                    self._wire.append(data)
                body.append(self._lines.feed(data) if self._lines else data)
            self.look_at_head(body, complete=data is None)
            self.judge_early(body.size)
            if self.inspection is not None:
                return body
        body.append(self._lines.finish() if self._lines else b"")
        self.look_at_head(body, complete=True)
        self.know_size(body.size - self._start)
        return None

    def know_size(self, size: int) -> None:
        """The upload's own bytes, for the record."""
        if not self.choice.waits_for_head:
            self.judge_early(size)

    async def _receive_client(self) -> bytes:
        if self.client is None:
            return b""
        try:
            data = await self.client.receive()
        except TimeoutError as error:
            raise ClientGone("nothing came for too long") from error
        except OSError as error:
            raise ClientGone(str(error)) from error
        self.received += len(data)
        if not data:
            # A client that died closes both its connections: then that is no file's end.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self._demand_client()
        return data

    def _demand_client(self) -> None:
        """Raises ClientGone where nobody waits for the outcome any more."""
        if self.session.is_gone or self.session.reader.at_eof():
            raise ClientGone("the control connection was gone")

    # --- the verdict

    async def _judge(self, body: Spool) -> None:
        """Every form in which the bytes could be found afterwards; the first that does not pass decides."""
        if self.inspection is not None:
            return
        forms = [body]
        if self._wire is not None and self._wire.sha256 != body.sha256:
            forms.append(self._wire)
        if self._former is not None and self._offset and self._former.size > body.size:
            # Not every server cuts the file behind what REST and STOR have written.
            longer = self.open_spool()
            await _copy(body, 0, body.size, longer)
            await _copy(self._former, body.size, self._former.size, longer)
            forms.append(longer)
        for form in forms:
            inspection = await self.inspect(form)
            if self.inspection is None or not inspection.decision.passes:
                self.inspection = inspection
            if not inspection.decision.passes:
                return

    # --- what is sent on

    async def _open_server(self) -> Reply | None:
        """None, or the reply that refuses. Raises ClientGone, and the server hears of nothing then."""
        await self.upstream.set_type("I")
        self.server, reply = await self.upstream.open_data(self._command, self._offset, self._demand_client)
        if self.server is None:
            if reply.kind == 2:
                return make_reply(451, "The server took no data.")
            return reply
        return None

    async def _forward(self, body: Spool) -> Reply:
        """Others on that server wait meanwhile: two parts that were checked each by itself must not become one file."""
        patience = self.gateway.proxy.limits.idle
        try:
            async with TURNS.take(self.upstream.address, self.path, alone=self._joins, patience=patience):
                if self._joins:
                    await self._see_that_it_stayed()
                return await self._send_on(body)
        except TimeoutError as error:
            raise UpstreamError("others are still writing there") from error

    async def _send_on(self, body: Spool) -> Reply:
        if (refusal := await self._open_server()) is not None:
            self.stop(Reason.UPSTREAM, f"the server refused it: {refusal}")
            return refusal
        sending = self._loop.create_task(self._send_and_confirm(body))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            if self.session.is_gone and not self._recorded:
                # It had sent all, and nobody says ABOR any more: a half file would serve nobody.
                await asyncio.wait([sending])
                if not sending.cancelled() and sending.exception() is None:
                    self.end()
            raise
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])

    async def _send_and_confirm(self, body: Spool) -> Reply:
        await self._send_spool(body)
        return await self.confirm()

    async def _send_spool(self, body: Spool) -> None:
        if self.server is None:
            return
        try:
            await self.server.send_spool(body, self._start, body.size)
        except (OSError, TimeoutError) as error:
            raise UpstreamError(str(error) or "the server took nothing for too long") from error

    async def _stream(self) -> Reply:
        """It passes unchecked: the server gets what comes."""
        if (refusal := await self._open_server()) is not None:
            self.inspection = None
            return refusal
        await self._open_client()
        return await self._relay()

    async def _stream_rest(self, body: Spool) -> Reply:
        """It passes although it was not checked to its end: what was kept, then what comes."""
        if (refusal := await self._open_server()) is not None:
            self.stop(Reason.UPSTREAM, f"the server refused it: {refusal}")
            self._abort_streams()
            return refusal
        await self._send_spool(body)
        return await self._relay()

    async def _relay(self) -> Reply:
        while data := await self._receive_client():
            await self._send(self._lines.feed(data) if self._lines else data)
        await self._send(self._lines.finish() if self._lines else b"")
        return await self.confirm()

    async def _send(self, data: bytes) -> None:
        if self.server is None or not data:
            return
        try:
            await self.server.send(data)
        except (OSError, TimeoutError) as error:
            raise UpstreamError(str(error) or "the server took nothing for too long") from error


async def _copy(source: Spool, start: int, stop: int, target: Spool) -> None:
    for offset in range(start, stop, _SLICE):
        target.append(source.read(offset, min(_SLICE, stop - offset)))
        await asyncio.sleep(0)
