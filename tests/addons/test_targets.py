"""Which targets are refused."""

from __future__ import annotations

import pytest

from addons.targets import find_refusal, parse_address

OWN = [("127.0.0.1", 8080), ("0.0.0.0", 8081), ("gw.example", 8443)]  # noqa: S104 - nothing is bound


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("169.254.169.254", 80),
        ("2852039166", 80),
        ("0xa9fea9fe", 80),
        ("::ffff:169.254.169.254", 80),
        ("[fe80::1%eth0]", 80),
        ("64:ff9b::a9fe:a9fe", 80),
        ("::169.254.169.254", 80),
        ("2002:a9fe:a9fe::1", 80),
        ("::ffff:0:a9fe:a9fe", 80),
        ("64:ff9b::7f00:1", 8080),
        ("::1", 8080),
        ("::", 8080),
        ("127.0.0.1", 8080),
        ("127.1", 8080),
        ("127.0.0.99", 8080),
        ("0.0.0.0", 8080),  # noqa: S104 - nothing is bound
        ("localhost.", 8080),
        ("a.LOCALHOST", 8080),
        ("::ffff:127.0.0.1", 8080),
        ("127.0.0.1", 8081),
        ("GW.example", 8443),
    ],
)
def test_own_and_link_local_targets_are_refused(host: str, port: int) -> None:
    """Every spelling of the gateway's own places and of link-local addresses is told."""
    assert find_refusal(host, port, OWN)


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 80), ("localhost", 3000), ("192.0.2.7", 8081), ("origin.example", 8080), ("", 1)]
)
def test_other_targets_are_not(host: str, port: int) -> None:
    """Another port of this machine, and other machines, are targets like any other."""
    assert find_refusal(host, port, OWN) is None


def test_a_name_is_no_address() -> None:
    """What begins with a digit may still be a name."""
    assert parse_address("1.example") is None
    assert str(parse_address("1.2.3.4")) == "1.2.3.4"
