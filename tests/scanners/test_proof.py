"""That an engine finds EICAR, and up to what size."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanners.body import SparseBody
from scanners.engine import Answer, Body
from scanners.proof import START_SIZE, Proof, search_limit, tar_header
from scanners.specimens import EICAR
from tests.real.clamd_server import run_clamd
from tests.scanners.scripted import BROKEN, FREE, ScriptedEngine

MIB = 1 << 20


async def prove(engine: ScriptedEngine, most: int) -> Proof:
    proof = Proof(engine, most)
    assert await proof.show() == ""
    while await proof.show_more():
        pass
    return proof


async def test_the_start_shows_eicar_bare_and_behind_a_mebibyte() -> None:
    """Before it is used an engine sees EICAR alone and behind 1 MiB of filler, and nothing more."""
    engine = ScriptedEngine()
    proof = Proof(engine, 100 * MIB)
    assert await proof.show() == ""
    assert engine.asked == [68, START_SIZE]
    assert (proof.seen, proof.unseen, proof.complete) == (START_SIZE, None, False)
    assert proof.version == "Scripted 1"


async def test_a_smaller_max_checked_size_is_shown_instead() -> None:
    """Nothing larger than max-checked-size is ever sent."""
    engine = ScriptedEngine()
    proof = await prove(engine, 5000)
    assert engine.asked == [68, 5000]
    assert (proof.seen, proof.complete) == (5000, True)


async def test_a_max_checked_size_below_eicar_is_proven_by_eicar_alone() -> None:
    """Where even EICAR is too large to be checked, finding it is enough."""
    proof = await prove(ScriptedEngine(), 10)
    assert (proof.seen, proof.complete) == (10, True)


async def test_an_engine_without_limit_is_asked_three_times() -> None:
    """No limit: one probe of max-checked-size ends the search."""
    engine = ScriptedEngine()
    proof = await prove(engine, 100 * MIB)
    assert engine.asked == [68, START_SIZE, 100 * MIB]
    assert (proof.seen, proof.unseen) == (100 * MIB, None)


@pytest.mark.parametrize("limit", [68, 69, 500, 204_800, MIB - 1, MIB, MIB + 1, 25 * MIB, 99_999_999, 100 * MIB - 1])
@pytest.mark.parametrize("anchored", [False, True])
async def test_a_limit_is_found_to_the_byte(limit: int, anchored: bool) -> None:
    """The largest object the engine scans is known exactly, even to one that knows EICAR at a start only."""
    proof = await prove(ScriptedEngine(limit=limit, anchored=anchored), 100 * MIB)
    assert (proof.seen, proof.unseen, proof.complete) == (limit, limit + 1, True)


async def test_a_round_limit_costs_few_probes() -> None:
    """A limit of 25 MiB, clamd's old default, is found in a dozen probes."""
    engine = ScriptedEngine(limit=25 * MIB)
    await prove(engine, 100 * MIB)
    assert len(engine.asked) <= 12


async def test_skipped_shows_a_limit_too() -> None:
    """An engine that says of itself that an object is too large has that limit."""

    def decide(body: Body) -> Answer | None:
        return None if body.size <= 3 * MIB else Answer(FREE.status.SKIPPED)

    proof = await prove(ScriptedEngine(answer=decide), 100 * MIB)
    assert proof.seen == 3 * MIB


@pytest.mark.parametrize("answer", [FREE, BROKEN])
async def test_an_engine_blind_to_eicar_is_not_proven(answer: Answer) -> None:
    """OK or an error on bare EICAR is a failure that says what was answered."""
    failure = await Proof(ScriptedEngine(answer=lambda body: answer), MIB).show()
    assert f"`{answer.status}`" in failure


async def test_trouble_behind_filler_at_the_start_is_a_failure() -> None:
    """An error on the second step is no limit but a failure."""
    engine = ScriptedEngine(answer=lambda body: BROKEN if body.size > 68 else None)
    failure = await Proof(engine, MIB).show()
    assert "behind 1048576 bytes of filler" in failure
    assert "broken" in failure


async def test_trouble_later_leaves_what_was_shown_and_can_be_tried_again() -> None:
    """An error in the rest of the probe keeps the proof so far; the same step is made again."""
    engine = ScriptedEngine(answer=lambda body: BROKEN if body.size > MIB else None)
    proof = Proof(engine, 10 * MIB)
    assert await proof.show() == ""
    assert not await proof.show_more()
    assert (proof.seen, proof.complete) == (MIB, False)
    assert "10485760" in proof.trouble
    engine.answer = lambda body: None
    assert not await proof.show_more()
    assert (proof.seen, proof.complete, proof.trouble) == (10 * MIB, True, "")


@given(st.data())
def test_the_search_ends_at_the_limit_whatever_it_is(data: st.DataObject) -> None:
    """For every limit between what was seen and max-checked-size the search finds it in at most 70 steps."""
    most = data.draw(st.integers(70, 1 << 31))
    seen = data.draw(st.integers(68, most - 1))
    limit = data.draw(st.integers(seen, most))
    search, steps = search_limit(seen, None, most), 0
    low, high = seen, most + 1
    size = next(search, None)
    while size is not None and high > low + 1:
        assert low < size < high
        found = size <= limit
        low, high = (size, high) if found else (low, size)
        steps += 1
        try:
            size = search.send(found)
        except StopIteration:
            size = None
    assert (low, high) == (limit, limit + 1)
    assert steps <= 70


@pytest.mark.parametrize("size", [580, 1024, 1536, 1537, 2048, 100_001])
async def test_the_tar_probe_is_a_tar_file_of_that_size(size: int) -> None:
    """What is sent in the shape of a tar file can be unpacked, ends with EICAR, and has the wanted size."""
    seen: list[bytes] = []

    def decide(body: Body) -> Answer | None:
        seen.append(body.read(0, body.size))
        return None

    await prove(ScriptedEngine(limit=size, anchored=True, answer=decide), size)
    with tarfile.open(fileobj=io.BytesIO(seen[-1] + bytes(1024))) as archive:
        member = archive.extractfile(archive.getmembers()[-1])
        assert member is not None
        assert member.read() == EICAR
    assert len(seen[-1]) == size


def test_a_header_has_a_right_checksum() -> None:
    """The standard library accepts our header."""
    assert tarfile.TarInfo.frombuf(tar_header(b"x", 12345), "ascii", "strict").size == 12345


async def test_probes_are_sparse() -> None:
    """A probe of 100 MiB is no 100 MiB in memory."""
    kinds: list[type] = []

    def decide(body: Body) -> Answer | None:
        kinds.append(type(body))
        return None

    await prove(ScriptedEngine(answer=decide), 100 * MIB)
    assert kinds[1:] == [SparseBody, SparseBody]


@pytest.mark.clamd
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("alert", ["yes", "no"])
async def test_a_real_limit_is_found_to_the_byte(anchored: bool, alert: str) -> None:
    """MaxFileSize 3M is found on a real clamd, whether it tells of its limits or says OK."""
    from scanners.clamd.net import ClamavNet, Transport

    settings = {"MaxFileSize": "3M", "MaxScanSize": "20M", "AlertExceedsMax": alert}
    with run_clamd(settings, anchored=anchored) as server:
        for address, transport in ((server.unix, Transport.FILDES), (server.tcp, Transport.INSTREAM)):
            proof = Proof(ClamavNet(address, transport), 10 * MIB)
            assert await proof.show() == ""
            while await proof.show_more():
                pass
            assert (proof.seen, proof.unseen) == (3 * MIB, 3 * MIB + 1)
