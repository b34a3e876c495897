"""Client networks and server patterns."""

from __future__ import annotations

import pytest

from policy.networks import compile_networks, compile_servers, find_address, host_of, parse_network, parse_server


@pytest.mark.parametrize(
    ("client", "inside"),
    [
        ("10.1.2.3", True),
        ("10.1.2.3:5000", True),
        ("::ffff:10.1.2.3", True),
        ("[2001:db8::1]:25", True),
        ("2001:db8::1", True),
        ("192.0.2.1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_client_in_a_network(client: str, inside: bool):
    """A port and IPv4 inside IPv6 make no difference; a name lies in no network."""
    lies_inside = compile_networks([parse_network("10.0.0.0/8"), parse_network("2001:db8::/32")])
    assert lies_inside(client) is inside


@pytest.mark.parametrize(
    ("server", "fits"),
    [
        ("mail.example.com:25", True),
        ("MAIL.example.com.", True),
        ("10.0.0.9:21", True),
        ("example.org", False),
        ("192.0.2.1:21", False),
    ],
)
def test_server_by_name_or_network(server: str, fits: bool):
    """A server is matched by a glob on its name or by its network, without its port."""
    match = compile_servers([parse_server("*.example.com"), parse_server("10.0.0.0/8")])
    assert match(server) is fits


def test_host_bits_are_explained():
    """A network with host bits is refused, and the right spelling given."""
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8"):
        parse_network("10.0.0.1/8")


@pytest.mark.parametrize("value", ["10.0.0.0/33", "a/8", "mail:25", "", 5, None, "x" * 256, "1.2.3.999"])
def test_what_is_no_server_is_refused(value: object):
    """A broken network, a port or something that is no text is refused."""
    with pytest.raises(ValueError, match=r".+"):
        parse_server(value)


def test_addresses_are_found_without_their_ports():
    """The host is what stands before the port, in brackets or not."""
    assert host_of("[::1]:25") == "::1"
    assert host_of("::1") == "::1"
    assert host_of("a:25") == "a"
    assert str(find_address("fe80::1%eth0")) == "fe80::1"
    assert find_address("nowhere") is None
