"""Transfers, step by step, in virtual time."""

from __future__ import annotations

import asyncio
import gzip
import os

import pytest

from addons.body.examination import HEAD_WAIT
from addons.body.ranges import Piece, Wanted
from addons.body.steps import Cut, Finish, HandOver, Refuse, Release, Whole
from addons.body.transfer import SLICE, WHOLE
from policy.decision import Action, Reason
from policy.verdict import Status
from tests.addons.bodies import GZIP, STACK, TRICKLE, Bench, acl, now, settle, take_all

pytestmark = pytest.mark.looptime

MAGIC = {"name": "EXE", "when": {"magic": "application/x-dosexec"}, "action": "deny"}
EXE = b"MZ" + bytes(62) + b"\x00" * 4096


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_small_clean_body_leaves_whole() -> None:
    """Nothing leaves before the verdict, then everything at once, and the spools are given back."""
    bench = Bench()
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"a" * 100)
    transfer.finish()
    assert await now(transfer) is None
    bench.engine.say(Status.FREE)
    assert await now(transfer) == Whole(b"a" * 100)
    transfer.close()
    await settle()
    assert bench.room.used == 0
    assert bench.ended == [Whole(b"a" * 100)]


async def test_a_large_clean_body_leaves_in_slices() -> None:
    """Above the size of an ordinary message the bytes leave slice by slice, in order."""
    bench = Bench()
    transfer = bench.make()
    data = os.urandom(WHOLE + SLICE // 2)
    transfer.start()
    transfer.feed(data)
    transfer.finish()
    bench.engine.say(Status.FREE)
    out, step = await take_all(transfer)
    assert (out, step) == (data, Finish())


async def test_a_found_body_is_refused() -> None:
    """The client gets the page and no byte of the body."""
    bench = Bench()
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"virus")
    transfer.finish()
    bench.engine.say(Status.FOUND)
    out, step = await take_all(transfer)
    assert out == b""
    assert isinstance(step, Refuse)


async def test_the_trickle_keeps_its_rules() -> None:
    """One chunk a tick from the first body byte on, never the last chunk, never above the limit."""
    bench = Bench(acl(**TRICKLE))
    transfer = bench.make()
    transfer.start()
    await asyncio.sleep(3)
    transfer.feed(b"x" * 25)
    loop = asyncio.get_running_loop()
    began, left = loop.time(), []
    for _ in range(2):
        step = await transfer.next_step()
        assert isinstance(step, Release)
        left.append((round(loop.time() - began, 6), len(step.data)))
    assert left == [(5, 10), (10, 5)]
    transfer.feed(b"x" * 1000)
    step = await transfer.next_step()
    assert (round(loop.time() - began, 6), step) == (15, Release(b"x" * 10))
    assert (await transfer.next_step(), transfer.released) == (Release(b"x" * 5), 30)
    assert await now(transfer) is None
    transfer.close()


async def test_a_verdict_at_a_tick_decides() -> None:
    """A verdict that comes in the very turn of a tick is not preceded by a chunk."""
    bench = Bench(acl(**TRICKLE))
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"x" * 100)
    transfer.finish()
    await settle()
    asyncio.get_running_loop().call_later(5, bench.engine.say, Status.FOUND)
    task = asyncio.get_running_loop().create_task(transfer.next_step())
    await asyncio.sleep(5.001)
    step = task.result()
    assert isinstance(step, Refuse) or (isinstance(step, Release) and len(step.data) <= 10)
    assert isinstance(await transfer.next_step(), Cut if isinstance(step, Release) else Refuse)
    transfer.close()


async def test_what_has_begun_to_leave_is_cut() -> None:
    """A block after a chunk has left is a cut, not a page."""
    bench = Bench(acl(**TRICKLE))
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"x" * 100)
    transfer.finish()
    assert isinstance(await transfer.next_step(), Release)
    bench.engine.say(Status.FOUND)
    assert isinstance(await transfer.next_step(), Cut)
    transfer.close()


