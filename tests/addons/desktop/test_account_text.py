"""Accounts as lines."""

from __future__ import annotations

import pytest

from addons.desktop.account_text import describe, describe_engine, headline
from tests.addons.accounts import EVIL, clean, refused


def test_everything_is_told() -> None:
    """Status, virus, action, reason, rule, sizes, digest, engine with time and version, and the whole trace."""
    text = "\n".join(describe(refused(released=2000, quarantine="q" * 20)))
    for word in ("found", "Eicar", "deny", "virus-found", "DOCUMENTS", "68 B (70 B transferred)", "ab" * 32):
        assert word in text
    for word in ("2000 B before the verdict", "q" * 20, "CLAM (clamav-net)", "asked, 1.2 ms", "version: ClamAV 1.4.6"):
        assert word in text
    assert "  - doc-acl RADIO: no match: url is http://o/x, not */radio/*" in text


@pytest.mark.parametrize(
    ("account", "line"),
    [
        (refused(), "refused: found Eicar (virus-found, doc-acl DOCUMENTS)"),
        (refused(action="cut"), "cut: found Eicar (virus-found, doc-acl DOCUMENTS)"),
        (clean(), "passed: free (doc-acl DOCUMENTS)"),
        (clean(status=None, acl=None), "passed: by rule (no doc-acl)"),
        (refused(status=None, virus=None, reason="acl"), "refused: by rule (acl, doc-acl DOCUMENTS)"),
    ],
)
def test_the_headline_says_what_was_done(account, line) -> None:
    """One line names what was done, the status, the virus, the reason and the rule."""
    assert headline(account) == line


def test_what_is_not_known_has_no_line() -> None:
    """Neither None nor an empty value is shown; that no engine was asked is said."""
    text = "\n".join(describe(clean()))
    assert "None" not in text
    assert "virus:" not in text
    assert "engines: no engine was asked" in text


def test_a_remembered_verdict_says_so() -> None:
    """A cached answer is told from one that was asked for."""
    engine = refused()["engines"][0] | {"cached": True}
    assert "remembered" in describe_engine(engine)


def test_control_and_bidi_characters_are_shown() -> None:
    """What a peer or an engine chose neither acts on a terminal nor turns or adds a line."""
    plain = list(describe(refused()))
    evil = list(describe(refused(virus=EVIL + "\n", object="http://o/" + EVIL)))
    assert len(plain) == len(evil)
    assert not set("\x1b\u202e\n") & set("".join(evil))
