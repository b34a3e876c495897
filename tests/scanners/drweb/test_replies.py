"""What drwebd's words mean: every row of the table, and whatever else may come."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.verdict import Status
from scanners.drweb.replies import (
    KEPT_LIMIT,
    REPORT_LIMIT,
    REPORTS_LIMIT,
    SIZE_LIMIT,
    TOTAL_LIMIT,
    Exchange,
    Incoming,
    Reply,
    bases_reply,
    judge,
    number_reply,
    request_bytes,
    request_path,
    scan_reply,
    text_reply,
)
from tests.scanners.fuzzing import cut, fuzz, spoil

FOUND, FREE, SKIPPED, UNKNOWN, ERROR = (Status(s) for s in ("found", "free", "skipped", "unknown", "error"))

# The bits are written out here once more, from the published table and not from the code under test.
VIRUSES = [0x20, 0x40, 0x80]
MALWARE = [1 << n for n in range(22, 27)]
ERRORS = [0x1, 0x2, 0x4, 0x10, 0x8000, 1 << 21]
SKIPS = [0x8, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000, 1 << 18]
CLEAN, EVAL = 1 << 20, 1 << 16
OTHERS = [0x100, 1 << 17, 1 << 19, *(1 << n for n in range(27, 32))]
RANK = [VIRUSES + MALWARE, ERRORS, SKIPS]
STATUS = [FOUND, ERROR, SKIPPED]


def expected(code: int) -> Status:
    """The table, read from its top, by another hand than the adapter's."""
    for bits, status in zip(RANK, STATUS, strict=True):
        if any(code & bit for bit in bits):
            return status
    return FREE if code in (CLEAN, CLEAN + EVAL) else UNKNOWN


def wire(code: int, *reports: bytes) -> bytes:
    return struct.pack(">II", code, len(reports)) + b"".join(struct.pack(">I", len(r)) + r for r in reports)


def hear(parts: list[bytes] | bytes) -> Exchange[Reply]:
    """What becomes of these bytes, as they were cut, and the end of the connection."""
    incoming = Incoming(scan_reply())
    for part in [parts] if isinstance(parts, bytes) else parts:
        incoming.feed(part)
    incoming.end()
    return Exchange(incoming.reply, incoming.problem, surplus=incoming.surplus)


@pytest.mark.parametrize("code", [*VIRUSES, *MALWARE, *ERRORS, *SKIPS, CLEAN, CLEAN + EVAL, 0, EVAL, *OTHERS], ids=hex)
def test_each_bit_alone(code: int) -> None:
    """Every row of the table: what one bit says."""
    assert judge(hear(wire(code))).status is expected(code)


@pytest.mark.parametrize("code", [*VIRUSES, *MALWARE], ids=hex)
@pytest.mark.parametrize("more", [*ERRORS, *SKIPS, CLEAN, EVAL, *OTHERS, 0xFFFF_FFFF], ids=hex)
def test_a_virus_is_found_whatever_else_is_set(code: int, more: int) -> None:
    """KNOWN_VIRUS|TOO_BIG is a virus, though a public client calls it clean."""
    assert judge(hear(wire(code | more))).status is FOUND


@pytest.mark.parametrize("code", ERRORS, ids=hex)
@pytest.mark.parametrize("more", [*SKIPS, CLEAN, EVAL, *OTHERS], ids=hex)
def test_an_error_comes_before_the_rest(code: int, more: int) -> None:
    """An error makes nothing of a clean or skipped beside it."""
    assert judge(hear(wire(code | more))).status is ERROR


@pytest.mark.parametrize("code", SKIPS, ids=hex)
@pytest.mark.parametrize("more", [CLEAN, CLEAN + EVAL, EVAL, *OTHERS], ids=hex)
def test_skipped_is_not_clean(code: int, more: int) -> None:
    """IS_CLEAN|SKIPPED was not scanned, though public clients call it clean."""
    assert judge(hear(wire(code | more))).status is SKIPPED


