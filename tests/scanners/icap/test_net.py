"""The same answers from c-icap, real and fake; and every way in which an answer can fail."""

from __future__ import annotations

import asyncio
import os
import socket
import tracemalloc

import pytest

from policy.address import Address
from policy.verdict import Coverage, Status
from scanners.body import MemoryBody, SparseBody
from scanners.fake_icap import FakeIcap, Fault
from scanners.icap.net import Icap, Preview
from scanners.specimens import EICAR
from tests.scanners.packed import PACKINGS, encrypted_zip

LARGE = 5 << 20
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


class TestContract:
    """What the real c-icap and the fake must both do."""

    async def test_hit(self, any_engine: Icap) -> None:
        """EICAR is found and has a name."""
        answer = await any_engine.ask(MemoryBody(EICAR))
        assert answer.status is Status.FOUND
        assert answer.virus is not None
        assert "Eicar" in answer.virus

    @pytest.mark.parametrize("size", [0, 1, 2, 68, 1023, 1024, 1025, 256 * 1024, 257 * 1024, LARGE])
    async def test_miss(self, any_engine: Icap, size: int) -> None:
        """Clean objects of any size are free, around the size of the preview, too."""
        assert (await any_engine.ask(MemoryBody((b"clean" * (size // 5 + 1))[:size]))).status is Status.FREE

    async def test_hit_in_the_last_bytes(self, any_engine: Icap) -> None:
        """The whole object is looked at, over every border of chunks."""
        body = SparseBody(LARGE, [(LARGE - len(EICAR), EICAR)])
        assert (await any_engine.ask(body)).status is Status.FOUND

    @pytest.mark.parametrize("packing", PACKINGS)
    async def test_hit_in_an_archive(self, any_engine: Icap, packing: str) -> None:
        """EICAR is found in what is packed."""
        assert (await any_engine.ask(MemoryBody(PACKINGS[packing](EICAR)))).status is Status.FOUND

    async def test_encrypted(self, any_engine: Icap) -> None:
        """What is encrypted was not scanned, though the server calls that an infection."""
        answer = await any_engine.ask(MemoryBody(encrypted_zip(os.urandom(200))))
        assert (answer.status, answer.detail.removesuffix(".UNOFFICIAL")) == (
            Status.SKIPPED,
            "Heuristics.Encrypted.Zip",
        )

    @pytest.mark.parametrize("size", [200, 5000])
    async def test_a_type_that_is_not_scanned(self, any_engine: Icap, size: int) -> None:
        """A 204 to what was shown of a PNG is skipped, infected or not, larger than the preview or not."""
        for body in (PNG + bytes(size), PNG + EICAR + bytes(size)):
            assert (await any_engine.ask(MemoryBody(body))).status is Status.SKIPPED

    async def test_version(self, any_engine: Icap) -> None:
        """The version names the service and its state."""
        assert '"CI0001-' in await any_engine.version()

    async def test_many_at_once(self, any_engine: Icap) -> None:
        """Twenty checks at a time get twenty right answers."""
        bodies = [MemoryBody(EICAR if i % 2 else b"clean %d" % i) for i in range(20)]
        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(any_engine.ask(body)) for body in bodies]
        expected = [Status.FOUND if i % 2 else Status.FREE for i in range(20)]
        assert [check.result().status for check in checks] == expected

    async def test_more_requests_than_a_connection_serves(self, any_engine: Icap) -> None:
        """The server ends a connection without a word after 101 requests: every answer is right nevertheless."""
        answers = [(await any_engine.ask(MemoryBody(b"clean"))).status for _ in range(230)]
        assert answers == [Status.FREE] * 230
        for _ in range(3):
            assert (await any_engine.ask(MemoryBody(EICAR))).status is Status.FOUND

    async def test_no_descriptor_is_left_open(self, any_engine: Icap) -> None:
        """Checks share a connection; nothing else stays open."""
        for _ in range(2):
            await any_engine.ask(MemoryBody(b"warm up"))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            await any_engine.ask(MemoryBody(b"clean"))
        assert len(os.listdir("/proc/self/fd")) <= before


STRUCK = {
    Fault.BLIND: Status.FREE,  # nothing in the words tells: that is what the canary is for
    Fault.CLOSE: Status.ERROR,
    Fault.CLOSE_MIDWAY: Status.ERROR,
    Fault.RESET: Status.ERROR,
    Fault.HALF_STATUS: Status.ERROR,
    Fault.HALF_HEADER: Status.ERROR,
    Fault.HALF_BODY: Status.UNKNOWN,  # abc is not what we sent, whatever would have come
    Fault.SHORT_BODY: Status.UNKNOWN,
    Fault.OTHER_BODY: Status.UNKNOWN,
    Fault.LONG_BODY: Status.UNKNOWN,
    Fault.ECHO: Status.FREE,
    Fault.EARLY_ECHO: Status.FREE,
    Fault.EARLY_204: Status.SKIPPED,
    Fault.EARLY_FOUND: Status.FOUND,
    Fault.BLOCK_PAGE: Status.UNKNOWN,
    Fault.HTTP: Status.UNKNOWN,
    Fault.GARBAGE: Status.UNKNOWN,
    Fault.NO_ENCAPSULATED: Status.UNKNOWN,
    Fault.WRONG_OFFSET: Status.ERROR,
    Fault.BAD_CHUNK: Status.ERROR,
    Fault.NEGATIVE_CHUNK: Status.ERROR,
    Fault.HUGE_CHUNK: Status.ERROR,
    Fault.LONG_HEADER: Status.ERROR,
    Fault.MANY_HEADERS: Status.ERROR,
    Fault.TWO_REPLIES: Status.UNKNOWN,
    Fault.UNEXPECTED_CONTINUE: Status.UNKNOWN,
}


class TestFaults:
    """What only a fake does on request."""

    @pytest.mark.parametrize("fault", STRUCK)
    @pytest.mark.parametrize("size", [100, LARGE])
    async def test_a_fault_has_its_status(self, fake_icap: FakeIcap, engine: Icap, fault: Fault, size: int) -> None:
        """Each fault ends in one status, for small and large objects, and spoils nothing for the next one."""
        fake_icap.fault = fault
        assert (await engine.ask(MemoryBody(b"x" * size))).status is STRUCK[fault]
        fake_icap.fault = Fault.NONE
        assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
        assert (await engine.ask(MemoryBody(b"clean"))).status is Status.FREE

    def test_every_fault_is_tried(self) -> None:
        """No fault of the fake is forgotten here."""
        assert set(Fault) == {*STRUCK, Fault.NONE, Fault.SILENCE, Fault.SLOW}

    @pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.SLOW])
    @pytest.mark.parametrize("size", [100, LARGE])
    async def test_a_cancelled_check_closes_its_connection(
        self, fake_icap: FakeIcap, engine: Icap, fault: Fault, size: int
    ) -> None:
        """No answer in time: the caller gives up, and the connection is gone at once."""
        fake_icap.fault = fault
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await engine.ask(MemoryBody(b"x" * size))
        async with asyncio.timeout(3):
            await fake_icap.idle()

    async def test_a_server_that_does_not_read_is_given_up(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """A sender that waits for room is cancelled like any other."""
        await engine.ask(MemoryBody(b"learns the options"))
        fake_icap.serving.clear()
        await engine.close()  # what is idle would be served
        engine = Icap(fake_icap.address, fake_icap.uri)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await engine.ask(MemoryBody(b"x" * LARGE))
        fake_icap.serving.set()

    @pytest.mark.parametrize("repeat", range(10))
    async def test_early_bad_news_are_heard(self, fake_icap: FakeIcap, engine: Icap, repeat: int) -> None:
        """A virus is told while we send, and the connection is reset behind it: the words are not lost."""
        fake_icap.fault = Fault.EARLY_FOUND
        answer = await engine.ask(MemoryBody(b"x" * 4 * LARGE))
        assert (answer.status, answer.virus) == (Status.FOUND, "Early")

    async def test_an_early_echo_of_a_large_object_costs_no_memory(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """64 MiB come back while they are sent: no deadlock, and no more is held than a few chunks."""
        fake_icap.fault = Fault.EARLY_ECHO
        body = SparseBody(64 << 20, [(1000, b"some"), (60 << 20, b"bytes")])
        tracemalloc.start()
        try:
            answer = await engine.ask(body)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert answer.status is Status.FREE
        assert peak < 8 << 20

    async def test_a_body_that_cannot_be_read_is_an_error(self, engine: Icap) -> None:
        """Trouble on our own side is an error, too, and does not leave the engine."""

        class Broken(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                raise OSError(5, "Input/output error")

        answer = await engine.ask(Broken(b"x" * 1000))
        assert answer.status is Status.ERROR
        assert "Input/output error" in answer.detail

    async def test_a_body_that_cannot_be_compared_is_an_error(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """The object is read once more for an echo; if that fails nothing is known."""

        class Forgetful(MemoryBody):
            reads = 0

            def read(self, offset: int, size: int) -> bytes:
                self.reads += 1
                if self.reads > 2:
                    raise OSError(5, "Input/output error")
                return super().read(offset, size)

        fake_icap.fault = Fault.ECHO
        answer = await engine.ask(Forgetful(b"x" * 3000))
        assert answer.status is Status.ERROR
        assert "Input/output error" in answer.detail

    @pytest.mark.parametrize("shown", [100, 2000])
    async def test_a_body_that_ends_early_is_an_error(self, engine: Icap, shown: int) -> None:
        """Fewer bytes than announced are never a whole object."""

        class Short(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                return super().read(offset, min(size, max(0, shown - offset)))

        assert (await engine.ask(Short(b"x" * LARGE))).status is Status.ERROR


class TestConnections:
    """Which connections are made, kept and made anew."""

    async def test_one_connection_serves_many_checks(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """OPTIONS once, then check after check on the same connection."""
        for _ in range(50):
            await engine.ask(MemoryBody(b"clean"))
        assert fake_icap.accepted == 1
        assert [r.method for r in fake_icap.requests] == ["OPTIONS"] + ["RESPMOD"] * 50

    async def test_the_102nd_request_is_asked_again(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """OPTIONS and a hundred checks fill a connection; the next check gets its right answer on another one."""
        statuses = [(await engine.ask(MemoryBody(b"clean"))).status for _ in range(100)]
        assert (fake_icap.accepted, set(statuses)) == (1, {Status.FREE})
        assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
        assert fake_icap.accepted == 2

    async def test_a_kept_connection_that_is_dead_is_retried_once(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """The server ends without a word on the kept connection and on the new one: an error after two attempts."""
        await engine.ask(MemoryBody(b"clean"))
        fake_icap.fault = Fault.CLOSE_MIDWAY
        asked = len(fake_icap.requests)
        assert (await engine.ask(MemoryBody(b"clean"))).status is Status.ERROR
        assert [r.method for r in fake_icap.requests[asked:]] == ["RESPMOD"] * 2

    async def test_a_reply_that_began_is_not_asked_for_again(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """One byte of a reply, and there is no second attempt."""
        await engine.ask(MemoryBody(b"clean"))
        fake_icap.fault = Fault.HALF_STATUS
        asked = len(fake_icap.requests)
        assert (await engine.ask(MemoryBody(b"clean"))).status is Status.ERROR
        assert len(fake_icap.requests) == asked + 1

    async def test_a_restarted_server(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """Kept connections that died meanwhile are not used."""
        assert (await engine.ask(MemoryBody(b"clean"))).status is Status.FREE
        await fake_icap.stop()
        assert (await engine.ask(MemoryBody(b"clean"))).status is Status.ERROR
        await fake_icap.start()
        assert (await engine.ask(MemoryBody(b"clean"))).status is Status.FREE

    async def test_no_delay(self, engine: Icap, monkeypatch: pytest.MonkeyPatch) -> None:
        """Small pieces go out at once (TCP_NODELAY)."""
        options: list[int] = []
        close = engine._connections.give

        def give(connection: object) -> None:
            sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # what is tested
            options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            close(connection)  # type: ignore[arg-type]  # it is one

        monkeypatch.setattr(engine._connections, "give", give)
        await engine.ask(MemoryBody(b"clean"))
        assert options == [1, 1]

    async def test_max_connections(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """Never more connections than the server wants."""
        fake_icap.options["Max-Connections"] = "2"
        await engine.version()
        fake_icap.delay = 0.01
        most = 0

        async def ask(number: int) -> Status:
            nonlocal most
            status = (await engine.ask(MemoryBody(b"clean %d" % number))).status
            most = max(most, fake_icap.connections)
            return status

        async with asyncio.TaskGroup() as tasks:
            checks = [tasks.create_task(ask(number)) for number in range(12)]
        assert [check.result() for check in checks] == [Status.FREE] * 12
        assert most == 2

    async def test_nobody_there(self) -> None:
        """A closed port is an error that says where."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        engine = Icap(Address(host="127.0.0.1", port=port), "/avscan")
        answer = await engine.ask(MemoryBody(b"x"))
        assert answer.status is Status.ERROR
        assert str(port) in answer.detail
        assert await engine.version() == ""

    async def test_a_host_may_have_a_name(self, fake_icap: FakeIcap) -> None:
        """Names are looked up."""
        engine = Icap(Address(host="localhost", port=fake_icap.address.port), fake_icap.uri)
        assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
        await engine.close()


class TestOptions:
    """What the server says of itself, and what is made of it."""

    async def test_the_last_byte_is_kept_back(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """Of a small object all but the last byte is shown: only the server that asks for it scans."""
        await engine.ask(MemoryBody(b"clean"))
        request = fake_icap.requests[-1]
        assert (request.shown, request.ieof, request.size) == (4, False, 5)

    async def test_a_large_object_is_shown_as_far_as_wanted(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """The preview is as long as the server offers, and no longer than 64 KiB."""
        for offered, shown in (("30", 30), ("0", 0), ("999999", 65536)):
            fake_icap.options["Preview"] = offered
            await engine.version()
            assert (await engine.ask(MemoryBody(b"x" * 100_000))).status is Status.FREE
            assert (fake_icap.requests[-1].shown, fake_icap.requests[-1].size) == (shown, 100_000)

    @pytest.mark.parametrize("without", [{"Preview": None}, {"Preview": "x"}, {"Transfer-Complete": "bin"}])
    async def test_no_preview_is_wanted(
        self, fake_icap: FakeIcap, engine: Icap, without: dict[str, str | None]
    ) -> None:
        """Without Preview, or with Transfer-Complete for us, the object comes whole at once."""
        change = {**fake_icap.options, **without}
        fake_icap.options = {name: value for name, value in change.items() if value is not None}
        assert (await engine.ask(MemoryBody(b"x" * 5000))).status is Status.FREE
        assert (await engine.ask(MemoryBody(EICAR))).status is Status.FOUND
        assert (fake_icap.requests[-1].shown, fake_icap.requests[-1].size) == (None, 68)

    async def test_without_allow_204_the_object_comes_back(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """Where the server knows no 204 none is offered, and the echo is compared."""
        del fake_icap.options["Allow"]
        assert (await engine.ask(MemoryBody(b"x" * LARGE))).status is Status.FREE
        assert "allow" not in fake_icap.requests[-1].headers

    async def test_206_is_never_offered(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """Nor is anything else than 204."""
        fake_icap.options["Allow"] = "204, 206"
        await engine.ask(MemoryBody(b"clean"))
        assert fake_icap.requests[-1].headers["allow"] == "204"

    async def test_transfer_ignore_is_skipped(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """A server that does not want such objects is not sent any."""
        fake_icap.options["Transfer-Ignore"] = "gif, bin"
        assert (await engine.ask(MemoryBody(EICAR))).status is Status.SKIPPED
        assert [r.method for r in fake_icap.requests] == ["OPTIONS"]

    @pytest.mark.looptime
    async def test_options_expire(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """After Options-TTL seconds the server is asked anew."""
        fake_icap.options["Options-TTL"] = "60"
        loop = asyncio.get_running_loop()
        for wait in (0, 59, 2):
            await asyncio.wait([loop.create_task(asyncio.sleep(wait))])
            await engine.ask(MemoryBody(b"clean"))
        methods = [r.method for r in fake_icap.requests]
        assert methods == ["OPTIONS", "RESPMOD", "RESPMOD", "OPTIONS", "RESPMOD"]

    @pytest.mark.looptime
    async def test_idle_connections_are_closed(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """A connection that waits holds a thread of the server: not for long."""
        await engine.ask(MemoryBody(b"clean"))
        assert fake_icap.connections == 1
        await asyncio.wait([asyncio.get_running_loop().create_task(asyncio.sleep(11))])
        async with asyncio.timeout(5):
            await fake_icap.idle()

    async def test_a_changed_istag_asks_anew(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """A server that has become another one is asked what it can do."""
        before = await engine.version()
        fake_icap.istag = "CI0001-other"
        await engine.ask(MemoryBody(b"clean"))
        await engine.ask(MemoryBody(b"clean"))
        assert [r.method for r in fake_icap.requests] == ["OPTIONS", "RESPMOD", "OPTIONS", "RESPMOD"]
        assert await engine.version() != before

    @pytest.mark.parametrize(("code", "status"), [(404, Status.ERROR), (503, Status.ERROR), (204, Status.UNKNOWN)])
    async def test_options_that_fail(self, fake_icap: FakeIcap, engine: Icap, code: int, status: Status) -> None:
        """Without an answer to OPTIONS nothing is asked."""
        fake_icap.options_code = code
        assert (await engine.ask(MemoryBody(b"clean"))).status is status
        assert await engine.version() == ""
        assert {r.method for r in fake_icap.requests} == {"OPTIONS"}

    async def test_a_service_without_respmod(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """A service that only judges requests is an error that says so."""
        fake_icap.options["Methods"] = "REQMOD"
        answer = await engine.ask(MemoryBody(b"clean"))
        assert (answer.status, "not RESPMOD" in answer.detail) == (Status.ERROR, True)

    async def test_a_service_that_does_not_exist(self, fake_icap: FakeIcap) -> None:
        """404 is an error that says so."""
        engine = Icap(fake_icap.address, "/nothing")
        answer = await engine.ask(MemoryBody(b"clean"))
        assert (answer.status, "404 Service not found" in answer.detail) == (Status.ERROR, True)

    async def test_options_are_asked_for_once_by_many(self, fake_icap: FakeIcap, engine: Icap) -> None:
        """Checks that begin together share one OPTIONS."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(engine.ask(MemoryBody(b"clean")))
        assert [r.method for r in fake_icap.requests].count("OPTIONS") == 1


class TestPureBody:
    """The policy's icap-pass-200-with-pure-body."""

    @pytest.mark.parametrize(("pure", "status"), [(True, Status.FREE), (False, Status.UNKNOWN)])
    async def test_an_echo(self, fake_icap: FakeIcap, *, pure: bool, status: Status) -> None:
        """An unchanged 200 is free only where the policy says so; a 204 is either way."""
        engine = Icap(fake_icap.address, fake_icap.uri, pure_body=pure)
        fake_icap.fault = Fault.ECHO
        assert (await engine.ask(MemoryBody(b"clean" * 1000))).status is status
        fake_icap.fault = Fault.NONE
        assert (await engine.ask(MemoryBody(b"clean"))).status is Status.FREE
        await engine.close()


@pytest.mark.parametrize("preview", Preview)
@pytest.mark.parametrize("size", [0, 1, 1024, 1025, LARGE])
async def test_every_way_to_show_an_object(fake_icap: FakeIcap, preview: Preview, size: int) -> None:
    """In part, in whole with ieof, and without a preview: the server gets every byte and its 204 is free."""
    engine = Icap(fake_icap.address, fake_icap.uri, preview=preview)
    assert (await engine.ask(MemoryBody(b"x" * size))).status is Status.FREE
    assert fake_icap.requests[-1].size == size
    assert fake_icap.requests[-1].ieof == (preview is Preview.WHOLE and 0 < size <= 1024)
    await engine.close()


def test_it_names_itself() -> None:
    """str() says what it is, where, and which service."""
    engine = Icap(Address(host="::1", port=1344), "/av/respmod")
    assert str(engine) == "icap://[::1]:1344/av/respmod"
    assert (engine.protocol, engine.coverage) == ("icap", Coverage.FULL)
