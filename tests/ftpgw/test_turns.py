"""Turns at changing what lies on a server."""

import asyncio

import pytest

from ftpgw.turns import Turns


async def takes(turns: Turns, server: str, path: str | None, *, alone: bool = False) -> bool:
    """Whether the turn comes at once."""
    try:
        async with turns.take(server, path, alone=alone, patience=0.01):
            return True
    except TimeoutError:
        return False


@pytest.mark.looptime
async def test_who_is_alone_has_the_server_for_himself() -> None:
    """Meanwhile nobody changes anything there, whatever its name; on another server everybody may."""
    turns = Turns()
    async with turns.take("a:21", "/x", alone=True, patience=1):
        assert not await takes(turns, "a:21", "/y")
        assert not await takes(turns, "a:21", None)
        assert not await takes(turns, "a:21", "/y", alone=True)
        assert await takes(turns, "b:21", "/x", alone=True)
    assert await takes(turns, "a:21", "/y", alone=True)


@pytest.mark.looptime
async def test_one_writer_a_file() -> None:
    """Files of other names are written at the same time, one file by one at a time, and nobody is alone then."""
    turns = Turns()
    async with turns.take("a:21", "/x", alone=False, patience=1):
        assert await takes(turns, "a:21", "/y")
        assert await takes(turns, "a:21", None)
        assert not await takes(turns, "a:21", "/x")
        assert not await takes(turns, "a:21", "/z", alone=True)


@pytest.mark.looptime
async def test_the_next_one_comes_at_once() -> None:
    """A turn that ends, by an error too, is the next one's."""
    turns = Turns()
    order = []

    async def hold() -> None:
        async with turns.take("a:21", "/x", alone=True, patience=1):
            order.append("first")
            await asyncio.sleep(5)
            raise OSError("it broke")

    first = asyncio.get_running_loop().create_task(hold())
    await asyncio.sleep(1)
    async with turns.take("a:21", "/x", alone=True, patience=10):
        order.append("second")
        assert asyncio.get_running_loop().time() < 6
    with pytest.raises(OSError, match="it broke"):
        await first
    assert order == ["first", "second"]
