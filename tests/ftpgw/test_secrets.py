"""Passwords and accounts in logs. No option of ours logs what peers say: a root logger set to DEBUG by hand would."""

import logging

import pytest

from tests.ftpgw.conftest import Stage

LINES = ("PASS secret-word", "PASS  secret-word", "pass secret-word", "PASS secret-word ", "ACCT secret-word")


async def test_nothing_secret_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, with aioftp's and asyncio's own lines, neither the length nor a letter of a password is logged."""
    caplog.set_level(logging.DEBUG)
    async with await stage.open() as talk:
        for line in LINES:
            await talk.ask("USER anonymous")
            await talk.ask(line)
        await talk.ask("PASS secret-word\0")
    assert "PASS ***" in caplog.text
    assert "secret-word" not in caplog.text
    assert "****" not in caplog.text
    assert "secret-word" not in "".join(stage.lines())
