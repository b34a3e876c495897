"""Places for checks under way, in order of arrival."""

from __future__ import annotations

import asyncio

from scanners.slots import Slots


async def test_places_are_handed_over_in_order() -> None:
    """Whoever waits longest gets the place that is given up, before any newcomer."""
    slots = Slots(1)
    order: list[int] = []

    async def come(number: int) -> None:
        await slots.take()
        order.append(number)

    await slots.take()
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(come(number))
        await asyncio.sleep(0)
        assert slots.waiting == 3
        slots.give_back()
        assert not slots.take_now()
        slots.give_back()
        slots.give_back()
    slots.give_back()
    assert (order, slots.taken, slots.waiting) == ([0, 1, 2], 0, 0)


async def test_who_is_cancelled_while_waiting_is_passed_over() -> None:
    """A cancelled turn goes to the next one, also where it is given up in the same moment."""
    slots = Slots(1)
    await slots.take()
    loop = asyncio.get_running_loop()
    first, second = loop.create_task(slots.take()), loop.create_task(slots.take())
    await asyncio.sleep(0)
    first.cancel()
    slots.give_back()
    await asyncio.wait([first, second])
    assert (first.cancelled(), second.done(), slots.taken, slots.waiting) == (True, True, 1, 0)


async def test_who_is_cancelled_with_the_place_in_hand_gives_it_back() -> None:
    """Cancelled between the hand-over and its own turn to run: no place is lost."""
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.get_running_loop().create_task(slots.take())
    await asyncio.sleep(0)
    slots.give_back()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert slots.take_now()


async def test_repr_tells_the_state() -> None:
    """In a debugger one sees how full it is."""
    slots = Slots(2)
    slots.take_now()
    assert repr(slots) == "<Slots 1 of 2 taken, 0 waiting>"
