"""Sizes that a server tells, where files pass unchecked because of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.fakes.ftp_server import Conversation, FakeFtpServer
from tests.fakes.loop_thread import LoopThread
from tests.ftp.gateway import FtpGateway
from tests.ftp.policies import policy, proxy
from tests.ftp.wire import Wire, read_all
from tests.http import samples
from tests.http.policies import builtin

LARGE = samples.clean("large", 40_000)


@pytest.fixture(scope="module")
def server(fakes: LoopThread) -> Iterator[FakeFtpServer]:
    """It tells each file to be as large as LARGE."""

    async def lie(conversation: Conversation, _argument: str) -> None:
        conversation.say(f"213 {len(LARGE)}")

    async def restart(conversation: Conversation, argument: str) -> None:
        fake.files["rest"] = LARGE[int(argument) :]
        conversation.say("350 from there")

    fake = FakeFtpServer()
    fake.files = {"small": samples.EICAR, "large": LARGE}
    fake.scripts |= {"SIZE": lie, "REST": restart}
    fakes.run(fake.start())
    yield fake
    fakes.run(fake.close())


POLICIES = {
    "skipped": ("accept-antivirus-status: [skipped]\n", ""),
    "size": ("", "- {name: LARGE, when: {size: '>10KiB'}}\n"),
}


@pytest.fixture(params=POLICIES)
def wire(request: pytest.FixtureRequest, gateway: Callable[..., FtpGateway], server: FakeFtpServer) -> Iterator[Wire]:
    """A session where large files pass, logged in."""
    acl, before = POLICIES[request.param]
    with Wire(gateway(policy(proxy(server.port, acl, before=before), builtin(max_checked_size="10KiB"))).port) as wire:
        yield wire.login()


def test_a_small_file_that_was_told_to_be_large(wire: Wire) -> None:
    """Its transfer fails visibly: 451, and no 226."""
    with wire.open_data() as data:
        assert wire.ask("RETR small").startswith("150")
        read_all(data)
        assert wire.reply().startswith("451")


@pytest.mark.parametrize(("name", "offset"), [("large", 0), ("rest", 39_000)])
def test_a_large_file_passes(wire: Wire, name: str, offset: int) -> None:
    """One that is as large as it was told to be arrives, its tail too."""
    if offset:
        wire.ask(f"REST {offset}")
    with wire.open_data() as data:
        assert wire.ask(f"RETR {name}").startswith("150")
        assert read_all(data) == LARGE[offset:]
    assert wire.reply().startswith("226")
