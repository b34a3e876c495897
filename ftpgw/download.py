"""RETR: fetched whole from offset 0 in TYPE I, checked, and only then (or a little earlier, by the trickle) delivered.

Rules of this file: no 150 before the verdict or the first chunk (R1); only offsets [0, limit) of what the client gets
ever leave unchecked (R3) and never the last chunk (R5); REST fetches all and sends the tail (R6); TYPE A is made here
(R7); what began to leave and is stopped ends in a reset (R2), and is refused at once when asked for again (R4).
"""

from __future__ import annotations

import asyncio

from ftpgw.data_channel import Channel
from ftpgw.data_stream import DataStream
from ftpgw.failures import ClientGone, UpstreamError
from ftpgw.line_ends import ToWire
from ftpgw.session import Session
from ftpgw.transfer import Transfer
from ftpgw.wire import Reply, make_reply
from inspection.spool import Spool
from inspection.trickle import Trickle
from policy.verdict import Status


class Download(Transfer):
    """`offset` is REST's, in bytes of what the client gets."""

    def __init__(self, session: Session, channel: Channel, name: str, path: str, offset: int) -> None:
        super().__init__(session, channel, "download", name, path)
        self._offset = offset
        self._lines = ToWire() if session.type == "A" else None
        self._out: Spool | None = None  # what the client gets; the body itself in TYPE I
        self._clock: Trickle | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._key: tuple[str | None, ...] = ()
        self._position = offset
        self._skipped = 0  # bytes that the server was asked to leave out
        self._first: float | None = None  # when the first byte came
        self._final = make_reply(226, "Transfer complete.")

    async def move(self) -> Reply:
        await self._learn()
        self._recall()
        self.judge_early(self.subject.facts.size)
        self._skipped = self._offset if self.inspection is not None and self._lines is None else 0
        self.server, reply = await self.upstream.open_data(f"RETR {self.name}", self._skipped)
        if self.server is None:
            self.inspection = None
            return reply
        if self.inspection is not None:
            return await self._stream(self._skipped)
        try:
            await self._check_whole()
        finally:
            await self._end_ticking()
        self.refuse_stopped()
        return await self._deliver()

    # --- before the first byte

    async def _learn(self) -> None:
        """Size, and where something may leave early, which of one chunk nothing does, the version to remember then."""
        size = await self.upstream.ask_size(self.name)
        if size is not None:
            self.know(size=size)
        place = (str(self.session.destination), self.subject.facts.user, self.path)
        acl = self.choice.acl
        fits = self._lines is None and size is not None and size <= (acl.chunk or 0 if acl else 0)
        if self.choice.waits_for_head or (acl and acl.interval and not fits):
            time = await self.upstream.ask_time(self.name)
            self._key = (*place, None if size is None else str(size), time)

    def _recall(self) -> None:
        refused = self.gateway.blocked.recall(self._key) if self._key else None
        if refused is None:
            return
        word = f"{refused.status} {refused.virus or ''}".rstrip()
        self.inspection = self.gateway.inspector.judge(
            self.choice, refused.status, f"{word}, as in {refused.id}: it was cut before"
        )
        self.refuse_stopped()

    # --- what is checked

    async def _check_whole(self) -> None:
        body = self.body = self.open_spool()
        out = self._out = self.open_spool() if self._lines else body
        while self.inspection is None and (data := await self.until_head(self.receive)) != b"":
            if data is not None:
                body.append(data)
                if self._lines is not None:
                    out.append(self._lines.feed(data))
            self.look_at_head(body, complete=data is None)
            self.judge_early(body.size)
            self._begin_ticking()
        if self.inspection is None:
            self._begin_ticking()
            self._final = await self.confirm()
            self.look_at_head(body, complete=True)
            self.judge_early(body.size)
        if self.inspection is None:
            self.inspection = await self.inspect(body)
        if self.server is None:
            body.finish()

    def _begin_ticking(self) -> None:
        acl = self.choice.acl
        self._first = self._first or self._loop.time()
        if self._clock is not None or acl is None or self.choice.waits_for_head or self.inspection is not None:
            return
        if acl.interval is None or acl.chunk is None or self._offset >= acl.limit:
            return
        self._clock = Trickle(interval=acl.interval, chunk=acl.chunk, limit=acl.limit, released=self._offset)
        self._clock.begin(self._first)
        self._clock.release(self._loop.time(), 0)
        self._ticker = self._loop.create_task(self._tick(self._clock))

    async def _tick(self, clock: Trickle) -> None:
        """Until the verdict; a client that is gone ends the transfer."""
        try:
            while (due := clock.next_tick()) is not None:
                try:
                    async with asyncio.timeout_at(due):
                        await self._settled.wait()
                    return
                except TimeoutError:
                    await self._trickle(clock)
        except ClientGone as gone:
            self.trouble = gone
            if self._task is not None:
                self._task.cancel()

    async def _trickle(self, clock: Trickle) -> None:
        if self._out is None or not (size := clock.release(self._loop.time(), self._out.size)):
            return
        if self.client is None:
            await self.open_client(self._opening())
        self.released += size
        await self._send(self._position + size)

    async def _end_ticking(self) -> None:
        self._settled.set()
        if self._ticker is not None:
            await asyncio.wait([self._ticker])

    # --- what leaves

    async def open_client(self, opening: Reply) -> DataStream:
        client = await super().open_client(opening)
        if self.gateway.metrics is not None:
            self.gateway.metrics.observe_first_byte(self.gateway.name, self._loop.time() - self._began)
        return client

    def _opening(self) -> Reply:
        size = f" ({self.subject.facts.size} bytes)" if self.subject.facts.size and not self._lines else ""
        kind = "ASCII" if self._lines else "BINARY"
        return make_reply(150, f"Opening {kind} mode data connection for {self.name}{size}.")

    async def _deliver(self) -> Reply:
        """The verdict lets it pass: what is here, and where it was not complete what still comes."""
        out = self._out
        if out is None:
            raise RuntimeError("nothing was fetched")
        if self.server is None and self._offset > out.size:
            return make_reply(554, "REST lies behind the end of the file.")
        if self.client is None:
            await self.open_client(self._opening())
        await self._send(out.size)
        if self.server is not None:
            return await self._stream(out.size)
        return await self._finish(self._final)

    async def _send(self, stop: int) -> None:
        """The bytes up to `stop` of what the client gets."""
        if self.client is None or self._out is None or stop <= self._position:
            return
        try:
            start, self._position = self._position, stop
            self.sent += stop - start
            await self.client.send_spool(self._out, start, stop)
        except (OSError, TimeoutError) as error:
            raise ClientGone(str(error) or "the client took nothing for too long") from error

    async def _stream(self, at: int) -> Reply:
        """What comes goes on at once; `at` is the next byte's offset in what the client gets."""
        client = self.client or await self.open_client(self._opening())
        while data := await self.receive():
            wire = self._lines.feed(data) if self._lines else data
            skipped = max(0, min(len(wire), self._offset - at))
            at += len(wire)
            self.sent += len(wire) - skipped
            try:
                await client.send(wire[skipped:] if skipped else wire)
            except (OSError, TimeoutError) as error:
                raise ClientGone(str(error) or "the client took nothing for too long") from error
        final = await self.confirm()
        self._hold_to_its_word()
        return await self._finish(final)

    def _hold_to_its_word(self) -> None:
        """Raises UpstreamError where it passes for a size that it does not have: like a body that is shorter than its
        Content-Length, the client must not take it for whole."""
        told = self.subject.facts.size
        by_size = self.inspection is not None and self.inspection.status is Status.SKIPPED
        by_size = by_size or any(acl.when.size for acl in self.gateway.proxy.doc_acl)
        if by_size and told is not None and self._skipped + self.received < told:
            raise UpstreamError("it sent less than it had told by SIZE")

    async def _finish(self, reply: Reply) -> Reply:
        if self.client is not None:
            try:
                await self.client.close()
            except (OSError, TimeoutError) as error:
                raise ClientGone(str(error)) from error
        return reply

    def end(self) -> None:
        if not self._recorded and self.sent and self.inspection is not None and self._key:
            if not self.inspection.decision.passes and self.inspection.status is not Status.ERROR:
                self.gateway.blocked.remember(self._key, self.subject.id, self.inspection)
        super().end()
