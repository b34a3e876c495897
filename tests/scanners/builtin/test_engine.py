"""The built-in engine as a whole: what it finds, what it does not look at, and what it costs."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.verdict import Coverage, Status
from scanners.body import MemoryBody, SparseBody
from scanners.builtin.budget import MAX_DEPTH, Budget
from scanners.builtin.engine import SMALL, Builtin, read_hashes
from scanners.builtin.stream import CHUNK, Signatures
from scanners.builtin.walk import Walk
from scanners.engine import Answer
from scanners.specimens import EICAR, GTUBE
from tests.scanners.packed import PACKINGS, encrypted_zip, tarred, zipped

MIB = 1 << 20
NOISE = random.Random(1).randbytes(300_000)  # noqa: S311  (any bytes, but the same ones every time)


@pytest.fixture
async def builtin() -> AsyncIterator[Builtin]:
    """The engine without a list of hashes."""
    engine = Builtin()
    yield engine
    await engine.close()


def scan(data: bytes, hashes: dict[str, str] | None = None) -> Answer:
    """A scan in our own process."""
    return Walk(Signatures(hashes or {}), Budget()).scan(MemoryBody(data))


class TestFinds:
    """What is found."""

    @pytest.mark.parametrize(("string", "name"), [(EICAR, "Eicar-Test-Signature"), (GTUBE, "Gtube-Test-Signature")])
    async def test_the_test_strings(self, builtin: Builtin, string: bytes, name: str) -> None:
        """EICAR and GTUBE are found, anywhere."""
        for data in (string, b"x" + string, NOISE + string, NOISE + string + NOISE):
            answer = await builtin.ask(MemoryBody(data))
            assert (answer.status, answer.virus) == (Status.FOUND, name)

    @pytest.mark.parametrize("edge", [CHUNK, 2 * CHUNK, SMALL, MIB])
    async def test_over_the_borders_of_chunks(self, builtin: Builtin, edge: int) -> None:
        """A string that is split between two chunks is found wherever the border falls."""
        for start in range(edge - len(EICAR), edge + 1, 3):
            body = SparseBody(edge + 1000, [(start, EICAR)])
            assert (await builtin.ask(body)).status is Status.FOUND

    @pytest.mark.parametrize("outer", PACKINGS)
    @pytest.mark.parametrize("inner", PACKINGS)
    async def test_in_archives_in_archives(self, builtin: Builtin, inner: str, outer: str) -> None:
        """Every packing inside every other is opened."""
        assert (await builtin.ask(MemoryBody(PACKINGS[outer](PACKINGS[inner](EICAR))))).status is Status.FOUND

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_in_rarer_kinds_of_zip(self, method: int) -> None:
        """bzip2 and LZMA members are opened."""
        assert scan(zipped(EICAR, method)).status is Status.FOUND

    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_in_every_kind_of_tar(self, form: int) -> None:
        """Long names, in GNU's way and in pax's, do not hide a member."""
        name = "n" * 90 if form == tarfile.USTAR_FORMAT else "n" * 300
        assert scan(tarred(EICAR, form=form, name=name)).status is Status.FOUND

    @pytest.mark.parametrize("make", [gzip.compress, bz2.compress, lzma.compress])
    def test_in_the_second_of_two_streams(self, make: Callable[[bytes], bytes]) -> None:
        """Compressed streams may follow each other."""
        assert scan(make(b"clean") + make(EICAR)).status is Status.FOUND

    def test_in_a_zip_behind_noise(self) -> None:
        """A self-extracting archive, or a picture with a zip file behind it, is opened."""
        assert scan(NOISE + zipped(EICAR)).status is Status.FOUND

    def test_beside_what_cannot_be_seen(self) -> None:
        """Something encrypted or damaged beside it does not hide a virus."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as members:
            members.writestr("a.zip", encrypted_zip(b"secret"))
            members.writestr("b.gz", gzip.compress(NOISE)[:-20])
            members.writestr("c.txt", zipped(EICAR))
        assert scan(archive.getvalue()).status is Status.FOUND

    def test_listed_hashes_of_every_layer(self) -> None:
        """A listed digest is found as the object itself and as a member."""
        hashes = {MemoryBody(b"plan").sha256: "Plan", MemoryBody(zipped(b"other")).sha256: "Zip"}
        assert scan(b"plan", hashes).virus == "Plan"
        assert scan(tarred(b"plan", "w:gz"), hashes).virus == "Plan"
        assert scan(zipped(b"other"), hashes).virus == "Zip"
        assert scan(b"plan!", hashes).status is Status.FREE


