"""Where a client is led."""

from typing import Any

import pytest

from ftpgw.destination import Destination, NotAllowed, choose_destinations, find_addresses, split_user
from policy.address import Address
from policy.model import FtpProxy


def make_proxy(**items: Any) -> FtpProxy:
    """One proxy with these items, by their Python names."""
    plain = {"listen": "127.0.0.1:0", "doc-acl": [{"name": "ALL"}]}
    return FtpProxy.model_validate(plain | {key.replace("_", "-"): value for key, value in items.items()})


def test_the_last_at_counts() -> None:
    """A name may hold an @ itself."""
    assert split_user("a@b@host:2121") == ("a@b", Address(host="host", port=2121))
    assert split_user("a@host") == ("a", Address(host="host", port=21))


@pytest.mark.parametrize("argument", ["", "name", "@host", "name@", "name@/socket", "name@host:0", "name@host:99999"])
def test_no_server(argument: str) -> None:
    """What names none is refused."""
    with pytest.raises(NotAllowed):
        split_user(argument)


def test_several_servers_in_their_order() -> None:
    """The policy's list is the order in which they are tried; USER's argument stays whole."""
    found = choose_destinations(make_proxy(server=["a:21", "b:2121"]), "me@x", None)
    assert found == [Destination("a", 21, "me@x"), Destination("b", 2121, "me@x")]


def test_only_allowed_servers() -> None:
    """By name, or by name and port."""
    proxy = make_proxy(user_at_host=True, server_allow=["*.example.org", "h:2121"])
    assert choose_destinations(proxy, "me@FTP.example.org", None)[0].host == "FTP.example.org"
    assert choose_destinations(proxy, "me@h:2121", None)[0].port == 2121
    for argument in ("me@example.com", "me@h", "me@127.0.0.1"):
        with pytest.raises(NotAllowed):
            choose_destinations(proxy, argument, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "169.254.1.1", "0.0.0.0", "::ffff:127.0.0.1"])  # noqa: S104
async def test_not_back_into_this_machine(host: str) -> None:
    """Without a list nobody is led to loopback, link-local or our own addresses."""
    with pytest.raises(NotAllowed):
        await find_addresses(Destination(host, 21, "me", guarded=True))


def test_nobody_dialled() -> None:
    """In transparent mode a connection that was not redirected has no server."""
    with pytest.raises(NotAllowed):
        choose_destinations(make_proxy(transparent=True), "me", None)
