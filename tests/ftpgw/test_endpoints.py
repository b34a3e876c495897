"""Addresses of data connections."""

import pytest

from ftpgw.endpoints import format_eprt, format_port, parse_eprt, parse_epsv_reply, parse_pasv_reply, parse_port


def test_port_and_eprt_are_read() -> None:
    """Both name address and port."""
    assert parse_port("10,0,0,1,4,1") == ("10.0.0.1", 1025)
    assert parse_eprt("|2|::1|2000|") == ("::1", 2000)
    assert parse_eprt("|1|10.0.0.1|2000|") == ("10.0.0.1", 2000)


@pytest.mark.parametrize("text", ["", "1,2,3,4,5", "1,2,3,4,5,256", "1,2,3,4,5,6,7", "a,b,c,d,e,f"])
def test_no_port(text: str) -> None:
    """What PORT's grammar does not allow is refused."""
    with pytest.raises(ValueError, match="PORT"):
        parse_port(text)


@pytest.mark.parametrize(
    "text", ["", "|1|10.0.0.1|2000", "|1|::1|2000|", "|3|x|1|", "|1|10.0.0.1|99999|", "|1|name|20|"]
)
def test_no_eprt(text: str) -> None:
    """What EPRT's grammar does not allow is refused, and an address of another family."""
    with pytest.raises(ValueError):  # noqa: PT011 - ipaddress has words of its own
        parse_eprt(text)


def test_what_is_written_is_read() -> None:
    """Both forms come back."""
    assert parse_port(format_port("127.0.0.1", 40001)) == ("127.0.0.1", 40001)
    assert parse_eprt(format_eprt("::1", 40001)) == ("::1", 40001)


@pytest.mark.parametrize("words", ["Entering (1,2,3,4,156,65).", "Entering 1,2,3,4,156,65", "=1,2,3,4,156,65"])
def test_pasv_with_and_without_parentheses(words: str) -> None:
    """The port is found in whatever words it stands."""
    assert parse_pasv_reply(words) == 40001


@pytest.mark.parametrize("words", ["Extended (|||40001|)", "(|1|10.0.0.1|40001|)", "(!!!40001!)"])
def test_epsv_with_filled_fields(words: str) -> None:
    """Only the port counts."""
    assert parse_epsv_reply(words) == 40001


@pytest.mark.parametrize("words", ["", "(|||0|)", "(|||70000|)", "(||40001|)"])
def test_no_epsv(words: str) -> None:
    """A reply without a possible port is an error."""
    with pytest.raises(ValueError, match="port"):
        parse_epsv_reply(words)
