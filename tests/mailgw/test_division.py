"""How long the reading of a mail may take, and what is left when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from base64 import b64encode
from typing import Any

import pytest

from inspection.spool import SpoolFull, SpoolRoom
from mailgw import division
from mailgw.division import divide
from mailgw.mime.rules import Rule
from scanners.body import MemoryBody
from scanners.specimens import EICAR
from tests.mailgw.corpus.structures import TOP
from tests.mailgw.mime.views import reading

LINE = b64encode(bytes(range(57))) + b"\r\n"


def _stretches(count: int) -> bytes:
    """Lines of base64, all different, with others between them."""
    return b"".join(b64encode(b"%057d" % number) + b"\r\nand\r\n" for number in range(count))


class Slow:
    """A mail each of whose pieces takes until `go` is set."""

    size = 1 << 30

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        self.reads = 0

    @property
    def sha256(self) -> str:
        """Of nothing."""
        return ""

    def read(self, offset: int, size: int) -> bytes:
        """Lines without an end."""
        self.reads += 1
        if self.reads > 3:
            self.asked.set()
            self.go.wait(10)
        return b"a: b\r\n\r\n" + b"begin 644 a\r\n" * (size // 16)

    def descriptor(self) -> int:
        """None."""
        raise OSError


async def test_a_mail_that_takes_too_long_is_told() -> None:
    """TimeoutError, and the room is as it was."""
    room, mail = SpoolRoom(), Slow()
    asyncio.get_running_loop().call_later(0.02, mail.go.set)  # behind the deadline, however far the reading has come
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        await divide(mail, room, 0.01)
    assert room.used == 0


async def test_a_reading_that_nobody_waits_for_ends() -> None:
    """A cancellation ends the thread within a piece, and the mail is not touched after."""
    room, mail = SpoolRoom(), Slow()
    dividing = asyncio.get_running_loop().create_task(divide(mail, room, 60))
    assert await asyncio.to_thread(mail.asked.wait, 10)
    dividing.cancel()
    asyncio.get_running_loop().call_later(0.01, mail.go.set)
    with pytest.raises(asyncio.CancelledError):
        await dividing
    reads = mail.reads
    assert room.used == 0
    assert reads < 10


@pytest.mark.parametrize(
    "bomb",
    [
        TOP + b"\r\n" + b"begin 644 a\r\n" + (b"M" + b"#" * 60 + b"\r\n") * 400_000,
        TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=3D=\r\n= \t" * 3_000_000,
        TOP + b"\r\n" + (LINE + b"\r\n") * 300_000,
    ],
    ids=["uuencode", "quoted-printable", "stretches"],
)
async def test_a_costly_mail_ends_at_its_deadline(bomb: bytes) -> None:
    """Tens of megabytes that would take many seconds: told shortly behind the deadline, or read by then."""
    room = SpoolRoom()
    began = time.monotonic()
    try:
        (await divide(MemoryBody(bomb), room, 0.3)).close()
    except TimeoutError:
        assert time.monotonic() - began >= 0.3
    assert time.monotonic() - began < 2
    assert room.used == 0


def test_stretches_beyond_number_are_told() -> None:
    """The 201st stretch of base64 in a text makes it `unknown`; 200 are looked into."""
    for count in (200, 201):
        with reading(TOP + b"\r\n" + _stretches(count)) as mail:
            assert {found.rule for found in mail.ambiguities} == ({Rule.LIMIT} if count > 200 else set())
            assert len([view for view in mail.leaves[0].views if view.name.startswith("stretch")]) == 200


def _attach(count: int, size: int) -> bytes:
    part = b"--x\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    head = TOP + b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'
    return head + b"".join(part + b"%d" % n + b"\xff" * size + b"\r\n" for n in range(count)) + b"--x--\r\n"


def test_descriptors_are_bounded() -> None:
    """Of one mail no more than 256 documents take a file; one more makes the mail `unknown`."""
    for count in (256, 257):
        body, room = MemoryBody(_attach(count, 20_000)), SpoolRoom(memory=10_000)
        with reading(body.read(0, body.size), room=room) as mail:
            assert [found.rule for found in mail.ambiguities] == [Rule.LIMIT] * (count - 256)
            assert len(mail.leaves) == 256


def test_memory_is_bounded() -> None:
    """Of many documents that fit into memory each, no more than about 16 MiB in all lies there."""
    with reading(_attach(60, 500_000)) as mail:
        assert not mail.ambiguous
        files = sum("file" in repr(view.body) for view in mail.views)
        assert 20 <= files <= 30


def test_views_are_bounded() -> None:
    """Many parts with many views each end in `unknown`."""
    part = b"--x\r\n\r\n" + _stretches(50) + b"\r\n"
    head = TOP + b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'
    with reading(head + part * 150 + b"--x--\r\n") as mail:
        assert [found.rule for found in mail.ambiguities] == [Rule.LIMIT]
        assert len(list(mail.views)) <= 5000


def test_many_attachments_are_ordinary() -> None:
    """A hundred photographs of 100 KB, or one line of 10 MB, are neither too much nor ambiguous."""
    photo = b"\r\n".join(re.findall(rb".{1,76}", b64encode(bytes(75_000)))) + b"\r\n"
    part = b"--x\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n" + photo
    head = TOP + b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n'
    for body in (part * 100, b"--x\r\n\r\n" + b"y" * (10 << 20) + b"\r\n"):
        with reading(head + body + b"--x--\r\n") as mail:
            assert mail.ambiguities == ()


def test_a_word_between_two_stretches_belongs_to_neither() -> None:
    """What follows a short line that could be base64 is a stretch of its own, read from its first letter on."""
    text = b64encode(b"1" * 57) + b"\r\nand\r\n" + b64encode(EICAR) + b"\r\n"
    with reading(TOP + b"\r\n" + text) as mail:
        assert any(view.body.read(0, 68) == EICAR for view in mail.views)


def test_stretches_behind_a_line_of_base64_are_seen() -> None:
    """A text whose first line is base64 is not only that."""
    text = b64encode(b"1" * 57) + b"\r\nthree words more:\r\n" + b64encode(EICAR) + b"\r\n"
    with reading(TOP + b"\r\n" + text) as mail:
        assert any(view.body.read(0, 68) == EICAR for view in mail.views)


PLAIN_SIZE = 16 * 1024
COSTLY = {
    "parts": (TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--b\r\n\r\nx\r\n"),
    "lines like boundaries": (TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--b \r\n"),
    "lines": (TOP + b"\r\n", b"\n"),
    "carriage returns": (TOP + b"\r\n", b"\r"),
    "fields": (TOP, b"a: b\r\n"),
}
BOUNDED = {
    "parts": (TOP + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b \r\n" * 14, b"QUFB"),
    "parameters": (TOP + b"Content-Type: text/plain", b"; a*0=b"),
    "semicolons": (TOP + b"Content-Type: text/plain", b";"),
    "blanks": (TOP + b"Content-Type:", b" "),
    "escapes": (TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"= "),
    "paddings": (TOP + b"Content-Transfer-Encoding: base64\r\n\r\n", b"QQ=="),
    "stretches": (TOP + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", LINE + LINE + b"x\r\n"),
}


def _fill(begin: bytes, unit: bytes, size: int = PLAIN_SIZE) -> MemoryBody:
    return MemoryBody(begin + unit * ((size - len(begin)) // len(unit)))


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that mails are read in."""
    seen: list[str] = []
    read = division.read_mail

    def watch(*asked: Any, **named: Any) -> Any:
        seen.append(threading.current_thread().name)
        return read(*asked, **named)

    monkeypatch.setattr(division, "read_mail", watch)
    return seen