async def test_the_end_and_the_verdict_in_one_turn() -> None:
    """An engine that has its answer ready costs no further turn and loses no byte."""
    bench = Bench()
    bench.engine.say(Status.FREE)
    transfer = bench.make()
    transfer.start()
    task = asyncio.get_running_loop().create_task(transfer.next_step())
    transfer.feed(b"abc")
    transfer.finish()
    assert await task == Whole(b"abc")
    transfer.close()


async def test_a_hand_over_takes_what_came_meanwhile() -> None:
    """Bytes and the end that come between the step and its carrying out are not lost."""
    bench = Bench(acl(accept_antivirus_status="skipped"), most=10)
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"0" * 20)
    assert await now(transfer) == Release(b"0" * 20)
    assert await now(transfer) == HandOver()
    transfer.feed(b"1" * 5)
    transfer.finish()
    assert transfer.rest() == b"1" * 5
    assert transfer.intake.complete
    transfer.close()


async def test_too_large_by_its_length_is_refused_before_its_bytes() -> None:
    """With skipped not accepted an announced length above every limit is refused at once."""
    bench = Bench(most=10)
    transfer = bench.make(length=11)
    transfer.start()
    assert isinstance(await now(transfer), Refuse)
    transfer.close()


@pytest.mark.parametrize("coding", [GZIP, STACK])
@pytest.mark.parametrize("status", [Status.FREE, Status.FOUND])
async def test_a_coded_body_is_checked_decoded(coding, status: Status) -> None:
    """The engine sees the decoded bytes; one plain coding leaves as it came, a stack as identity."""
    bench = Bench()
    data = gzip.compress(b"hello") if coding is GZIP else gzip.compress(gzip.compress(b"hello"))
    transfer = bench.make(coding)
    transfer.start()
    transfer.feed(data)
    transfer.finish()
    bench.engine.say(status)
    out, _ = await take_all(transfer)
    assert bench.engine.seen == [b"hello"]
    passed = data if coding is GZIP else b"hello"
    assert out == (passed if status is Status.FREE else b"")


async def test_several_members_leave_as_identity() -> None:
    """Some clients read the first gzip member alone, so they get what was checked."""
    bench = Bench()
    transfer = bench.make(GZIP)
    transfer.start()
    transfer.feed(gzip.compress(b"one ") + gzip.compress(b"two"))
    transfer.finish()
    bench.engine.say(Status.FREE)
    assert await transfer.next_step() == Whole(b"one two")
    assert transfer.leaves_as_identity
    transfer.close()


def two_faces() -> bytes:
    """gzip of a text, in stored blocks; who does not decode it sees a zip file's end."""
    return gzip.compress(b"a text, and PK\5\6 in it", compresslevel=0)


async def test_what_is_an_archive_undecoded_leaves_as_identity() -> None:
    """Who does not decode would open another file than was checked."""
    bench = Bench()
    transfer = bench.make(GZIP)
    transfer.start()
    transfer.feed(two_faces())
    transfer.finish()
    bench.engine.say(Status.FREE)
    assert await transfer.next_step() == Whole(gzip.decompress(two_faces()))
    assert bench.engine.seen == [gzip.decompress(two_faces())]
    transfer.close()


async def test_what_is_an_archive_undecoded_and_has_begun_to_leave_is_checked_twice() -> None:
    """Coded bytes that are on their way are checked as they leave, too."""
    bench = Bench(acl(**TRICKLE))
    transfer = bench.make(GZIP)
    transfer.start()
    transfer.feed(two_faces()[:-4])
    assert isinstance(await transfer.next_step(), Release)
    transfer.feed(two_faces()[-4:])
    transfer.finish()
    bench.engine.say(Status.FREE)
    out, step = await take_all(transfer)
    assert (two_faces().endswith(out), isinstance(step, Finish)) == (True, True)
    assert bench.engine.seen == [gzip.decompress(two_faces()), two_faces()]
    transfer.close()


