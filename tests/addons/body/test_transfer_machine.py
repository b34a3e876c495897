"""Random lives of a transfer: whatever happens in whatever order, what leaves is bounded and true."""

from __future__ import annotations

import asyncio
import gzip
import os
from typing import Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.body.codings import Coding
from addons.body.steps import Cut, Finish, HandOver, Refuse, Release, Step, Whole
from addons.body.transfer import Transfer
from policy.decision import Reason
from policy.verdict import Status
from tests.addons.bodies import GZIP, PLAIN, STACK, Bench, acl, settle

CHUNK, LIMIT, INTERVAL = 10, 30, 5

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(1, 400)),
        st.tuples(st.just("finish"), st.just(0)),
        st.tuples(st.just("sleep"), st.sampled_from([0.5, 5, 7, 61])),
        st.tuples(st.just("say"), st.sampled_from([Status.FREE, Status.FOUND, Status.UNKNOWN, Status.ERROR])),
        st.tuples(st.just("pump"), st.integers(1, 4)),
        st.tuples(st.just("abandon"), st.just(0)),
    ),
    max_size=14,
)
DATA = os.urandom(600)
ACCEPTED: list[list[str]] = [[], ["skipped"], ["unknown"], ["skipped", "unknown"]]


class Receiving:
    """The stream layer's part: carries steps out, and notes when what left."""

    def __init__(self, transfer: Transfer) -> None:
        self.transfer, self.out = transfer, b""
        self.last: Step | None = None
        self.identity = self.released_by_verdict = False
        self.early: list[tuple[float, int, int]] = []
        self._task: asyncio.Task[tuple[Step, bool, int]] | None = None

    async def pump(self) -> None:
        """One step, if it is due."""
        if self.last is not None:
            return
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._next())
        await settle()
        if self._task.done():
            done, self._task = self._task, None
            self._carry_out(*done.result())

    async def _next(self) -> tuple[Step, bool, int]:
        step = await self.transfer.next_step()
        inspection = self.transfer.inspection
        undecided = inspection is None or not inspection.decision.passes
        return step, undecided, self.transfer.intake.outgoing.size

    def _carry_out(self, step: Step, undecided: bool, here: int) -> None:
        if isinstance(step, Release) and isinstance(self.transfer.last, Cut):
            step = self.transfer.last  # as the stream does
        match step:
            case Release(data):
                self.out += data
                if undecided:
                    now = asyncio.get_running_loop().time()
                    self.early.append((now, len(data), here))
                else:
                    self.released_by_verdict = True
                return
            case Whole(content):
                self.out += content
            case HandOver():
                self.out += self.transfer.rest()
        self.identity = self.transfer.leaves_as_identity
        self.last = step
        self.transfer.close()

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await settle()


def pack(coding: Coding) -> bytes:
    data = DATA
    for _ in coding.layers:
        data = gzip.compress(data)
    return data


async def live(  # noqa: C901 - one branch for each event
    coding: Coding, accepted: list[str], most: int, upload: bool, life: list[tuple[str, Any]]
) -> None:
    trickle = {"interval": INTERVAL, "chunk": CHUNK, "limit": LIMIT}
    bench = Bench(acl(accept_antivirus_status=accepted, **trickle), most=most, memory=50)
    transfer = bench.make(coding, upload=upload)
    receiving, body, fed = Receiving(transfer), pack(coding), 0
    transfer.start()
    for what, value in life:
        match what:
            case "feed" if not transfer.intake.complete:
                transfer.feed(body[fed : fed + value])
                if receiving.last is None or not isinstance(receiving.last, HandOver):
                    fed += len(body[fed : fed + value])
            case "finish":
                if receiving.last is None:
                    body = body[:fed]
                    transfer.finish()
            case "sleep":
                await asyncio.sleep(value)
            case "say":
                bench.engine.say(value)
                await settle()
            case "pump":
                for _ in range(value):
                    await receiving.pump()
            case "abandon":
                transfer.abandon(Reason.CLIENT_GONE, "gone")
    check(receiving, transfer, accepted, body[:fed], upload)
    transfer.close()
    await receiving.end()
    await settle()
    assert bench.room.used == 0
    assert bench.engine.under_way == 0
    assert len(bench.ended) == 1


def check(receiving: Receiving, transfer: Transfer, accepted: list[str], fed: bytes, upload: bool) -> None:
    out, last, inspection = receiving.out, receiving.last, transfer.inspection
    assert fed.startswith(out) or DATA.startswith(out)
    early = sum(size for _, size, _ in receiving.early)
    assert early <= LIMIT
    assert not (upload and early)
    for _, size, here in receiving.early:
        assert size <= CHUNK
        assert here > CHUNK
    passed = inspection is not None and (inspection.status is Status.FREE or inspection.status in accepted)
    if isinstance(last, Whole | Finish | HandOver):
        assert passed
    if isinstance(last, Whole | Finish):
        assert out == (DATA if receiving.identity and fed else fed)
    if isinstance(last, HandOver):
        assert out == fed
    if isinstance(last, Refuse):
        assert out == b""
        assert not passed
    if not passed and not receiving.released_by_verdict:
        assert len(out) == early


@pytest.mark.parametrize("coding", [PLAIN, GZIP, STACK], ids=["plain", "gzip", "stack"])
@pytest.mark.parametrize("upload", [False, True], ids=["download", "upload"])
@settings(max_examples=100, deadline=None)
@given(accepted=st.sampled_from(ACCEPTED), most=st.sampled_from([100, 1 << 30]), life=EVENTS)
def test_no_life_of_a_transfer_leaks(
    coding: Coding, upload: bool, accepted: list[str], most: int, life: list[tuple[str, Any]]
) -> None:
    """Bytes out are a prefix of bytes in, complete only if accepted, bounded before the verdict; nothing stays held."""
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(live(coding, accepted, most, upload, life))
    finally:
        loop.close()