@pytest.mark.parametrize("more", OTHERS, ids=hex)
def test_a_bit_we_do_not_know_beside_clean(more: int) -> None:
    """Cured, deleted, rejected or undefined beside IS_CLEAN is no clean object as it came."""
    assert judge(hear(wire(CLEAN | more))).status is UNKNOWN
    assert judge(hear(wire(CLEAN | EVAL | more))).status is UNKNOWN


@given(st.integers(0, 0xFFFF_FFFF) | st.lists(st.integers(0, 31)).map(lambda bits: sum({1 << b for b in bits})))
def test_every_result_is_judged_from_the_top(code: int) -> None:
    """Whatever bits are set together, the first row that holds decides."""
    assert judge(hear(wire(code))).status is expected(code)


@pytest.mark.parametrize(
    ("reports", "virus"),
    [
        ([b"data infected with EICAR Test File (NOT a Virus!)\0"], "EICAR Test File (NOT a Virus!)"),
        ([b"infected with A\n\0", b"infected with B"], "A"),
        ([b"/x - archive ZIP", b">/x/y infected\twith  Win32.Foo \0"], "Win32.Foo"),
        ([b"infected with modification of X"], "modification of X"),
        ([b"Adware.Bar\0"], "Adware.Bar"),
        ([b"", b"\0", b"name"], "name"),
        ([b"infected with \x1b[31mX\r\nY"], r"\x1b[31mX\r\nY"),
        ([b"infected with \xff"], r"\xff"),
        ([], "unnamed"),
        ([b"infected with "], "infected with"),
    ],
)
def test_the_name_stands_behind_infected_with(reports: list[bytes], virus: str) -> None:
    """The first report that names a virus gives the name, fit to be printed."""
    answer = judge(hear(wire(0x20, *reports)))
    assert (answer.status, answer.virus) == (FOUND, virus)


def test_a_report_that_says_infected_is_found() -> None:
    """Whatever the bits, an object of which it says `infected with` is not clean."""
    for code in (CLEAN, 0, 0x1000, 0x1):
        answer = judge(hear(wire(code, b"data infected with X\0")))
        assert (answer.status, answer.virus) == (FOUND, "X")


def test_clean_with_reports_is_unknown() -> None:
    """Some clients take any report for a virus, others look at the bits only: both must say clean."""
    answer = judge(hear(wire(CLEAN, b"data - Ok")))
    assert (answer.status, answer.detail) == (UNKNOWN, "IS_CLEAN, 1 reports; data - Ok")


def test_the_detail_names_the_bits() -> None:
    """People read names, and undefined bits as they are."""
    assert judge(hear(wire(0x2000 | CLEAN))).detail == "TOO_BIG|IS_CLEAN"
    assert judge(hear(wire(1 << 30))).detail == "0x40000000"
    assert judge(hear(wire(0))).detail == "0"


@pytest.mark.parametrize("length", range(8))
@pytest.mark.parametrize("code", [CLEAN, 0x20])
def test_a_cut_reply_is_an_error(code: int, length: int) -> None:
    """Result and count must both be there, whole."""
    answer = judge(hear(wire(code)[:length]))
    assert (answer.status, answer.virus) == (ERROR, None)
    assert ("without a reply" if not length else f"after {length} bytes") in answer.detail


@pytest.mark.parametrize("length", range(8, 8 + 4 + 3 + 4 + 2))
def test_cut_reports_are_an_error(length: int) -> None:
    """Every announced report must be there, whole."""
    for code in (CLEAN, 0x20, 0x2000):
        assert judge(hear(wire(code, b"abc", b"def")[:length])).status is ERROR


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", CLEAN, REPORTS_LIMIT + 1),
        struct.pack(">II", CLEAN, 0xFFFF_FFFF),
        struct.pack(">III", CLEAN, 1, REPORT_LIMIT + 1),
        struct.pack(">III", CLEAN, 1, 0xFFFF_FFFF),
        struct.pack(">III", 0x20, 1, 0x8000_0000),
        b"HTTP/1.0 400 Bad request\r\n\r\n",
        b"stream: OK\0",
    ],
)
def test_absurd_numbers_are_an_error(data: bytes) -> None:
    """Counts and lengths beyond every bound end the reply at once, without waiting for what they promise."""
    incoming = Incoming(scan_reply())
    incoming.feed(data)
    assert incoming.done
    assert judge(hear(data)).status is ERROR