@pytest.mark.parametrize("accepted", [True, False])
async def test_what_cannot_be_decoded_is_unknown(accepted: bool) -> None:
    """Where unknown is accepted the origin's bytes leave as they came, else nothing does."""
    bench = Bench(acl(accept_antivirus_status="unknown") if accepted else acl())
    transfer = bench.make(GZIP)
    transfer.start()
    transfer.feed(b"this is no gzip")
    transfer.finish()
    out, step = await take_all(transfer)
    assert out == (b"this is no gzip" if accepted else b"")
    assert transfer.inspection is not None
    assert transfer.inspection.status is Status.UNKNOWN
    assert isinstance(step, Whole if accepted else Refuse)


async def test_a_decoding_error_after_a_chunk_is_a_cut() -> None:
    """What has begun to leave decoded cannot go on when it no longer decodes, whatever is accepted."""
    bench = Bench(acl(accept_antivirus_status="unknown", **TRICKLE))
    transfer = bench.make(STACK)
    transfer.start()
    transfer.feed(gzip.compress(gzip.compress(b"y" * 100))[:-4])
    assert isinstance(await transfer.next_step(), Release)
    transfer.feed(b"zzzz")
    transfer.finish()
    while isinstance(step := await transfer.next_step(), Release):
        pass
    assert isinstance(step, Cut)
    transfer.close()


async def test_a_coded_body_past_the_limit_streams_on() -> None:
    """With skipped accepted the origin's bytes leave as soon as the decoded size is past every limit."""
    bench = Bench(acl(accept_antivirus_status="skipped"), most=1000)
    packed = gzip.compress(os.urandom(5000))
    transfer = bench.make(GZIP)
    transfer.start()
    transfer.feed(packed[:3000])
    assert await now(transfer) == Release(packed[:3000])
    assert await now(transfer) == HandOver()
    transfer.feed(packed[3000:])
    assert transfer.rest() == packed[3000:]
    transfer.close()
    assert bench.engine.seen == []


@pytest.mark.parametrize("coded", [True, False])
async def test_magic_sees_the_decoded_head_in_time(coded: bool) -> None:
    """A program is told by its true type, also under a coding, before HEAD_WAIT is over."""
    bench = Bench(MAGIC, acl())
    transfer = bench.make(*([GZIP] if coded else []))
    transfer.start()
    transfer.feed(gzip.compress(EXE)[:-8] if coded else EXE)
    began = asyncio.get_running_loop().time()
    step = await transfer.next_step()
    assert asyncio.get_running_loop().time() - began < HEAD_WAIT
    assert isinstance(step, Refuse)
    assert transfer.inspection is not None
    assert transfer.inspection.decision.acl == "EXE"
    transfer.close()


async def test_a_short_coded_body_is_judged_by_what_there_is() -> None:
    """A magic condition is judged at the end of a body that is shorter than the head."""
    bench = Bench(MAGIC, acl())
    transfer = bench.make(GZIP)
    transfer.start()
    transfer.feed(gzip.compress(b"tiny"))
    transfer.finish()
    bench.engine.say(Status.FREE)
    assert isinstance(await transfer.next_step(), Whole)
    transfer.close()


async def test_ticks_count_from_the_first_byte_also_for_a_late_choice() -> None:
    """An ACL chosen by magic trickles on the raster of the first body byte."""
    bench = Bench(MAGIC, acl(**{**TRICKLE, "interval": 2}))
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"t")
    await asyncio.sleep(3)
    transfer.feed(b"t" * 5000)
    began = asyncio.get_running_loop().time()
    assert isinstance(await transfer.next_step(), Release)
    assert asyncio.get_running_loop().time() - began == pytest.approx(1)
    transfer.close()


