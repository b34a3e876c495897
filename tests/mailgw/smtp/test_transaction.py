"""The order of commands."""

from __future__ import annotations

from mailgw.smtp.transaction import Stage, Transaction


def test_a_mail_needs_a_sender_and_a_recipient() -> None:
    """DATA and BDAT are refused before: 503, then 554."""
    transaction = Transaction()
    for stage, code in ((Stage.NONE, 503), (Stage.SENDER, 554)):
        transaction.stage = stage
        for verb in ("DATA", "BDAT"):
            refusal = transaction.refuse(verb)
            assert refusal is not None
            assert refusal.code == code
    transaction.stage = Stage.RECIPIENT
    assert transaction.refuse("DATA") is transaction.refuse("BDAT") is None


def test_between_chunks_only_chunks_may_come() -> None:
    """And RSET, NOOP, QUIT."""
    transaction = Transaction(stage=Stage.CHUNKS)
    assert all(transaction.refuse(verb) for verb in ("DATA", "MAIL", "RCPT", "AUTH", "STARTTLS"))
    assert not any(transaction.refuse(verb) for verb in ("BDAT", "RSET", "NOOP", "QUIT"))


def test_recipients_count_behind_their_sender() -> None:
    """The envelope grows with what is accepted, and is empty after a reset."""
    transaction = Transaction()
    transaction.accept_sender("a@b")
    transaction.accept_recipient("c@d")
    transaction.accept_recipient("e@f")
    assert (transaction.stage, transaction.sender, transaction.recipients) == ("recipient", "a@b", ["c@d", "e@f"])
    transaction.reset()
    assert (transaction.stage, transaction.sender, transaction.recipients) == ("none", "", [])
