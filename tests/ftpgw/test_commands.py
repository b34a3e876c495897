"""Commands: who answers which, before and behind the login."""

import pytest

from tests.fakes.ftp_server import Conversation
from tests.ftpgw.conftest import Stage

NO_ARGUMENT = "501 Syntax error: command does not accept arguments."


@pytest.mark.parametrize(
    ("line", "before", "behind"),
    [
        ("NOOP", "200 nothing", "200 nothing"),
        ("SYST", "215 UNIX Type: L8", "215 UNIX Type: L8"),
        ("HELP RETR", "502 not here", "502 not here"),
        ("SITE HELP", "502 not here", "502 not here"),
        ("STAT /", "530 Log in with USER and PASS first.", "502 not here"),
        ("OPTS UTF8 ON", "200 Names are passed on as they are.", "200 well"),
        ("OPTS HASH MD5", "530 Log in with USER and PASS first.", "501 Unsupported command: no such option."),
        ("SITE", "501 Syntax error: command needs an argument.", "501 Syntax error: command needs an argument."),
        ("RETR", "530 Log in with USER and PASS first.", "501 Syntax error: command needs an argument."),
        ("ABOR", "530 Log in with USER and PASS first.", "225 No transfer to abort."),
        ("FEAT x", NO_ARGUMENT, NO_ARGUMENT),
        ("QUIT x", NO_ARGUMENT, NO_ARGUMENT),
    ],
)
async def test_who_answers(stage: Stage, line: str, before: str, behind: str) -> None:
    """The server where it is asked, the gateway where it has to judge."""
    async with await stage.open() as talk:
        assert await talk.ask(line) == before
        await talk.login()
        assert await talk.ask(line) == behind


@pytest.mark.parametrize("way", ["user-at-host: true", "transparent: true\npassive-ports: 40000-40100"])
async def test_nobody_can_be_asked_yet(stage: Stage, way: str) -> None:
    """Where USER is to name the server, or none was dialled, the gateway answers what needs none."""
    async with await stage.open(more=f"{way}\n", server=False) as talk:
        answers = [(await talk.ask(line))[:3] for line in ("NOOP", "HELP", "FEAT", "SYST", "SITE HELP", "USER me")]
    assert answers == ["200", "214", "211", "530", "530", "530"]
    assert stage.upstream.sessions == 0


async def test_beginning_again(stage: Stage) -> None:
    """REIN ends the login and the connection to the server; one may log in again."""
    async with await stage.open() as talk:
        await talk.login()
        assert (await talk.ask("REIN"))[:3] == "220"
        await stage.until(lambda: stage.upstream.open == 0)
        assert (await talk.ask("PWD"))[:3] == "530"
        await talk.login()
        assert (await talk.ask("PWD"))[:3] == "257"


async def test_trying_passwords(stage: Stage) -> None:
    """Who tries one password after the other does so at one connection to the server, which may count."""

    async def refuse(session: Conversation, _word: str) -> None:
        session.say("530 wrong")

    stage.upstream.scripts["PASS"] = refuse
    async with await stage.open() as talk:
        for word in ("one", "two", "three"):
            assert (await talk.ask("USER someone"))[:3] == "331"
            assert await talk.ask(f"PASS {word}") == "530 wrong"
    assert stage.upstream.sessions == 1


@pytest.mark.parametrize("words", ["421 good night", ""])
async def test_a_server_that_hangs_up(stage: Stage, words: str) -> None:
    """The client is told what the server said, if it did, and is disconnected at once."""

    async def go(session: Conversation, _argument: str) -> None:
        session.say("200 nothing")
        if words:
            session.say(words)
        session.writer.close()

    stage.upstream.scripts["NOOP"] = go
    async with await stage.open() as talk:
        await talk.login()
        assert await talk.ask("NOOP") == "200 nothing"
        if words:
            assert await talk.reply() == words
        assert await talk.reply() == ""


async def test_features_are_asked_anew(stage: Stage) -> None:
    """After OPTS the server may offer others."""
    async with await stage.open() as talk:
        await talk.login()
        for line in ("FEAT", "FEAT", "OPTS MLST size;", "FEAT"):
            await talk.ask(line)
    assert len(stage.upstream.commands("FEAT")) == 2