async def test_a_deny_asks_no_engine_and_lets_nothing_trickle() -> None:
    """An ACL that denies does so at once, whatever engines it names."""
    bench = Bench(acl(action="deny", **TRICKLE))
    transfer = bench.make()
    transfer.start()
    assert isinstance(await now(transfer), Refuse)
    assert transfer.inspection is not None
    assert transfer.inspection.decision.reason is Reason.ACL
    transfer.close()


@pytest.mark.parametrize("coding", [GZIP, STACK])
async def test_a_fault_that_is_accepted_leaves_as_it_came(coding) -> None:
    """What is known to be wrong needs no decoding; where the policy takes it, it gets the origin's bytes."""
    bench = Bench(acl(accept_antivirus_status="unknown"))
    transfer = bench.make(coding, fault=(Status.UNKNOWN, "a piece"))
    transfer.start()
    transfer.feed(b"raw")
    transfer.finish()
    assert (await take_all(transfer))[0] == b"raw"
    assert not transfer.leaves_as_identity


async def test_no_room_is_an_error_that_stays() -> None:
    """A body that does not fit is refused as error, and nothing later turns that into a pass."""
    bench = Bench(acl(accept_antivirus_status=["unknown", "skipped"]), cap=100)
    transfer = bench.make(GZIP)
    transfer.start()
    transfer.feed(b"n" * 101)
    transfer.feed(b"n")
    transfer.finish()
    out, step = await take_all(transfer)
    assert (out, type(step)) == (b"", Refuse)
    assert transfer.inspection is not None
    assert transfer.inspection.status is Status.ERROR


@pytest.mark.parametrize("upload", [True, False])
async def test_a_silent_peer_is_given_up(upload: bool) -> None:
    """Without a byte for limits.stall the body ends: a page for a client, a cut for one that is itself silent."""
    bench = Bench(stall=20)
    transfer = bench.make(upload=upload)
    transfer.start()
    await asyncio.sleep(15)
    transfer.feed(b"alive")
    began = asyncio.get_running_loop().time()
    step = await transfer.next_step()
    assert asyncio.get_running_loop().time() - began == pytest.approx(20)
    assert isinstance(step, Cut if upload else Refuse)
    transfer.close()


async def test_an_engine_may_take_longer_than_a_peer() -> None:
    """Once the body is complete its sender's silence means nothing."""
    bench = Bench(stall=20)
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"whole")
    transfer.finish()
    await asyncio.sleep(100)
    assert await now(transfer) is None
    transfer.close()


async def test_a_peer_is_not_silent_while_nobody_reads_it() -> None:
    """While the receiver takes its time mitmproxy does not read on, and that is not the sender's stall."""
    bench = Bench(acl(accept_antivirus_status="skipped"), most=1, stall=20)
    transfer = bench.make(STACK)
    transfer.start()
    transfer.feed(gzip.compress(gzip.compress(b"some bytes")))
    assert isinstance(await now(transfer), Release)
    bench.peer.busy = True
    await asyncio.sleep(50)
    assert await now(transfer) is None
    bench.peer.busy = False
    await asyncio.sleep(50)
    assert isinstance(await now(transfer), Cut)
    transfer.close()


async def test_a_receiver_that_takes_nothing_is_given_up() -> None:
    """A stuck receiver ends the transfer and its connection is aborted."""
    bench = Bench()
    transfer = bench.make()
    transfer.start()
    transfer.feed(b"b" * (WHOLE + 1))
    transfer.finish()
    bench.engine.say(Status.FREE)
    assert isinstance(await transfer.next_step(), Release)
    bench.peer.stuck = True
    assert isinstance(await transfer.next_step(), Cut)
    assert bench.peer.aborted
    await settle()
    assert bench.room.used == 0


