"""The files of a form as the engines get them."""

from __future__ import annotations

import asyncio
import base64

import pytest

from addons.body.form_files import unpack_form
from addons.body.form_parts import FormError
from inspection.spool import SpoolFull, SpoolRoom
from scanners.body import MemoryBody

KIND = "multipart/form-data; boundary=b"


async def files(*parts: bytes, room: SpoolRoom | None = None, kind: str = KIND) -> list[bytes]:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    return [file.read(0, file.size) async for file in unpack_form(MemoryBody(body), kind, room or SpoolRoom())]


async def test_each_file_is_given_as_it_is() -> None:
    """Short text was seen with the whole, everything else comes out byte for byte, and every spool is given back."""
    room, packed, long = SpoolRoom(), b"PK\x03\x04\r\n\0", b"text " * 500
    assert await files(b"\r\nvalue", b"\r\n" + packed, b"\r\n" + long, room=room) == [packed, long]
    assert room.used == 0


async def test_base64_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers undo it, so that is what is checked, however it falls into pieces."""
    part = b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(b"packed" * 99)
    for size in (7, 100, 1 << 20):
        monkeypatch.setattr("addons.body.form_files._PIECE", size)
        assert await files(part) == [b"packed" * 99]


@pytest.mark.parametrize(
    "part", [b"base64\r\n\r\nYWJ!", b"base64\r\n\r\nYWJ", b"quoted-printable\r\n\r\na=20", b"x\r\n\r\n"]
)
async def test_a_coding_that_cannot_be_undone_is_refused(part: bytes) -> None:
    """Broken base64 and everything else that a server might undo."""
    with pytest.raises(FormError):
        await files(b"Content-Transfer-Encoding: " + part)


async def test_another_body_has_no_files() -> None:
    """What says that it is no multipart is left alone."""
    assert await files(b"\r\n\0", kind="text/plain") == []


@pytest.mark.parametrize("parts", [[b"\r\n" + bytes(16 << 20)], [b"\r\nshort"] * 900], ids=["large", "many"])
async def test_others_get_their_turn(parts: list[bytes]) -> None:
    """While a form is divided the loop goes on, after each megabyte and each part."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.get_running_loop().create_task(count())
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    first = await anext(unpack_form(MemoryBody(body), KIND, SpoolRoom(memory=32 << 20)), None)
    counting.cancel()
    copied = first.size // (1 << 20) if first is not None else 0  # a turn for each megabyte of the copy, too
    assert turns - copied >= min(len(parts) * 16, 900)


async def test_no_room_is_told() -> None:
    """The bounds of the spool hold for the copies too."""
    with pytest.raises(SpoolFull):
        await files(b"\r\n" + bytes(5000), room=SpoolRoom(max_total=1000))