class TestFree:
    """What was looked at in whole."""

    @pytest.mark.parametrize("packing", PACKINGS)
    async def test_clean_archives(self, builtin: Builtin, packing: str) -> None:
        """A clean archive in a clean archive is free."""
        data = PACKINGS[packing](PACKINGS[packing](NOISE))
        assert (await builtin.ask(MemoryBody(data))).status is Status.FREE

    @pytest.mark.parametrize(
        "data",
        [b"", b"x", b"PK", b"\x1f\x8b", b"BZh9", NOISE, b"PK\x05\x06 in a program" + NOISE[:90_000], b"\0" * 5000],
        ids=["empty", "one", "PK", "1f8b", "BZh", "noise", "PK56", "zeros"],
    )  # fmt: skip
    async def test_what_only_looks_like_an_archive(self, builtin: Builtin, data: bytes) -> None:
        """Beginnings of magic numbers do not make an archive."""
        assert (await builtin.ask(MemoryBody(data))).status is Status.FREE

    @pytest.mark.parametrize(
        "behind", [b"more", NOISE[:60_000], NOISE[:66_000], bytes(3 << 20)], ids=["little", "much", "more", "most"]
    )
    async def test_a_zip_amid_others(self, builtin: Builtin, behind: bytes) -> None:
        """A zip in a form or a disk image is opened where it lies, however many there are, and is no fault."""
        clean, infected = (b"head" + zipped(b"x") + b"between" + zipped(data) + behind for data in (NOISE, EICAR))
        assert (await builtin.ask(MemoryBody(clean))).status is Status.FREE
        assert (await builtin.ask(MemoryBody(infected))).status is Status.FOUND

    async def test_the_name_of_a_zips_end_in_a_program(self, builtin: Builtin) -> None:
        """A program that handles zip files holds the four bytes too, once or often."""
        for count in (1, 500):
            data = MemoryBody(b"if word == " + b"PK\x05\x06" * count + bytes(60))
            assert (await builtin.ask(data)).status is Status.FREE

    async def test_empty_archives(self, builtin: Builtin) -> None:
        """An archive without members holds nothing."""
        empty_zip, empty_tar = io.BytesIO(), io.BytesIO()
        zipfile.ZipFile(empty_zip, "w").close()
        tarfile.open(fileobj=empty_tar, mode="w").close()
        for data in (empty_zip.getvalue(), empty_tar.getvalue(), gzip.compress(b""), bz2.compress(b"")):
            assert (await builtin.ask(MemoryBody(data))).status is Status.FREE

    def test_a_zip_written_as_a_stream(self) -> None:
        """Members whose sizes stand behind them are read by the directory."""

        class Pipe(io.RawIOBase):
            def __init__(self) -> None:
                self.data = b""

            def writable(self) -> bool:
                return True

            def write(self, part: object) -> int:
                assert isinstance(part, bytes | bytearray | memoryview)
                self.data += bytes(part)
                return len(bytes(part))

        pipe = Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]  # duck-typed
            archive.writestr("a", b"clean" * 1000)
        assert scan(pipe.data).status is Status.FREE


def deep(times: int) -> bytes:
    data = b"clean"
    for _ in range(times):
        data = gzip.compress(data)
    return data


def many_members() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(10_001):
            archive.writestr(str(number), b"")
    return out.getvalue()


def patched(data: bytes, at: int, byte: int) -> bytes:
    raw = bytearray(data)
    raw[at] = byte
    return bytes(raw)


NOT_SEEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted": (lambda: encrypted_zip(b"secret"), "encrypted"),
    "too deep": (lambda: deep(MAX_DEPTH + 1), f"more than {MAX_DEPTH} times"),
    "too many members": (many_members, "too many members"),
    "gzip bomb": (lambda: gzip.compress(bytes(300 * MIB), 9), "unpacks to"),
    "bzip2 bomb": (lambda: bz2.compress(bytes(300 * MIB)), "unpacks to"),
    "xz bomb": (lambda: lzma.compress(bytes(300 * MIB), preset=0), "unpacks to"),
    "zip bomb": (lambda: zipped(bytes(300 * MIB)), "unpacks to"),
    "zip bomb by bzip2": (lambda: zipped(bytes(300 * MIB), zipfile.ZIP_BZIP2), "unpacks to"),
    "large dictionary": (
        lambda: lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 * MIB}]),
        "too much memory",
    ),
    "unknown method": (lambda: patch_method(zipped(b"x" * 100), 9), "method 9"),
    "zip64": (lambda: zipped(b"x").replace(b"\xff\xff\xff\xff", b"")[:-12] + b"\xff" * 10 + b"\0\0", "zip64"),
    "volumes": (lambda: patched(zipped(b"x"), -18, 1), "volumes"),
}


