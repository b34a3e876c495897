"""A proven clamd at the usual places, else the built-in engine, said loudly."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from policy.address import Address
from policy.verdict import Coverage, Status
from scanners.antivirus import Antivirus
from scanners.auto import BANNER, LOOK_AGAIN, AutoPool, find_places
from scanners.builtin.engine import Builtin
from scanners.clamd.net import ClamavNet, Transport
from scanners.endpoint import Endpoint
from scanners.fake import FakeClamd, Fault
from tests.real.clamd_server import ClamdServer
from tests.scanners.scripted import BROKEN, CLEAN, FREE, INFECTED, ScriptedBuiltin, ScriptedEngine, terms


def over_places(engines: Mapping[str, ScriptedEngine]) -> Antivirus:
    """An `auto` whose places, all on TCP, hold these engines."""
    places = [Address.parse(text) for text in engines]
    pool = AutoPool(
        places,
        lambda place: Endpoint([engines[str(place)]], terms()),
        Endpoint([ScriptedBuiltin()], terms()),
    )
    return Antivirus("AUTO", pool, timeout=30, max_checked_size=100 << 20)


@pytest.mark.looptime
class TestChoice:
    """Which engine is taken, in virtual time."""

    async def test_nothing_there_is_the_built_in_engine_said_loudly(self) -> None:
        """Without clamd the built-in engine serves; banner and coverage say what that is worth."""
        antivirus = over_places({"h:1": ScriptedEngine(answer=lambda body: BROKEN)})
        await antivirus.start()
        report = await antivirus.check(INFECTED)
        assert (report.status, report.protocol, report.coverage) == (
            Status.FOUND,
            "builtin",
            Coverage.TEST_SIGNATURES,
        )
        assert antivirus.banner == BANNER
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        await antivirus.close()

    async def test_the_first_proven_place_is_taken(self) -> None:
        """Places are taken in their order; those that lose are closed."""
        blind = ScriptedEngine(answer=lambda body: FREE)
        second, third = ScriptedEngine(told_version="Two"), ScriptedEngine()
        antivirus = over_places({"h:1": blind, "h:2": second, "h:3": third})
        await antivirus.start()
        report = await antivirus.check(CLEAN)
        assert (report.version, report.protocol, report.coverage) == ("Two", "clamav-net", Coverage.FULL)
        assert antivirus.banner is None
        assert (blind.closed, second.closed, third.closed) == (True, False, True)
        await antivirus.close()

    async def test_a_clamd_that_appears_later_is_taken_within_a_minute(self) -> None:
        """While on the built-in engine the places are looked at again every minute."""
        engine = ScriptedEngine(answer=lambda body: BROKEN)
        antivirus = over_places({"h:1": engine})
        await antivirus.start()
        engine.answer = lambda body: None
        await asyncio.sleep(LOOK_AGAIN - 1)
        assert (await antivirus.check(CLEAN)).protocol == "builtin"
        await asyncio.sleep(2)
        assert (await antivirus.check(CLEAN)).protocol == "clamav-net"
        assert (antivirus.banner, antivirus.coverage) == (None, Coverage.FULL)
        await antivirus.close()

    async def test_a_clamd_once_taken_is_never_given_up(self) -> None:
        """Its loss is error, also after an hour; its return is noticed within half a minute."""
        engine = ScriptedEngine()
        antivirus = over_places({"h:1": engine})
        await antivirus.start()
        engine.answer = lambda body: BROKEN
        for _ in range(60):
            await asyncio.sleep(60)
            assert (await antivirus.check(CLEAN)).status is Status.ERROR
        engine.answer = lambda body: None
        await asyncio.sleep(30)
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        await antivirus.close()

    async def test_places_without_clamd_are_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """An hour without clamd is one line for each place, and no warning."""
        antivirus = over_places({"h:1": ScriptedEngine(answer=lambda body: BROKEN)})
        with caplog.at_level(logging.INFO):
            await antivirus.start()
            await asyncio.sleep(3600)
        assert caplog.text.count("not taken: the scripted engine: EICAR was not found") == 1
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
        await antivirus.close()

    async def test_a_look_that_raises_is_not_the_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Trouble while looking is logged, and the places are looked at again."""
        engine = ScriptedEngine(answer=lambda body: BROKEN)
        antivirus = over_places({"h:1": engine})
        await antivirus.start()
        monkeypatch.setattr(Endpoint, "start", None)
        await asyncio.sleep(LOOK_AGAIN + 1)
        monkeypatch.undo()
        engine.answer = lambda body: None
        await asyncio.sleep(LOOK_AGAIN)
        assert (await antivirus.check(CLEAN)).protocol == "clamav-net"
        await antivirus.close()

    async def test_a_check_under_way_at_the_change_gets_its_answer(self) -> None:
        """Who asked the built-in engine before a clamd was found is answered by it."""
        engine = ScriptedEngine(answer=lambda body: BROKEN)
        antivirus = over_places({"h:1": engine})
        await antivirus.start()
        builtin = antivirus.endpoints[0]
        engine.answer = lambda body: None
        await asyncio.sleep(LOOK_AGAIN + 1)
        assert (await builtin.ask(CLEAN)).status is Status.FREE
        await antivirus.close()
        assert len(asyncio.all_tasks()) == 1