@pytest.mark.parametrize("phase", ["new", "started", "fed", "finished", "trickled", "passed", "ended"])
@pytest.mark.parametrize("coding", [GZIP, STACK, None])
async def test_abandoning_gives_everything_back(phase: str, coding) -> None:
    """In every phase an abandoned transfer leaves no task, no file, no byte counted, and only a cut behind."""
    files = open_files()
    bench = Bench(acl(**TRICKLE), memory=10)
    transfer = bench.make(coding) if coding else bench.make()
    packed = gzip.compress(gzip.compress(os.urandom(3000)))
    phases = ["new", "started", "fed", "finished", "trickled", "passed", "ended"]
    reached = phases.index(phase)
    if reached >= 1:
        transfer.start()
    if reached >= 2:
        transfer.feed(packed)
        await settle()
    if reached >= 3:
        transfer.finish()
        await settle()
    if reached >= 4:
        await transfer.next_step()
    if reached >= 5:
        bench.engine.say(Status.FREE)
        await settle()
    last = await transfer.next_step() if reached >= 6 else None
    transfer.abandon(Reason.CLIENT_GONE, "gone")
    transfer.abandon(Reason.CLIENT_GONE, "gone again")
    await settle()
    assert bench.room.used == 0
    assert open_files() == files
    assert bench.engine.under_way == 0
    assert len(bench.ended) <= 1 or last is not None
    step = await transfer.next_step()
    assert isinstance(step, Cut) or step is transfer.last
    transfer.feed(b"late")
    transfer.finish()
    assert bench.room.used == 0


async def test_closing_before_the_end_is_recorded_as_an_error() -> None:
    """A transfer that a shutdown cuts has a verdict that says so."""
    bench = Bench()
    transfer = bench.make()
    transfer.start()
    transfer.close()
    assert [type(step) for step in bench.ended] == [Cut]
    assert transfer.inspection is not None
    assert (transfer.inspection.status, transfer.inspection.decision.action) == (Status.ERROR, Action.DENY)


async def test_a_message_is_judged_whole() -> None:
    """`judge` waits for the verdict and leaves nothing behind, also where it is closed meanwhile."""
    for say, passes in ((Status.FREE, True), (Status.FOUND, False), (None, False)):
        bench = Bench()
        transfer = bench.make()
        task = asyncio.get_running_loop().create_task(transfer.judge(b"message"))
        await settle()
        if say is None:
            transfer.close()
        else:
            bench.engine.say(say)
        assert await task is passes
        await settle()
        assert bench.room.used == 0


async def test_a_piece_is_cut_from_the_whole() -> None:
    """The engine sees everything, the client the bytes that it asked for."""
    bench = Bench()
    transfer = bench.make(wanted=Wanted("bytes=3-5"))
    transfer.start()
    transfer.feed(b"0123456789")
    transfer.finish()
    bench.engine.say(Status.FREE)
    assert await transfer.next_step() == Whole(b"345")
    assert transfer.piece == Piece(3, 6, 10)
    assert bench.engine.seen == [b"0123456789"]
    transfer.close()


async def test_no_piece_of_what_leaves_in_another_coding() -> None:
    """A client that holds a part of the coded bytes gets no piece of the decoded ones, but the whole."""
    bench = Bench()
    transfer = bench.make(GZIP, wanted=Wanted("bytes=3-5"))
    transfer.start()
    transfer.feed(gzip.compress(b"one ") + gzip.compress(b"two"))
    transfer.finish()
    bench.engine.say(Status.FREE)
    assert await transfer.next_step() == Whole(b"one two")
    assert transfer.piece is None
    transfer.close()


async def test_an_upload_is_told_its_length_beforehand() -> None:
    """An upload that changes its form passes when it is complete, and never trickles."""
    bench = Bench(acl(accept_antivirus_status="skipped", **TRICKLE), most=1)
    transfer = bench.make(STACK, upload=True)
    transfer.start()
    transfer.feed(gzip.compress(gzip.compress(b"upload")))
    await asyncio.sleep(30)
    assert await now(transfer) is None
    transfer.finish()
    assert await transfer.next_step() == Whole(b"upload")
    transfer.close()