@pytest.mark.parametrize("name", COSTLY)
async def test_what_may_be_costly_is_read_in_a_thread(name: str, threads: list[str]) -> None:
    """However small it is."""
    (await divide(_fill(*COSTLY[name]), SpoolRoom(), 10)).close()
    assert threads[0].startswith("mail")


async def test_what_is_large_is_read_in_a_thread(threads: list[str]) -> None:
    """However plain it is; one octet less, and the loop reads it."""
    for size in (PLAIN_SIZE + 1, PLAIN_SIZE):
        (await divide(_fill(TOP + b"\r\n", b"a", size), SpoolRoom(), 10)).close()
    assert [name.startswith("mail") for name in threads] == [True, False]


@pytest.mark.parametrize("name", BOUNDED)
async def test_what_the_loop_reads_is_soon_read(name: str, threads: list[str]) -> None:
    """The costliest mails of those that are read without a thread take no longer than the loop can spare."""
    took = []
    for _ in range(3):
        began = time.process_time()
        (await divide(_fill(*BOUNDED[name]), SpoolRoom(), 10)).close()
        took.append(time.process_time() - began)
    assert threads == [threading.current_thread().name] * 3
    assert min(took) < 0.1


async def test_a_reading_without_a_thread_gives_back_its_room() -> None:
    """What the loop read is closed with the mail; where there is no room for it, nothing stays."""
    room = SpoolRoom(max_total=100)
    with pytest.raises(SpoolFull):
        await divide(_fill(TOP + b"\r\n", b"a", 1000), room, 10)
    assert room.used == 0
