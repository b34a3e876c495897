"""The fake drwebd, asked by hand: what its users may rely on. Requests and replies are written out as bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from scanners.fake_drweb import DrwebFault, FakeDrweb
from scanners.fake_drweb_table import Code, Command, Request
from scanners.specimens import EICAR

SCAN = "00000001 00000001"
CLEAN_REPLY = bytes.fromhex("00100000 00000000")
NET_EMPTY = bytes.fromhex(f"{SCAN} 00000000 00000000")


def by_path(path: Path) -> bytes:
    name = os.fsencode(path)
    return bytes.fromhex(SCAN) + len(name).to_bytes(4) + name + bytes(4)


def sent(body: bytes) -> bytes:
    return bytes.fromhex(SCAN) + bytes(4) + len(body).to_bytes(4) + body


async def say(fake: FakeDrweb, request: bytes) -> bytes:
    """Its whole reply to a request after which nothing more is sent."""
    if (unix := fake.address.unix) is not None:
        reader, writer = await asyncio.open_unix_connection(unix)
    else:
        reader, writer = await asyncio.open_connection(fake.address.host, fake.address.port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
        await fake.idle()


@pytest.mark.parametrize("unix", [False, True])
async def test_bytes_and_paths(short_directory: Path, unix: bool) -> None:
    """EICAR is KNOWN_VIRUS with a report, all else is clean, over TCP and a Unix socket, sent or told the path."""
    infected = bytes.fromhex("00000020 00000001 00000032") + b"data infected with EICAR Test File (NOT a Virus!)\0"
    (short_directory / "clean").write_bytes(b"clean")
    (short_directory / "infected").write_bytes(b"x" * 100_000 + EICAR + b"x")
    async with FakeDrweb(short_directory / "s" if unix else None) as fake:
        assert await say(fake, sent(b"clean")) == CLEAN_REPLY
        assert await say(fake, sent(b"x" * 100_000 + EICAR + b"x")) == infected
        assert await say(fake, by_path(short_directory / "clean")) == CLEAN_REPLY
        assert await say(fake, by_path(short_directory / "infected")) == infected
    assert fake.complaints == fake.aborted == []
    assert fake.requests[0] == Request(command=1, flags=1, size=5, sha256=hashlib.sha256(b"clean").hexdigest())
    assert fake.requests[2] == Request(command=1, flags=1, path=os.fsencode(short_directory / "clean"))


async def test_one_zero_more_behind_a_path(short_directory: Path) -> None:
    """A file request may end in two words of zero, as one public client sends it; three are too many."""
    async with FakeDrweb(short_directory / "s") as fake:
        assert await say(fake, by_path(Path("/nowhere")) + bytes(4)) == bytes.fromhex("00000001 00000000")
        assert fake.complaints == []
        await say(fake, by_path(Path("/nowhere")) + bytes(8))
        assert len(fake.complaints) == 1


async def test_questions() -> None:
    """Version, databases and identity have their own replies, their texts with a NUL or without."""
    async with FakeDrweb() as fake:
        fake.version, fake.bases, fake.identity = 0x43300, ((b"a.vdb", 7), (b"b", 8)), b"me"
        assert await say(fake, bytes.fromhex("00000002")) == bytes.fromhex("00043300")
        databases = "00000002 00000006 612e76646200 00000007 00000002 6200 00000008"
        assert await say(fake, bytes.fromhex("00000003")) == bytes.fromhex(databases)
        fake.nul = False
        assert await say(fake, bytes.fromhex("00000004")) == bytes.fromhex("00000002 6d65")
    assert [request.command for request in fake.requests] == [Command.VERSION, Command.BASEINFO, Command.IDSTRING]
    assert fake.complaints == []


@pytest.mark.parametrize(
    ("request_hex", "complaint"),
    [
        ("00000000", "the command is 0x0"),
        ("01000000", "the command is 0x1000000"),
        *((f"00000001 {1 << bit:08x}", f"the flags have {1 << bit:#x}") for bit in (4, 5, *range(6, 19), 20, 22, 31)),
        ("00000001 00000001 00001001", "the length of the path is 4097"),
        (f"{SCAN} 00000002 6100 00000000", "the path holds a NUL"),
        (f"{SCAN} 00000002 2f61 00000005", "the word behind the path is 0x5"),
    ],
)
async def test_a_wrong_field_is_a_bad_call(request_hex: str, complaint: str) -> None:
    """What the table does not know, and whatever would change the object, is answered BAD_CALL and kept."""
    async with FakeDrweb() as fake:
        assert await say(fake, bytes.fromhex(request_hex)) == bytes.fromhex("00008000 00000000")
    assert fake.complaints == [complaint]
    assert fake.requests == []


async def test_bytes_behind_a_request() -> None:
    """One request a connection: whatever follows it is a complaint."""
    async with FakeDrweb() as fake:
        for request in (sent(b"x"), bytes.fromhex("00000002")):
            await say(fake, request + bytes(4))
    assert fake.complaints == ["4 bytes came behind the request: 00000000"] * 2


@pytest.mark.parametrize("length", [0, 3, 7, 11, 15, 19])
async def test_a_cut_request_is_answered_readsocket(length: int) -> None:
    """A client that ends too early has sent no object."""
    async with FakeDrweb() as fake:
        reader, writer = await asyncio.open_connection(fake.address.host, fake.address.port)
        writer.write(sent(b"five5")[:length])
        writer.write_eof()
        assert await reader.read() == bytes.fromhex("00000010 00000000")
        writer.close()
        await fake.idle()
    assert (len(fake.aborted), fake.complaints, fake.requests) == (1, [], [])


async def test_flags_say_what_is_reported() -> None:
    """Names come where names or a report were asked for."""
    async with FakeDrweb() as fake:
        for flags, count in ((0, 0), (1, 1), (2, 1), (8, 0), (1 << 19 | 1 << 21 | 1, 1)):
            request = b"".join(word.to_bytes(4) for word in (1, flags, 0, len(EICAR))) + EICAR
            assert (await say(fake, request))[:8] == (0x20).to_bytes(4) + count.to_bytes(4)


@pytest.mark.parametrize("segment", [1, 3])
async def test_replies_leave_in_segments(segment: int) -> None:
    """The reader has its turn after each segment, and sees it alone."""
    async with FakeDrweb() as fake:
        fake.segment = segment
        reader, writer = await asyncio.open_connection(fake.address.host, fake.address.port)
        writer.write(NET_EMPTY)
        seen = []
        while part := await reader.read(100):
            seen.append(len(part))
        writer.close()
    assert (max(seen), sum(seen)) == (segment, 8)


async def test_what_is_no_file(short_directory: Path) -> None:
    """Links are not followed, fifos not opened, directories not searched, and what is not there is READ_ERR."""
    (short_directory / "link").symlink_to("/etc/hostname")
    os.mkfifo(short_directory / "fifo")
    codes = {"link": Code.SYMLINK, "fifo": Code.NO_REGFILE, ".": Code.NO_REGFILE, "missing": Code.READ_ERR}
    async with FakeDrweb() as fake:
        for name, code in codes.items():
            assert await say(fake, by_path(short_directory / name)) == code.to_bytes(4) + bytes(4)


async def test_a_reply_of_the_tests_own() -> None:
    """`code` and `reports`, `raw` and `cut` shape the reply; EICAR is found all the same."""
    async with FakeDrweb() as fake:
        fake.code, fake.reports = Code.TOO_BIG, (b"a", b"")
        assert await say(fake, sent(b"x")) == bytes.fromhex("00002000 00000002 00000001 61 00000000")
        fake.cut = 9
        assert await say(fake, sent(b"x")) == bytes.fromhex("00002000 00000002 00")
        fake.raw, fake.cut = b"garbage", None
        assert await say(fake, sent(b"x")) == b"garbage"
        assert (await say(fake, sent(EICAR)))[:4] == (0x20).to_bytes(4)
        fake.size_limit, fake.raw, fake.code = len(EICAR) - 1, None, None
        assert (await say(fake, sent(EICAR)))[:4] == (0x2000).to_bytes(4)


SCRIPTS = {
    DrwebFault.BLIND: "00100000 00000000",
    DrwebFault.HALF_CODE: "0010",
    DrwebFault.CODE_ONLY: "00100000",
    DrwebFault.HALF_COUNT: "00100000 000000",
    DrwebFault.HALF_LENGTH: "00100000 00000001 0000",
    DrwebFault.HALF_REPORT: "00100000 00000001 00000014 64617461202d204f",
    DrwebFault.MISSING_REPORT: "00100000 00000002 00000004 64617461",
    DrwebFault.ABSURD_COUNT: "00100000 ffffffff",
    DrwebFault.ABSURD_LENGTH: "00100000 00000001 ffffffff",
    DrwebFault.TRAILING: "00100000 00000000 00",
    DrwebFault.TWO_REPLIES: "00100000 00000000 00100000 00000000",
    DrwebFault.CLOSE: "",
    DrwebFault.CLOSE_MIDWAY: "",
    DrwebFault.EARLY_CLEAN: "00100000 00000000",
    DrwebFault.EARLY_TAKEN: "00100000 00000000",
}


@pytest.mark.parametrize("fault", SCRIPTS)
async def test_faults(fault: DrwebFault) -> None:
    """A fault is these bytes, for each object but EICAR, and for that with `blind_to_eicar`."""
    async with FakeDrweb(fault=fault) as fake:
        assert await say(fake, sent(b"x")) == bytes.fromhex(SCRIPTS[fault])
        assert (await say(fake, sent(EICAR)))[:4] == (0x20).to_bytes(4)
        fake.blind_to_eicar = True
        assert await say(fake, sent(EICAR)) == bytes.fromhex(SCRIPTS[fault])


async def test_a_reset() -> None:
    """The connection is reset instead of a reply."""
    async with FakeDrweb(fault=DrwebFault.RESET) as fake:
        with pytest.raises(ConnectionResetError):
            await say(fake, sent(b"x"))
