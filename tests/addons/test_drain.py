"""The end of the gateway's work, on a clock of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addons import drain
from addons.drain import Drain

pytestmark = pytest.mark.looptime


class Guest:
    """A client's visit, as far as a drain asks it. It goes when it is bowed out or cut."""

    def __init__(self, here: list[Guest], *, busy: bool) -> None:
        self._here, self.is_busy = here, busy
        self.ended = ""

    def bow_out(self) -> None:
        self._leave("bowed out")

    def cut(self) -> None:
        self._leave("cut")

    def _leave(self, how: str) -> None:
        self.ended = how
        self._here.remove(self)


class House:
    """Who is here, and what became of the drain: `told` in order, with the loop's time."""

    def __init__(self) -> None:
        self.here: list[Guest] = []
        self.told: list[tuple[str, float]] = []

    def guest(self, *, busy: bool) -> Guest:
        self.here.append(one := Guest(self.here, busy=busy))
        return one

    def drain(self) -> Drain:
        return Drain(None, lambda: self._tell("cut"), lambda: self._tell("over"))

    def _tell(self, what: str) -> None:
        self.told.append((what, round(asyncio.get_running_loop().time(), 1)))


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    one = House()
    monkeypatch.setattr(drain, "visits", lambda: list(one.here))
    return one


async def test_an_empty_house_is_closed_at_once(house: House) -> None:
    """Nobody is here: it is over without a wait."""
    house.drain().begin(30)
    await asyncio.sleep(0)
    assert house.told == [("over", 0.0)]


async def test_whoever_is_served_may_finish(house: House) -> None:
    """The idle are bowed out at once, the others as soon as they are served."""
    idle, busy = house.guest(busy=False), house.guest(busy=True)
    house.drain().begin(30)
    await asyncio.sleep(7)
    assert (idle.ended, busy.ended, house.told) == ("bowed out", "", [])
    busy.is_busy = False
    await asyncio.sleep(1)
    assert (busy.ended, [what for what, _ in house.told]) == ("bowed out", ["over"])


async def test_patience_ends(house: House) -> None:
    """Transfers are cut after the patience, and who is still here a moment later is thrown out."""
    busy = house.guest(busy=True)
    house.drain().begin(30)
    await asyncio.sleep(60)
    assert busy.ended == "cut"
    assert [what for what, _ in house.told] == ["cut", "over"]
    assert house.told[0][1] == pytest.approx(30, abs=0.2)
    assert house.told[1][1] == pytest.approx(31, abs=0.2)


@pytest.mark.parametrize("served", [True, False])
async def test_a_second_time_means_now(house: House, served: bool) -> None:
    """However early it comes, and with mitmproxy's eager tasks: it is over once, and soon."""
    loop: Any = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    house.guest(busy=served)
    one = house.drain()
    one.begin(30)
    one.begin(30)
    await asyncio.sleep(2)
    assert [what for what, _ in house.told] == (["cut", "over"] if served else ["over"])
