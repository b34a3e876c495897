"""Commands as a client sends them."""

from __future__ import annotations

import pytest

from mailgw.smtp.commands import (
    BadCommand,
    Chunk,
    parse_bdat,
    parse_command,
    parse_mail,
    parse_rcpt,
    parse_size,
)


def test_verb_and_argument_are_told_apart() -> None:
    """The verb in capitals; the line goes on without its end."""
    command = parse_command(b"mail FROM:<a@b> \r\n")
    assert (command.verb, command.argument, command.line) == ("MAIL", b"FROM:<a@b>", b"mail FROM:<a@b>")


@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\0\r\n", b"\r\n", b"N00P\r\n", b"NOOP \x1b\r\n"])
def test_odd_lines_are_refused(line: bytes) -> None:
    """A line ends in CRLF, and there is no control character in it."""
    with pytest.raises(BadCommand) as caught:
        parse_command(line)
    assert caught.value.code == 500


@pytest.mark.parametrize(
    ("argument", "address", "parameters"),
    [
        (b"FROM:<>", "", {}),
        (b"from: <a@b>", "a@b", {}),
        (b'FROM:<"a >b"@c> SIZE=5 BODY=8BITMIME', '"a >b"@c', {"SIZE": "5", "BODY": "8BITMIME"}),
        (b"FROM:<@x,@y:a@b> AUTH=<> RET=HDRS ENVID=q+2B".replace(b"AUTH=<>", b"AUTH=a"), "@x,@y:a@b", None),
        ("FROM:<ä@ö> SMTPUTF8".encode(), "ä@ö", {"SMTPUTF8": ""}),
    ],
)
def test_mail_is_understood(argument: bytes, address: str, parameters: dict[str, str] | None) -> None:
    """Null sender, quoted local parts, source routes, UTF-8 and the parameters of the extensions that we offer."""
    path = parse_mail(argument)
    assert path.address == address
    assert parameters is None or path.parameters == parameters


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (b"FROM:a@b", 501),
        (b"FROM:<a@b", 501),
        (b"FROM:<a b@c>", 501),
        (b"TO:<a@b>", 501),
        (b"FROM:<a@b> FOO=1", 555),
        (b"FROM:<a@b> SIZE=1 SIZE=2", 555),
        (b"FROM:<a@b> BODY=BINARYMIME", 555),
        (b"FROM:<a@b> NOTIFY=NEVER", 555),
    ],
)
def test_mail_with_what_we_do_not_vouch_for_is_refused(argument: bytes, code: int) -> None:
    """Bad syntax with 501, parameters of other extensions with 555."""
    with pytest.raises(BadCommand) as caught:
        parse_mail(argument)
    assert caught.value.code == code


def test_rcpt_takes_the_parameters_of_dsn() -> None:
    """NOTIFY and ORCPT, and none of MAIL's."""
    path = parse_rcpt(b"TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b")
    assert path.parameters == {"NOTIFY": "SUCCESS,DELAY", "ORCPT": "rfc822;a+40b"}
    with pytest.raises(BadCommand):
        parse_rcpt(b"TO:<a@b> SIZE=1")


def test_an_empty_auth_parameter_passes() -> None:
    """`AUTH=<>` (RFC 4954, 5) is what relays send."""
    assert parse_mail(b"FROM:<a@b> AUTH=<>").parameters == {"AUTH": "<>"}


def test_size_is_a_number() -> None:
    """None is 0, anything else is refused."""
    assert (parse_size({}), parse_size({"SIZE": "12"})) == (0, 12)
    with pytest.raises(BadCommand):
        parse_size({"SIZE": "-1"})


def test_bdat_is_understood() -> None:
    """Its size, and whether it is the last."""
    assert (parse_bdat(b"10"), parse_bdat(b"0 last")) == (Chunk(10, False), Chunk(0, True))
    for argument in (b"", b"-1", b"1 LASTLY", b"9" * 16):
        with pytest.raises(BadCommand):
            parse_bdat(argument)
