"""Whatever arrives is read: nothing raises, nothing takes long, nothing that another reader sees is missed.

AVSLUICE_FUZZ_MAILS sets how many mails are tried (a few thousand before a release)."""

from __future__ import annotations

import itertools
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanners.body import MemoryBody
from scanners.specimens import EICAR
from tests.mailgw.corpus import hiding, ordinary
from tests.mailgw.mime import other_readers
from tests.mailgw.mime.views import finds, is_found, reading

_RUNS = int(os.environ.get("AVSLUICE_FUZZ_MAILS") or 100)
_SETTINGS = settings(
    max_examples=_RUNS, deadline=5000, suppress_health_check=list(HealthCheck), database=None, derandomize=_RUNS <= 100
)
# Packed is for engines; what is not said to be base64 is so for no reader, once it is damaged.
_MAILS = [
    mail
    for name, mail in (hiding.HONEST | hiding.ODD).items()
    if not name.endswith(("/zip", "/gzip")) and "sniffed" not in name
]
_ORDINARY = [mail for mail in ordinary.MAILS.values() if len(mail) < 30_000]
_BITS = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b"\t",
            b"--",
            b"--b1",
            b"--b1--",
            b";",
            b":",
            b'"',
            b"=",
            b"(",
            b"\\",
            b"\x0b",
        ),
        *(b"\r\n\r\n", b"\r\n ", b"Content-Type: ", b"Content-Transfer-Encoding: base64\r\n", b"multipart/mixed"),
        *(
            b"boundary=b1",
            b"message/rfc822",
            b"quoted-printable",
            b"base64",
            b"begin 644 a\r\n",
            b"=ybegin ",
            b"\xff",
            b"====",
        ),
        *(
            b"Content-Type: text/plain\r\n",
            b"; boundary*0=b1",
            b"; charset=utf-16",
            b"=\r\n",
            b"\r\n--b1\r\n",
            b"MIME-Version: 1.0",
        ),
    ]
)
_EDIT = st.tuples(st.integers(0, 1 << 16), st.integers(0, 40), st.sampled_from(["insert", "delete", "replace"]), _BITS)


def _mutate(mail: bytes, edits: list[tuple[int, int, str, bytes]]) -> bytes:
    for at, length, how, bit in edits:
        at %= len(mail) + 1
        mail = mail[:at] + (b"" if how == "delete" else bit) + mail[at + (0 if how == "insert" else length) :]
    return mail


@_SETTINGS
@given(st.one_of(st.binary(max_size=400), st.lists(_BITS, max_size=60).map(b"".join)))
def test_anything(data: bytes) -> None:
    """Any bytes are a mail: the offsets lie within, each document has its views, and all is let go."""
    with reading(data) as mail:
        for leaf in mail.leaves:
            assert 0 <= leaf.start <= leaf.body <= leaf.end <= len(data)
            assert leaf.views


@_SETTINGS
@given(st.sampled_from(_MAILS), st.lists(_EDIT, min_size=1, max_size=4))
def test_mutated(mail: bytes, edits: list[tuple[int, int, str, bytes]]) -> None:
    """A changed hiding mail that passes shows the payload to no other reader that people use."""
    data = _mutate(mail, edits)
    with reading(data) as found:
        passes = not found.ambiguous and not finds(found) and not is_found(MemoryBody(data))
    if passes:
        # The lenient one opens what a mere text quotes, however damaged: nobody does.
        for read in (other_readers.read_stdlib, other_readers.read_fast_mail_parser):
            assert not any(EICAR in body for body in read(data)), read


@_SETTINGS
@given(st.sampled_from(_ORDINARY), st.lists(_EDIT, min_size=1, max_size=4))
def test_mutated_ordinary(mail: bytes, edits: list[tuple[int, int, str, bytes]]) -> None:
    """Of a changed ordinary mail that is not ambiguous the parts do not overlap."""
    data = _mutate(mail, edits)
    with reading(data) as found:
        if not found.ambiguous:
            ends = [(leaf.start, leaf.end) for leaf in found.leaves]
            assert ends == sorted(ends)
            assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
