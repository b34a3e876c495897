"""No mail of the corpus hides its payload from `read_mail` and shows it to another reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mailgw.mime.rules import Rule
from scanners.body import MemoryBody
from scanners.specimens import EICAR
from tests.mailgw.corpus import hiding, ordinary
from tests.mailgw.mime import other_readers
from tests.mailgw.mime.views import finds, is_found, reading

_ALL = hiding.HONEST | hiding.ODD
# Packed payloads are for the engines, whatever the reader.
_PLAIN = {name: mail for name, mail in _ALL.items() if not name.endswith(("/zip", "/gzip"))}
_EVERY_FIFTH = dict(list(_PLAIN.items())[::5])


def _passes(data: bytes) -> bool:
    """True where the chapter's first policy for SMTP would deliver the mail as free of viruses."""
    with reading(data) as mail:
        return not mail.ambiguous and not finds(mail) and not is_found(MemoryBody(data))


def test_that_the_corpus_is_large() -> None:
    """At least 300 mails hide something, and 150 are ordinary."""
    assert len(_ALL) >= 300
    assert len(ordinary.MAILS) >= 150


@pytest.mark.parametrize("name", hiding.HONEST)
def test_honest(name: str) -> None:
    """A payload that is encoded as RFC 2045 says, or within a text, is found, and the mail is not ambiguous."""
    with reading(hiding.HONEST[name]) as mail:
        assert finds(mail)
        assert mail.ambiguities == ()
        assert len(mail.documents) == len(mail.leaves)


@pytest.mark.parametrize("name", hiding.ODD)
def test_odd(name: str) -> None:
    """A mail that readers take differently is one document."""
    with reading(hiding.ODD[name]) as mail:
        assert mail.ambiguous
        assert [document.part for document in mail.documents] == [""]


def test_that_odd_mails_are_found_out() -> None:
    """In at least 99 of 100 odd mails some view shows the payload: `unknown` is not all that is said of them."""
    missed = []
    for name, data in hiding.ODD.items():
        with reading(data) as mail:
            if not finds(mail) and not is_found(MemoryBody(data)):
                missed.append(name)
    assert len(missed) <= len(hiding.ODD) // 100, missed


@pytest.mark.parametrize("reader", other_readers.READERS.values(), ids=other_readers.READERS)
def test_readers(reader: Callable[[bytes], list[bytes]]) -> None:
    """What passes shows the payload to no other reader, and each of these does see some of them."""
    seen = {name for name, data in _PLAIN.items() if any(EICAR in body for body in reader(data))}
    assert len(seen) > 100
    assert not [name for name in seen if _passes(_PLAIN[name])]


@pytest.mark.ripmime
def test_ripmime(tmp_path: Path) -> None:
    """What ripmime unpacks from a mail that passes is not the payload."""
    _try_program(other_readers.run_ripmime, tmp_path)


@pytest.mark.munpack
def test_munpack(tmp_path: Path) -> None:
    """What munpack unpacks from a mail that passes is not the payload."""
    _try_program(other_readers.run_munpack, tmp_path)


def _try_program(run: Callable[[Path, Path], list[bytes]], folder: Path) -> None:
    seen = 0
    for number, data in enumerate(_EVERY_FIFTH.values()):
        mail = folder / f"{number}.eml"
        mail.write_bytes(data)
        if any(EICAR in body for body in run(mail, folder / str(number))):
            seen += 1
            assert not _passes(data)
    assert seen > 10


def test_ordinary() -> None:
    """At most 2 in 100 ordinary mails are ambiguous, and none shows a payload."""
    odd = []
    for name, data in ordinary.MAILS.items():
        with reading(data) as mail:
            assert not finds(mail)
            if mail.ambiguous:
                odd.append((name, mail.ambiguities))
    assert len(odd) <= len(ordinary.MAILS) // 50, odd


def test_that_every_rule_is_tried() -> None:
    """The corpus has a mail for each rule but the limit, which has tests of its own."""
    rules = set()
    for data in hiding.ODD.values():
        with reading(data) as mail:
            rules.update(found.rule for found in mail.ambiguities)
    assert set(Rule) - rules <= {Rule.LIMIT, Rule.FILENAME}