def patch_method(data: bytes, method: int) -> bytes:
    raw = bytearray(data)
    raw[raw.rindex(b"PK\x03\x04") + 8] = method
    raw[raw.rindex(b"PK\x01\x02") + 10] = method
    return bytes(raw)


DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "gzip cut": (lambda: gzip.compress(NOISE)[:-20], "cut short"),
    "gzip checksum": (lambda: patched(gzip.compress(NOISE), -6, 7), "incorrect data check"),
    "gzip trailing bytes": (lambda: gzip.compress(b"x") + b"more", "behind the end"),
    "bzip2 cut": (lambda: bz2.compress(NOISE)[:-20], "cut short"),
    "xz cut": (lambda: lzma.compress(NOISE)[:-20], "cut short"),
    "xz damaged": (lambda: patched(lzma.compress(NOISE), 5000, 7), "compressed data"),
    "zip checksum": (lambda: zipped(b"abc", 0).replace(b"abc", b"abd"), "not what the directory says"),
    "zip cut": (lambda: zipped(NOISE)[:-30], "without its directory"),
    "zip hidden member": (lambda: zipped(b"x") + zipped(b"y"), "does not list"),
    "zip trailing bytes": (lambda: zipped(b"x") + b"more", "without its directory"),
    "zip directory": (lambda: zipped(b"x").replace(b"PK\x01\x02", b"PK\x01\x03"), "damaged directory"),
    "zip members": (
        lambda: zipped(b"x").replace(b"PK\x03\x04", b"PK\x03\x05", 1)[:-22] + zipped(b"x")[-22:],
        "not where",
    ),
    "tar cut": (lambda: tarred(NOISE)[:-20_000], "cut short"),
    "tar header": (lambda: patched(tarred(b"x" * 600), 1024 + 10, 7), "header is damaged"),
}


