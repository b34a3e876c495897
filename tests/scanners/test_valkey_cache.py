"""Verdicts shared between processes, in virtual time with a scripted client, and with a real server."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from policy.valkey_url import ValkeyUrl
from policy.verdict import Status
from scanners import valkey_cache
from scanners.antivirus import Antivirus
from scanners.body import MemoryBody
from scanners.cache import VerdictCache
from scanners.endpoint import Endpoint
from scanners.engine import Answer
from scanners.pool import Pool
from scanners.valkey_cache import LATEST, ValkeyStore, _compose, _parse
from scanners.valkey_client import connect
from tests.real.valkey_server import ValkeyServer, find_valkey, run_valkey
from tests.scanners.fuzzing import fuzz, spoil
from tests.scanners.scripted import CLEAN, FREE, INFECTED, ScriptedEngine, terms

VIRUS = Answer(Status.FOUND, virus="Eicar", detail="Eicar FOUND")
installed = pytest.mark.skipif(importlib.util.find_spec("valkey") is None, reason="the extra `valkey` is not installed")


@dataclass
class ScriptedClient:
    """What a server would keep, in a dictionary; it may fail or be slow."""

    kept: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    trouble: Exception | None = None
    asked: int = 0
    answered: int = 0
    closed: bool = False

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        await self.act()
        return [self.kept.get(key) for key in keys]

    async def set(self, name: str, value: str, *, px: int | None = None, ex: int | None = None) -> object:
        await self.act()
        assert (px or ex or 0) > 0
        self.kept[name] = value.encode()
        return True

    async def act(self) -> None:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.trouble is not None:
            raise self.trouble
        self.answered += 1

    async def aclose(self) -> None:
        self.closed = True


async def ticket_of(store: ValkeyStore, scope: str = "scope") -> str:
    """A ticket of a scope; the first question makes the scope's token."""
    await store.recall(scope, "any")
    await asyncio.sleep(1)
    return (await store.recall(scope, "any"))[1]


