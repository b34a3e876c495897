"""What is built to be costly is told in time, within bounds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mailgw.mime.rules import Rule
from tests.mailgw.corpus.structures import TOP
from tests.mailgw.mime.views import reading

_MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
_WITHIN = 5.0
BOMBS = {
    "1,000 nested multiparts": TOP
    + b"".join(b'Content-Type: multipart/mixed; boundary="<%d>"\r\n\r\n--<%d>\r\n' % (n, n) for n in range(1000)),
    "64 KB of nested messages": TOP + b"Content-Type: message/rfc822\r\n\r\n" * 2000,
    "20,000 parts": TOP + _MIXED + b"--b\r\n\r\nx\r\n" * 20_000 + b"--b--\r\n",
    "10 MB of header": TOP + b"X: a\r\n" * (10 * 1024 * 1024 // 6) + b"\r\nbody",
    "one field of 10 MB": TOP + b"X: " + b"a" * (10 * 1024 * 1024) + b"\r\n\r\nbody",
    "a boundary of 1 MB": TOP + b"Content-Type: multipart/mixed; boundary=" + b"b" * (1 << 20) + b"\r\n\r\n--x\r\n",
    "a boundary of 100 KB": TOP + b'Content-Type: multipart/mixed; boundary="' + b"b" * 100_000 + b'"\r\n\r\n--x\r\n',
    "parameters": TOP + b"Content-Type: multipart/mixed" + b"; a=b" * 100_000 + b"\r\n\r\n--x\r\n",
    "hyphens": TOP + _MIXED + b"--\r\n" * 500_000,
    "blocks in a text": TOP + b"\r\n" + b"begin 644 a\r\n" * 50_000,
    "equals signs": TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * 500_000,
    "paddings": TOP + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QQ==" * 200_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb(name: str) -> None:
    """It is ambiguous, and that is said within 5 s."""
    began = time.monotonic()
    with reading(BOMBS[name]) as mail:
        assert mail.ambiguous
    assert time.monotonic() - began < _WITHIN


def test_limit() -> None:
    """A limit that is reached is told, and what was read before is there."""
    with reading(BOMBS["20,000 parts"]) as mail:
        assert Rule.LIMIT in {found.rule for found in mail.ambiguities}
        assert 900 < len(mail.leaves) <= 1000


def test_hyphens_first() -> None:
    """A part whose header begins with two hyphens is read to its end."""
    with reading(TOP + _MIXED + b"--b\r\n--x: y\r\n\r\nz\r\n--b--\r\n") as mail:
        assert [leaf.size for leaf in mail.leaves] == [1]


def test_blanks() -> None:
    """A line of a megabyte of blanks in quoted-printable takes no longer than another."""
    began = time.monotonic()
    with reading(TOP + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b" " * (1 << 20) + b"x\r\n") as mail:
        assert mail.leaves[0].size == (1 << 20) + 3
    assert time.monotonic() - began < _WITHIN


_SCRIPT = """
import base64, resource, sys
from inspection.spool import SpoolRoom
from mailgw.mime.reader import read_mail

room = SpoolRoom()
spool = room.open()
spool.append(b"MIME-Version: 1.0\\r\\nContent-Type: multipart/mixed; boundary=b\\r\\n\\r\\n")
line = base64.b64encode(bytes(57)) + b"\\r\\n"
for number in range(int(sys.argv[1])):
    spool.append(b"--b\\r\\nContent-Type: a/b\\r\\nContent-Transfer-Encoding: base64\\r\\n\\r\\n")
    for _ in range(64):
        spool.append(line * 2048)
spool.append(b"--b--\\r\\n")
spool.finish()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mail = read_mail(spool, room)
assert not mail.ambiguous and len(mail.documents) == int(sys.argv[1]), mail
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory() -> None:
    """A mail of 50 MB takes no more than 96 MB to read."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, "5"], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) <= 96