class TestOverSockets:
    """What stands at the places, over real sockets."""

    @staticmethod
    def antivirus(*places: Address) -> Antivirus:
        pool = AutoPool(
            places,
            lambda place: Endpoint([ClamavNet(place, Transport.INSTREAM)], terms(most=1 << 20, timeout=1)),
            Endpoint([Builtin()], terms(most=1 << 20)),
        )
        return Antivirus("AUTO", pool, timeout=5, max_checked_size=1 << 20)

    async def protocol(self, *places: Address) -> str:
        antivirus = self.antivirus(*places)
        await antivirus.start()
        report = await antivirus.check(INFECTED)
        await antivirus.close()
        assert report.status is Status.FOUND
        return report.protocol

    async def test_an_impostor_that_only_pongs_is_refused(self, short_directory: Path) -> None:
        """PONG proves nothing: what says OK to EICAR, and what says nothing at all, is not taken."""
        for fault in (Fault.BLIND, Fault.SILENCE, Fault.CLOSE):
            async with FakeClamd(short_directory / fault, fault=fault) as fake:
                fake.blind_to_eicar = True
                assert await self.protocol(fake.address) == "builtin"

    async def test_a_dead_socket_file_is_passed_over(self, short_directory: Path) -> None:
        """A socket file without a server behind it, and none at all, do not keep anybody."""
        dead = short_directory / "dead"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(dead))
        missing = Address(unix=str(short_directory / "missing"))
        async with FakeClamd() as fake:
            assert await self.protocol(Address(unix=str(dead)), missing) == "builtin"
            assert await self.protocol(Address(unix=str(dead)), missing, fake.address) == "clamav-net"

    @pytest.mark.clamd
    async def test_a_real_clamd_is_taken(self, real_clamd: ClamdServer, caplog: pytest.LogCaptureFixture) -> None:
        """A real clamd proves itself and is named in the log."""
        with caplog.at_level(logging.INFO):
            assert await self.protocol(real_clamd.unix) == "clamav-net"
        assert "auto: found clamd at" in caplog.text


def test_places_come_from_the_environment() -> None:
    """AVSLUICE_CLAMD names other places, or none; the port may be left out."""
    assert find_places({"AVSLUICE_CLAMD": "/run/x, localhost:1, ::1".replace("::1", "[::1]")}) == [
        Address(unix="/run/x"),
        Address(host="localhost", port=1),
        Address(host="::1", port=3310),
    ]
    assert find_places({"AVSLUICE_CLAMD": ""}) == []
    assert Address(unix="/run/clamav/clamd.ctl") in find_places({})


def test_nonsense_in_the_environment_is_named() -> None:
    """What is no address is refused with the variable's name."""
    with pytest.raises(ValueError, match="AVSLUICE_CLAMD"):
        find_places({"AVSLUICE_CLAMD": "a:b:c"})