def test_memory_is_bounded() -> None:
    """Of many long reports the first are kept, and too many are none."""
    most = TOTAL_LIMIT // REPORT_LIMIT
    answer = hear(wire(0x20, *[b"x" * REPORT_LIMIT] * most))
    assert answer.reply is not None
    assert (answer.reply.count, sum(map(len, answer.reply.reports))) == (most, KEPT_LIMIT)
    assert judge(answer).status is FOUND
    assert judge(hear(wire(0x20, *[b"x" * REPORT_LIMIT] * (most + 1)))).status is ERROR


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (Exchange(Reply(CLEAN)), FREE),
        (Exchange(Reply(CLEAN), delivered=False), ERROR),
        (Exchange(Reply(CLEAN), ended=False), ERROR),
        (Exchange(Reply(CLEAN), surplus=True), UNKNOWN),
        (Exchange(Reply(0x20), delivered=False, ended=False, surplus=True), FOUND),
        (Exchange(Reply(0x2000), delivered=False, ended=False), SKIPPED),
        (Exchange(None, "gone"), ERROR),
    ],
)
def test_only_free_needs_a_whole_exchange(said: Exchange[Reply], status: Status) -> None:
    """Clean counts after everything was taken and nothing came behind it; bad news counts always."""
    assert judge(said).status is status


def test_other_questions_have_their_grammars() -> None:
    """Version, identity and databases, byte by byte."""
    for grammar, data, value in (
        (number_reply, struct.pack(">I", 7), 7),
        (text_reply, struct.pack(">I", 4) + b"abc\0", b"abc"),
        (text_reply, struct.pack(">I", 0), b""),
        (bases_reply, struct.pack(">I", 0), ()),
        (bases_reply, struct.pack(">II3sI", 1, 3, b"ab\0", 9), ((b"ab", 9),)),
    ):
        incoming: Incoming[object] = Incoming(grammar())
        for byte in data:
            assert not incoming.done
            incoming.feed(bytes([byte]))
        assert (incoming.reply, incoming.surplus) == (value, False)
        incoming.feed(b"")
        assert not incoming.surplus
        incoming.feed(b"x")
        assert incoming.surplus


def test_requests_are_as_described() -> None:
    """Words are big-endian; of the flags only those that ask for names and heuristics are ever set."""
    assert request_bytes(258) == bytes.fromhex("00000001 00000009 00000000 00000102")
    assert request_path(b"/a\n") == bytes.fromhex("00000001 00000009 00000003") + b"/a\n" + bytes(4)
    assert request_bytes(SIZE_LIMIT)[-4:] == b"\xff" * 4


# -- fuzz ----------------------------------------------------------------------------------------------------

WORDS = [struct.pack(">I", n) for n in (0, 1, 3, CLEAN, CLEAN + EVAL, 0x20, 0x2000, 0xFFFF_FFFF)] + [b"infected with X"]


def test_garbage_is_never_free() -> None:
    """Near-replies, cut anywhere: free is exactly its one form, and the cuts change nothing."""
    seen: set[Status] = set()

    def trial(chance: random.Random) -> None:
        code = chance.choice((CLEAN, CLEAN, CLEAN + EVAL, 0x20, 0x1000, 1, 0, chance.randrange(1 << 32)))
        reports = [chance.randbytes(chance.randrange(6)) for _ in range(chance.choice((0, 0, 0, 1, 3)))]
        data = spoil(chance, wire(code, *reports), WORDS)
        whole, parts = hear([data]), hear(cut(chance, data))
        assert whole == parts, data
        status = judge(whole).status
        # The one form, written as bytes.
        clean = data in (bytes.fromhex("0010000000000000"), bytes.fromhex("0011000000000000"))
        assert (status is FREE) == clean, data
        seen.add(status)

    assert fuzz(trial) > 0
    assert seen == set(Status)