@pytest.mark.looptime
class TestStore:
    """The store alone."""

    @pytest.mark.parametrize("answer", [FREE, VIRUS])
    async def test_what_one_remembers_the_other_recalls(self, answer: Answer) -> None:
        """Two processes, one server: the very answer."""
        client = ScriptedClient()
        ours, theirs = ValkeyStore(client), ValkeyStore(client)
        ours.remember("scope", "key", await ticket_of(ours), answer, 10)
        await asyncio.sleep(1)
        assert (await theirs.recall("scope", "key"))[0] == answer
        assert (await theirs.recall("scope", "other"))[0] is None
        assert (await theirs.recall("elsewhere", "key"))[0] is None
        await ours.close()
        await theirs.close()
        assert client.closed

    async def test_what_is_dropped_is_dropped_for_all(self) -> None:
        """For us at once, for others as soon as the server knows; also what was under way with an old ticket."""
        client = ScriptedClient()
        ours, theirs = ValkeyStore(client), ValkeyStore(client)
        ticket = await ticket_of(ours)
        ours.remember("scope", "key", ticket, FREE, 10)
        await asyncio.sleep(1)
        ours.drop("scope")
        assert await ours.recall("scope", "key") == (None, "")
        await asyncio.sleep(1)
        theirs.remember("scope", "late", ticket, FREE, 10)
        await asyncio.sleep(1)
        for store in (ours, theirs):
            for key in ("key", "late"):
                assert (await store.recall("scope", key))[0] is None
        await ours.close()
        await theirs.close()

    async def test_a_lost_token_drops_everything(self) -> None:
        """A server that threw the token away cannot bring back what was dropped before."""
        client = ScriptedClient()
        store = ValkeyStore(client)
        store.remember("scope", "key", await ticket_of(store), FREE, 10)
        await asyncio.sleep(1)
        del client.kept["sluice:1:scope:token"]
        assert await ticket_of(store)
        assert (await store.recall("scope", "key"))[0] is None
        await store.close()

    async def test_a_drop_that_cannot_be_told_is_told_later(self) -> None:
        """Until the server knows nothing of the scope is believed by us."""
        client = ScriptedClient()
        store = ValkeyStore(client)
        store.remember("scope", "key", await ticket_of(store), FREE, 1000)
        await asyncio.sleep(1)
        client.trouble = ConnectionError("gone")
        store.drop("scope")
        await asyncio.sleep(100)
        assert await store.recall("scope", "key") == (None, "")
        client.trouble = None
        await asyncio.sleep(31)
        assert (await store.recall("scope", "key"))[0] is None
        assert await ticket_of(store)
        await store.close()

    @pytest.mark.parametrize("trouble", [ConnectionError("gone"), RuntimeError("bug"), ValueError("odd")])
    async def test_any_trouble_is_a_miss(self, trouble: Exception) -> None:
        """Whatever the client raises; and the server is left alone for a second or more."""
        client = ScriptedClient(trouble=trouble)
        store = ValkeyStore(client)
        for _ in range(10):
            assert await store.recall("scope", "key") == (None, "")
            store.remember("scope", "key", "ticket", FREE, 10)
        assert client.asked == 1
        client.trouble = None
        await asyncio.sleep(3)
        assert await ticket_of(store)
        await store.close()

    async def test_slowness_is_a_miss(self) -> None:
        """Nobody waits longer than 50 ms, and the next ones not at all."""
        client = ScriptedClient(seconds=10)
        store = ValkeyStore(client)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(10):
            assert await store.recall("scope", "key") == (None, "")
        assert loop.time() - began == pytest.approx(LATEST)
        await store.close()

    async def test_a_question_goes_on_behind_its_asker(self) -> None:
        """What connecting takes longer than a check waits is not lost: the next question finds the connection."""
        client = ScriptedClient(seconds=0.5)
        store = ValkeyStore(client)
        assert await store.recall("scope", "key") == (None, "")
        await asyncio.sleep(0.5)
        assert client.answered == 1
        await store.close()

    async def test_nothing_is_left_when_it_is_closed(self) -> None:
        """Neither a question under way nor its asker."""
        store = ValkeyStore(ScriptedClient(seconds=0.5), 10)
        async with asyncio.timeout(1), asyncio.TaskGroup() as group:
            asking = group.create_task(store.recall("scope", "key"))
            await asyncio.sleep(0.1)
            await store.close()
        assert asking.result() == (None, "")

    async def test_writes_that_pile_up_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The queue is bounded."""
        monkeypatch.setattr(valkey_cache, "_PENDING", 3)
        client = ScriptedClient()
        store = ValkeyStore(client)
        ticket = await ticket_of(store)
        for number in range(10):
            store.remember("scope", f"key{number}", ticket, FREE, 10)
        await asyncio.sleep(1)
        assert sum(name.startswith("sluice:1:scope:key") for name in client.kept) == 3
        await store.close()

    async def test_lookups_that_pile_up_are_misses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So many at a time, and no more connections than that."""
        monkeypatch.setattr(valkey_cache, "_LOOKUPS", 2)
        client = ScriptedClient()
        store = ValkeyStore(client)
        assert await ticket_of(store)
        client.seconds, client.asked = 0.01, 0
        await asyncio.gather(*(store.recall("scope", "key") for _ in range(10)))
        assert client.asked == 2
        await store.close()

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda value: b"",
            lambda value: b"\xff\xfe",
            lambda value: value.replace(b"key", b"other"),
            lambda value: value.replace(b"free", b"error"),
            lambda value: value.replace(b"free", b"FREE"),
            lambda value: value + b"\0",
            lambda value: value + b"x",
            lambda value: value[:-1],
            lambda value: value.replace(b"free", b"found"),
            lambda value: b"x" * 1_000_000,
        ],
    )
    async def test_a_spoilt_value_is_a_miss(self, spoil: Callable[[bytes], bytes]) -> None:
        """Only what we would have written for this very key is believed: a reply that got lost is not."""
        client = ScriptedClient()
        store = ValkeyStore(client)
        store.remember("scope", "key", await ticket_of(store), FREE, 10)
        await asyncio.sleep(1)
        name = "sluice:1:scope:key"
        client.kept[name] = spoil(client.kept[name])
        assert (await store.recall("scope", "key"))[0] is None
        await store.close()

    async def test_repr_tells_the_state(self) -> None:
        """In a debugger one sees what waits."""
        assert (
            repr(ValkeyStore(ScriptedClient())) == "<ValkeyStore <Breaker closed, 0 failures>, 0 to write, 0 to drop>"
        )


async def started(store: ValkeyStore | None, engine: ScriptedEngine) -> Antivirus:
    """A gateway's engine with a memory of its own and a shared one."""
    cache = VerdictCache(free=600, found=600, entries=10, shared=store)
    pool = Pool([Endpoint([engine], terms(most=100_000))])
    antivirus = Antivirus("AV", pool, timeout=5, max_checked_size=100_000, cache=cache.section("AV"))
    await antivirus.start()
    return antivirus


