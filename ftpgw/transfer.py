"""One file on its way, either direction: what a download and an upload have in common.

Rules of this file: every transfer ends in exactly one record; `close` cuts it at once, both peers see a reset; spools
are closed when the check that may read them has ended; a reply is given once everything else is done.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from ftpgw.data_channel import Channel
from ftpgw.data_stream import DataStream
from ftpgw.failures import ClientGone, Refused, Unconfirmed, UpstreamError
from ftpgw.refusal import make_refusal
from ftpgw.session import Session
from ftpgw.wire import Reply, encode, make_reply
from inspection.audit import new_id
from inspection.inspect_object import Inspection, Subject
from inspection.object_record import make_object_record
from inspection.spool import Spool
from inspection.under_way import Phase, UnderWay
from policy.decision import Choice, Reason
from policy.facts import Direction, ObjectFacts
from policy.model import DocAcl
from policy.verdict import Status

HEAD = 4096  # what a `magic` condition waits for, bytes
HEAD_WAIT = 5.0  # and for how long where no ACL has an interval, seconds


class Transfer:
    """`name` is the command's argument; `channel` the client's data connection to be."""

    def __init__(self, session: Session, channel: Channel, direction: Direction, name: str, path: str) -> None:
        self.session = session
        self.gateway = session.gateway
        self.upstream = session.server
        self.name, self.path = name, path
        self.channel = channel
        facts = session.facts()
        self.subject = Subject(
            id=new_id(),
            session=session.id,
            facts=ObjectFacts(
                client=facts.client,
                user=facts.user,
                server=facts.server,
                at=facts.at,
                direction=direction,
                host=session.destination.host if session.destination else None,
                url=f"ftp://{session.destination}{quote(encode(path))}",
                filename=posixpath.basename(path) or None,
            ),
        )
        self.choice: Choice[DocAcl] = self.gateway.inspector.choose(self.subject.facts)
        self.inspection: Inspection | None = None
        self.body: Spool | None = None  # the bytes that are judged
        self.released = 0
        self.received = self.sent = 0  # bytes from the server, and to the client; of an upload those from the client
        self.no_room = False
        self.client: DataStream | None = None
        self.server: DataStream | None = None
        self._spools: list[Spool] = []
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._head_due = 0.0  # when a `magic` condition is judged by what is here; 0: nothing is expected yet
        self._task: asyncio.Task[None] | None = None
        self._check: asyncio.Task[Inspection] | None = None
        self._recorded = False
        self.trouble: Exception | None = None
        self.gateway.enter(self)

    async def run(self) -> None:
        """From the first byte to the reply."""
        self._task = asyncio.current_task()
        try:
            reply = await self._run()
        except asyncio.CancelledError:
            if self.trouble is None or self._task is None or not self._task.uncancel() == 0:
                self._break(Reason.CLIENT_GONE, "the client broke it off")
                raise
            reply = self._fail_client(self.trouble)
        finally:
            await self._let_go()
        self.session.reply(reply)
        # Behind the reply: a server that hangs is waited for by the next command, not by this one.
        try:
            await self.upstream.settle()
        except UpstreamError:
            self.upstream.close()

    async def _run(self) -> Reply:
        try:
            reply = await self.move()
        except Refused:
            self._abort_streams()
            reply = self._refusal()
        except ClientGone as gone:
            reply = self._fail_client(gone)
        except UpstreamError as error:
            self._break(Reason.UPSTREAM, str(error))
            reply = self._refusal()
        except OSError as error:
            self.no_room = True
            self._break(Reason.ANTIVIRUS_ERROR, f"no room to spool: {error}")
            reply = self._refusal()
        if self.inspection is None:
            self._recorded = True  # the server refused: there was no object
        self.end()
        return reply

    async def move(self) -> Reply:
        """The transfer itself: the reply to a success, or to what the server refused. Raises Refused, ClientGone,
        UpstreamError, OSError (the spool)."""
        raise NotImplementedError

    def tell(self) -> UnderWay:
        """What it is doing at this moment."""
        facts = self.subject.facts
        return UnderWay(
            id=self.subject.id,
            client=facts.client,
            object=facts.url,
            direction=facts.direction,
            received=self.received,
            sent=self.sent,
            phase=self._phase,
            age=self._loop.time() - self._began,
        )

    @property
    def _phase(self) -> Phase:
        if self.inspection is not None:
            return "sending"
        if self.sent:
            return "trickling"
        return "receiving" if self._check is None else "checking"

    # --- ends

    def _refusal(self) -> Reply:
        if self.inspection is None:
            return make_reply(451, "The transfer failed.")
        return make_refusal(self.subject, self.inspection, no_room=self.no_room)

    def _fail_client(self, gone: Exception) -> Reply:
        self._break(Reason.CLIENT_GONE, str(gone))
        self.end()
        return make_reply(gone.code if isinstance(gone, ClientGone) else 426, f"Transfer broken off: {gone}")

    def _break(self, reason: Reason, why: str) -> None:
        self.stop(reason, why)
        self._abort_streams()

    def _abort_streams(self) -> None:
        for stream in (self.client, self.server):
            if stream is not None:
                stream.abort()

    def stop(self, reason: Reason, why: str) -> None:
        """Something outside the policy stops the object; a verdict that stopped it before stays."""
        if self.inspection is None or self.inspection.decision.passes:
            self.inspection = self.gateway.inspector.stop(self.choice, Status.ERROR, reason, why)

    def close(self) -> None:
        """Cut it now, visibly. May be called twice."""
        self._break(Reason.ANTIVIRUS_ERROR, "the gateway was closed")
        self.end()
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """The record. May be called twice."""
        if not self._recorded and self.inspection is not None:
            self._recorded = True
            self.gateway.blocked.notice_versions(self.inspection.reports)
            body = self.body if self.body is not None and self.body.complete and self.body.size else None
            self.gateway.audit.write(
                make_object_record(
                    self.gateway.name,
                    self.subject,
                    self.inspection,
                    body=body,
                    released=self.released,
                    cut=self.sent > 0 and not self.inspection.decision.passes,
                    ms=(self._loop.time() - self._began) * 1000,
                )
            )

    async def _let_go(self) -> None:
        """Everything is given back, once a check that may be reading has ended."""
        try:
            if self._check is not None and not self._check.done():
                self._check.cancel()
                await asyncio.wait([self._check])
        finally:
            self.end()
            self.channel.close()
            for stream in (self.client, self.server):
                if stream is not None:
                    stream.abort()
            for spool in self._spools:
                spool.close()
            self.gateway.leave(self)

    # --- what both directions do

    def open_spool(self) -> Spool:
        """Closed with the transfer."""
        spool = self.gateway.room.open()
        self._spools.append(spool)
        return spool

    def know(self, **facts: object) -> None:
        """More is known: the ACL may be another one."""
        self.subject = replace(self.subject, facts=replace(self.subject.facts, **facts))  # type: ignore[arg-type]
        self.choice = self.gateway.inspector.choose(self.subject.facts)

    def judge_early(self, size: int | None) -> None:
        """The verdict where it needs no engine. Raises Refused where that stops the object."""
        if self.inspection is None and not self.choice.waits_for_head:
            inspector = self.gateway.inspector
            if not inspector.engines(self.choice):
                self.inspection = inspector.judge(self.choice, None)
            elif size is not None and inspector.skips(self.choice, size):
                self.inspection = inspector.judge(self.choice, Status.SKIPPED, "larger than max-checked-size")
        self.refuse_stopped()

    def refuse_stopped(self) -> None:
        """Raises Refused where the verdict does not let the object pass."""
        if self.inspection is not None and not self.inspection.decision.passes:
            raise Refused

    def look_at_head(self, body: Spool, start: int = 0, *, complete: bool) -> None:
        """Judge `magic` conditions by what stands from `start` on, as soon as there is enough to see."""
        if self.choice.waits_for_head and (complete or body.size - start >= HEAD):
            self.know(head=body.read(start, HEAD))

    async def until_head(self, receive: Callable[[], Awaitable[bytes]]) -> bytes | None:
        """The next bytes; None where none came until `magic` conditions are to be judged by what is here: 4 KiB, the
        end or one interval, whichever is first."""
        if not self.choice.waits_for_head:
            return await receive()
        if not self._head_due:
            intervals = [acl.interval for acl in self.gateway.proxy.doc_acl if acl.interval]
            self._head_due = self._loop.time() + min(intervals, default=HEAD_WAIT)
        limit = asyncio.timeout_at(self._head_due)
        try:
            async with limit:
                return await receive()
        except TimeoutError:
            if not limit.expired():
                raise
            return None

    async def inspect(self, body: Spool) -> Inspection:
        """Have the engines look at a complete body."""
        body.finish()
        self._check = self._loop.create_task(self.gateway.inspector.inspect(self.subject, self.choice, body))
        await asyncio.wait([self._check])
        return self._check.result()

    async def open_client(self, opening: Reply) -> DataStream:
        """Raises ClientGone."""
        try:
            self.client = await self.session.open_data(self.channel, opening)
        except (OSError, TimeoutError) as error:
            raise ClientGone(f"no data connection: {error or 'timed out'}", 425) from error
        return self.client

    async def receive(self) -> bytes:
        """The server's next bytes. Raises UpstreamError."""
        if self.server is None:
            return b""
        try:
            data = await self.server.receive()
        except TimeoutError as error:
            raise UpstreamError("the server sent nothing for too long") from error
        except OSError as error:
            raise UpstreamError(f"the data connection broke: {error}") from error
        self.received += len(data)
        return data

    async def confirm(self) -> Reply:
        """The server's last word on a transfer whose data has ended; only a 2xx makes it a success (R11)."""
        if self.server is not None:
            try:
                await self.server.close()
            except OSError as error:
                raise UpstreamError(f"the data connection broke: {error}") from error
        reply = await self.upstream.read_final()
        self.server = None
        if reply.kind != 2:
            raise Unconfirmed(reply)
        return reply