class TestNotSeen:
    """What was not looked at, and says so."""

    @pytest.mark.parametrize("case", NOT_SEEN)
    async def test_skipped(self, builtin: Builtin, case: str) -> None:
        """What costs too much or cannot be opened is skipped, within five seconds."""
        make, detail = NOT_SEEN[case]
        data = make()
        began = time.monotonic()
        answer = await builtin.ask(MemoryBody(data))
        assert (answer.status, answer.virus) == (Status.SKIPPED, None)
        assert detail in answer.detail
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize("case", DAMAGED)
    async def test_unknown(self, builtin: Builtin, case: str) -> None:
        """What is damaged could be read in another way by others, and is unknown."""
        make, detail = DAMAGED[case]
        answer = await builtin.ask(MemoryBody(make()))
        assert (answer.status, answer.virus) == (Status.UNKNOWN, None)
        assert detail in answer.detail

    def test_time_is_bounded(self) -> None:
        """A walk that takes too long ends as skipped."""
        answer = Walk(Signatures(), Budget(seconds=0)).scan(MemoryBody(NOISE))
        assert (answer.status, answer.detail) == (Status.SKIPPED, "not unpacked within 0 s")

    async def test_what_cannot_be_read_is_an_error(self, builtin: Builtin) -> None:
        """Trouble with the object itself is an error, small or large."""

        class Broken(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                raise OSError(5, "Input/output error")

            descriptor = read  # type: ignore[assignment]  # fails all the same

        assert (await builtin.ask(Broken(b"x"))).status is Status.ERROR

    def test_a_body_that_ends_early_is_an_error(self) -> None:
        """Fewer bytes than announced are never free."""

        class Short(MemoryBody):
            def read(self, offset: int, size: int) -> bytes:
                return super().read(offset, size) if offset == 0 else b""

        with pytest.raises(OSError, match="65536 bytes could be read of 300000"):
            Walk(Signatures(), Budget()).scan(Short(NOISE))


class TestCost:
    """What a scan costs everybody else."""

    @pytest.mark.parametrize(
        "make",
        [lambda: SparseBody(100 * MIB, []), lambda: MemoryBody(zipped(NOISE * 60)), lambda: MemoryBody(deep(3))],
        ids=["100 MiB", "zip", "nested"],
    )  # fmt: skip
    async def test_the_event_loop_is_not_kept(self, builtin: Builtin, make: Callable[[], SparseBody]) -> None:
        """While a large object is scanned the loop turns, with no stall near the 20 ms of the bar."""
        body, longest, last = make(), 0.0, time.perf_counter()
        scanning = asyncio.get_running_loop().create_task(builtin.ask(body))
        while not scanning.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        assert scanning.result().status is Status.FREE
        # The bar is 20 ms on a quiet machine; a busy one may take the processor away for longer.
        assert longest < 0.2

    def test_memory_does_not_grow_with_the_object(self) -> None:
        """18 MB out of a gzip file cost a few chunks."""
        body = MemoryBody(gzip.compress(NOISE * 60, 1))
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            assert Walk(Signatures(), Budget()).scan(body).status is Status.FREE
            assert tracemalloc.get_traced_memory()[1] - before < 2 * MIB
        finally:
            tracemalloc.stop()

    async def test_a_cancelled_scan_stops_and_gives_its_descriptor_back(self) -> None:
        """The worker gives up by itself, and nothing is left open."""
        engine = Builtin()
        await engine.ask(MemoryBody(NOISE))
        before = len(os.listdir("/proc/self/fd"))
        body = SparseBody(50 * MIB, [])
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await engine.ask(body)
        await engine.ask(MemoryBody(NOISE))
        await engine.close()
        deadline = time.monotonic() + 5
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
            time.sleep(0.01)  # noqa: ASYNC251  (the loop has nothing to do with it any more)
        assert len(os.listdir("/proc/self/fd")) <= before

    async def test_after_close_nothing_is_taken(self) -> None:
        """A closed engine refuses large objects and leaks no descriptor."""
        engine = Builtin()
        await engine.ask(MemoryBody(NOISE))
        await engine.close()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(RuntimeError):
            await engine.ask(MemoryBody(NOISE))
        assert len(os.listdir("/proc/self/fd")) == before


class TestFuzz:
    """Whatever the bytes are."""

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(sorted(PACKINGS)), st.data())
    def test_a_damaged_archive_never_raises(self, packing: str, data: st.DataObject) -> None:
        """Flipped bytes in an archive end in one of the statuses, never in an exception."""
        raw = bytearray(PACKINGS[packing](zlib.compress(NOISE[:500])))
        for _ in range(data.draw(st.integers(1, 5))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        assert scan(bytes(raw)).status in Status

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from(sorted(PACKINGS)), st.data())
    def test_an_infected_archive_with_one_byte_flipped_is_not_free_if_others_find_it(
        self, packing: str, data: st.DataObject
    ) -> None:
        """Where the standard library still gets EICAR out of the archive, we do not say free."""
        raw = bytearray(PACKINGS[packing](EICAR))
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        if EICAR in unpack(packing, bytes(raw)):
            assert scan(bytes(raw)).status is not Status.FREE


def unpack(packing: str, data: bytes) -> bytes:
    """What the standard library makes of it; b"" where it refuses."""
    try:
        if packing.startswith("zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return b"".join(archive.read(name) for name in archive.namelist())
        if packing.startswith("tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                return b"".join(f.read() for m in archive if (f := archive.extractfile(m)) is not None)
        return {"gzip": gzip, "bzip2": bz2, "xz": lzma}[packing].decompress(data)  # type: ignore[attr-defined]
    except Exception:
        return b""


async def test_it_names_itself(builtin: Builtin) -> None:
    """Coverage and version tell what a free of it is worth."""
    assert (builtin.protocol, builtin.coverage) == ("builtin", Coverage.TEST_SIGNATURES)
    assert await builtin.version() == "builtin 1/0"
    assert str(builtin) == "the built-in engine"


def test_hashes_are_read_as_sha256sum_writes_them(tmp_path: Path) -> None:
    """Digests with and without name, in any case, with comments and blank lines."""
    path = tmp_path / "hashes"
    path.write_text(f"# list\n\n{'a' * 64}\n{'B' * 64} *some name # here\n{'c' * 64}  x\n")
    assert read_hashes(path) == {
        "a" * 64: f"Listed-SHA256.{'a' * 16}",
        "b" * 64: "some name",
        "c" * 64: "x",
    }


@pytest.mark.parametrize("line", ["abc", "g" * 64, "a" * 65, f"{'a' * 64}x"])
def test_a_line_that_is_no_digest_is_named(tmp_path: Path, line: str) -> None:
    """What is no digest is refused with its line."""
    path = tmp_path / "hashes"
    path.write_text(f"{'a' * 64}\n{line}\n")
    with pytest.raises(ValueError, match="hashes:2: not a SHA-256"):
        read_hashes(path)