@pytest.mark.looptime
class TestAntivirus:
    """Two gateways over one scripted server."""

    async def test_a_verdict_of_another_gateway_is_served(self) -> None:
        """It is cached, and has the status, the virus and the version."""
        client = ScriptedClient()
        engines = ScriptedEngine(), ScriptedEngine()
        one, two = [await started(ValkeyStore(client), engine) for engine in engines]
        for body in (CLEAN, INFECTED):  # the first only makes the scope's token
            await one.check(body)
            await asyncio.sleep(1)
        report = await two.check(INFECTED)
        assert (report.virus, report.version, report.cached) == ("Eicar", "Scripted 1", True)
        assert not (await two.check(CLEAN)).cached
        await one.close()
        await two.close()

    async def test_a_blind_engine_is_forgotten_by_all(self) -> None:
        """One gateway's failed canary drops what it had told the others."""
        client = ScriptedClient()
        engines = ScriptedEngine(), ScriptedEngine()
        one, two = [await started(ValkeyStore(client), engine) for engine in engines]
        await two.check(MemoryBody(b"first"))
        await asyncio.sleep(1)
        await one.check(CLEAN)
        await asyncio.sleep(1)
        engines[0].answer = lambda body: FREE
        await asyncio.sleep(32)
        assert not (await two.check(CLEAN)).cached
        await one.close()
        await two.close()

    async def test_trouble_is_never_an_error(self) -> None:
        """A server that is gone or slow costs 50 ms once, and no verdict."""
        engine = ScriptedEngine()
        antivirus = await started(ValkeyStore(ScriptedClient(seconds=3600)), engine)
        reports = [await antivirus.check(MemoryBody(bytes([n]))) for n in range(5)]
        assert [r.status for r in reports] == [Status.FREE] * 5
        assert sum(r.ms for r in reports) == pytest.approx(1000 * LATEST)
        await antivirus.close()


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    """A real server."""
    if find_valkey() is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with run_valkey() as server:
        yield server


async def eventually(server: ValkeyServer, keys: int) -> None:
    """Returns once the server holds so many keys."""
    async with asyncio.timeout(5):
        while await asyncio.to_thread(server.command, "DBSIZE") != b":%d\r\n" % keys:  # noqa: ASYNC110  (a real server)
            await asyncio.sleep(0.01)


@installed
class TestRealServer:
    """valkey-py and a real server, in real time."""

    async def test_a_verdict_is_shared_and_dropped(self, valkey: ValkeyServer) -> None:
        """Written by one gateway, served by another, with an end to its life, and dropped for both."""
        one, two = [
            await started(ValkeyStore(connect(ValkeyUrl(valkey.address)), 1), ScriptedEngine()) for _ in range(2)
        ]
        await one.check(INFECTED)
        await eventually(valkey, 1)  # the token
        async with asyncio.timeout(5):  # a server that takes its time is a miss, also for who writes: again, then
            while await asyncio.to_thread(valkey.command, "DBSIZE") != b":2\r\n":
                await one.check(CLEAN)
        report = await two.check(CLEAN)
        assert (report.status, report.cached) == (Status.FREE, True)
        dropping = ValkeyStore(connect(ValkeyUrl(valkey.address)), 1)
        dropping.drop("AV")
        await dropping.close()
        three = await started(ValkeyStore(connect(ValkeyUrl(valkey.address)), 1), ScriptedEngine())
        assert not (await three.check(CLEAN)).cached
        for antivirus in (one, two, three):
            await antivirus.close()

    async def test_a_stopped_server_is_a_miss(self, valkey: ValkeyServer) -> None:
        """SIGSTOP: the verdict comes from the engine, at most a little later."""
        antivirus = await started(ValkeyStore(connect(ValkeyUrl(valkey.address))), ScriptedEngine())
        valkey.signal(signal.SIGSTOP)
        report = await antivirus.check(CLEAN)
        assert (report.status, report.cached) == (Status.FREE, False)
        assert report.ms < 1000
        await antivirus.close()

    async def test_no_server_is_a_miss(self) -> None:
        """Nobody listens: the same."""
        antivirus = await started(ValkeyStore(connect(ValkeyUrl.parse("valkey://127.0.0.1:1"))), ScriptedEngine())
        assert (await antivirus.check(CLEAN)).status is Status.FREE
        await antivirus.close()


KEY, TICKET = f"{32 * 'e'}:{64 * 'a'}:100", "0123456789abcdef"
ENTRIES = [_compose(answer, TICKET, KEY).encode() for answer in (FREE, FREE, VIRUS)]
WORDS = [b"\0", b"free", b"found", b"error", TICKET.encode(), KEY.encode(), b"fre", b"\xff", *ENTRIES]


def test_garbage_is_never_free() -> None:
    """Spoilt entries: free is exactly the one that was written for this very object, scope and edition."""
    seen: set[Status | None] = set()
    clean = b"\0".join((TICKET.encode(), KEY.encode(), b"free", b"", b""))

    def trial(chance: random.Random) -> None:
        entry = spoil(chance, chance.choice(ENTRIES), WORDS)
        answer = _parse(entry, TICKET, KEY)
        assert (answer == FREE) == (entry == clean), entry
        assert answer is None or answer.status in (Status.FREE, Status.FOUND), entry
        assert answer is None or (answer.status is Status.FOUND) == bool(answer.virus), entry
        seen.add(answer and answer.status)

    assert fuzz(trial) > 0
    assert seen == {None, Status.FREE, Status.FOUND}
