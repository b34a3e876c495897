"""Clean traffic: the octets that come out are those that went in, whatever they are and however they are cut."""

from __future__ import annotations

import random

from tests.fakes.imap_server import ImapServer
from tests.mailgw.imap.conftest import CLEAN, Start

_KINDS = (b"LIST", b"LSUB", b"STATUS", b"SEARCH", b"ESEARCH", b"SORT", b"THREAD", b"FLAGS", b"ID", b"QUOTA", b"ACL")


def make_answers(dice: random.Random) -> bytes:
    """Some untagged answers, with literals, quoted strings, 8-bit octets."""
    return b"".join(dice.choice((make_line, make_fetch))(dice) for _ in range(dice.randrange(6)))


def make_line(dice: random.Random) -> bytes:
    """One of the kinds that pass."""
    words = [
        dice.choice((b"(\\A b)", b'"q \\" {3}"', b"NIL", b"12", b"\xe4\xf6", make_literal(dice))) for _ in range(4)
    ]
    return b"* " + dice.choice(_KINDS) + b" " + b" ".join(words) + b"\r\n"


def make_literal(dice: random.Random) -> bytes:
    """Any octets."""
    size = dice.randrange(90)
    return b"{%d}\r\n%s" % (size, dice.randbytes(size))


def make_fetch(dice: random.Random) -> bytes:
    """FETCH without contents."""
    items = [b"FLAGS (\\Seen $x)", b"UID 4", b"MODSEQ (7)", b"BODY[HEADER] " + make_literal(dice)]
    items.append(b'ENVELOPE ("d" ' + make_literal(dice) + b' (("a ) b" NIL "c" "{9}")) NIL)')
    items.append(b"BODY[HEADER.FIELDS (TO)]<0> " + make_literal(dice))
    return b"* 3 FETCH (" + b" ".join(dice.sample(items, dice.randrange(1, 6))) + b")\r\n"


async def test_answers_pass_octet_for_octet(start: Start, server: ImapServer) -> None:
    """300 random ones, cut by the wire as it likes."""
    dice = random.Random(1)  # noqa: S311 - the same every time
    client = await (await start(server)).reader()
    for number in range(300):
        answers = make_answers(dice)
        server.answers[b"NOOP"] = answers + b"TAG OK done\r\n"
        client.send(b"n%d NOOP\r\n" % number)
        end = b"n%d OK done\r\n" % number
        assert await client.reader.readexactly(len(answers) + len(end)) == answers + end


async def test_commands_reach_the_server_as_they_are(start: Start, server: ImapServer) -> None:
    """Any words that are no content's; a literal stays one."""
    dice = random.Random(2)  # noqa: S311 - the same every time
    client = await (await start(server)).reader()
    for number in range(100):
        verb = dice.choice((b"SEARCH", b"UID SEARCH", b"STORE", b"LIST", b"STATUS", b"UID COPY", b"MOVE", b"CREATE"))
        words = b" ".join(
            dice.choice((b"1:*", b'"a \\" b"', b"(\\Seen x)", b"\xc3\xa4", b"$", b"NOT")) for _ in range(5)
        )
        client.send(b"n%d %s %s {5+}\r\na\xff\xfe b x\r\n" % (number, verb, words))
        assert (await client.until(b"n%d " % number)).endswith(b" OK done\r\n")
        assert server.lines[-1] == b"n%d %s %s <literal> x" % (number, verb, words)


async def test_clean_mails_of_any_octets_come_as_they_are(start: Start, server: ImapServer) -> None:
    """Random bodies behind a plain header, fetched whole."""
    dice = random.Random(3)  # noqa: S311 - the same every time
    head = CLEAN.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    server.mails = {
        n: head + dice.randbytes(dice.randrange(3000)).replace(b"\r", b"").replace(b"\n", b"\r\n") for n in range(1, 20)
    }
    accept_all = "mail-acl: [{name: ALL, action: accept}]\ndoc-acl: [{name: DOC, action: accept}]\n"
    client = await (await start(server, acls=accept_all)).reader()
    sizes = {n: len(mail) for n, mail in server.mails.items()}
    client.send(b"x FETCH 1:* BODY[]\r\n")
    expected = b"".join(b"* %d FETCH (BODY[] {%d}\r\n%s)\r\n" % (n, sizes[n], server.mails[n]) for n in sorted(sizes))
    assert await client.reader.readexactly(len(expected)) == expected
    assert await client.line() == b"x OK done\r\n"
