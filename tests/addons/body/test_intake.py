"""Bodies as they come in."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from addons.body.codings import CodingError
from addons.body.intake import Intake
from inspection.spool import SpoolFull, SpoolRoom
from tests.addons.bodies import GZIP, PLAIN, STACK


async def test_without_a_coding_there_is_one_spool() -> None:
    """What is checked is what leaves, and growth is told as it happens."""
    grown: list[int] = []
    intake = Intake(SpoolRoom(), PLAIN, grown.append)
    intake.feed(b"ab")
    intake.feed(b"c")
    intake.finish()
    assert intake.raw is intake.content is intake.outgoing
    assert (grown, intake.coded, intake.complete) == ([2, 3], False, True)
    intake.close()


@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("coding", [GZIP, STACK])
async def test_decoding_follows_the_arrival(coding, piece: int) -> None:
    """However the bytes are cut, the content is decoded, and the origin's form kept for one plain coding."""
    data = gzip.compress(b"hello" * 100)
    data = data if coding is GZIP else gzip.compress(data)
    intake = Intake(SpoolRoom(), coding, lambda size: None)
    task = asyncio.get_running_loop().create_task(intake.decode())
    for start in range(0, len(data), piece):
        intake.feed(data[start : start + piece])
        await asyncio.sleep(0)
    intake.finish()
    await task
    assert intake.content.read(0, 1000) == b"hello" * 100
    assert (intake.outgoing is intake.raw) is (coding is GZIP)
    intake.close()


async def test_errors_come_out() -> None:
    """What does not decode raises CodingError, what does not fit SpoolFull."""
    intake = Intake(SpoolRoom(), GZIP, lambda size: None)
    intake.feed(b"no gzip at all")
    intake.finish()
    with pytest.raises(CodingError):
        await intake.decode()
    small = Intake(SpoolRoom(max_object=3), PLAIN, lambda size: None)
    with pytest.raises(SpoolFull):
        small.feed(b"four")
    intake.close()
    small.close()
