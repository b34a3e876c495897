"""Addresses that are bound ahead of their use."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from inspection.host import CannotServe
from inspection.listening import bind_sockets, names, reserve
from policy.address import Address

FREE = Address(host="127.0.0.1", port=0)


@pytest.fixture
def stack():
    """Closes what the test enters."""
    with ExitStack() as closing:
        yield closing


def hold(stack: ExitStack, sockets: list[socket.socket]) -> Address:
    """Closed at the end; where they are."""
    for one in sockets:
        stack.enter_context(one)
    host, port = names(sockets)[0]
    return Address(host=host, port=port)


def test_nobody_is_let_in_yet(stack: ExitStack) -> None:
    """A bound address refuses clients until somebody listens."""
    address = hold(stack, bind_sockets(FREE))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.host, address.port), 1)


def test_a_reserved_address_is_shared_by_those_who_say_so(stack: ExitStack) -> None:
    """As many as come; one who does not say so is refused."""
    address = hold(stack, reserve(FREE))
    for _ in range(2):
        sockets = bind_sockets(address, shared=True)
        hold(stack, sockets)
        sockets[0].listen()
    for bind in (bind_sockets, reserve):
        with pytest.raises(CannotServe, match=f"listen {address}: Address already in use"):
            bind(address)


def test_what_others_listen_on_cannot_be_reserved(stack: ExitStack) -> None:
    """Not even where they share it."""
    shared = bind_sockets(FREE, shared=True)
    address = hold(stack, shared)
    shared[0].listen()
    with pytest.raises(CannotServe, match="Address already in use"):
        reserve(address)


def test_a_name_is_bound_at_all_its_addresses_on_one_port(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 0 included; where one of them fails, none is kept."""
    stream = (socket.SOCK_STREAM, 6, "")
    found = [(socket.AF_INET, *stream, (f"127.0.0.{n}", 0)) for n in (1, 2, 1)]
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kw: found)
    sockets = bind_sockets(Address(host="two.example", port=0))
    address = hold(stack, sockets)
    sockets[0].listen()
    assert names(sockets) == [("127.0.0.1", address.port), ("127.0.0.2", address.port)]
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda *args, **kw: [(socket.AF_INET, *stream, ("127.0.0.3", 0)), found[0]]
    )
    with pytest.raises(CannotServe):
        bind_sockets(Address(host="two.example", port=address.port))
    monkeypatch.undo()
    hold(stack, bind_sockets(Address(host="127.0.0.3", port=address.port)))


def test_a_name_that_is_unknown_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words of the resolver."""

    def fail(*args: object, **kw: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    with pytest.raises(CannotServe, match=r"listen no\.example:80: Name or service not known"):
        bind_sockets(Address(host="no.example", port=80))


def test_a_unix_socket_in_use_is_left_alone(stack: ExitStack, tmp_path: Path) -> None:
    """And so is a file that is no socket; a socket that nobody listens on is replaced."""
    path = tmp_path / "s"
    address = Address(unix=str(path))
    first = bind_sockets(address)[0]
    first.close()  # its file stays
    second = stack.enter_context(bind_sockets(address)[0])
    second.listen()
    with pytest.raises(CannotServe, match="Address already in use"):
        bind_sockets(address)
    path.unlink()
    path.write_text("precious")
    with pytest.raises(CannotServe, match="Address already in use"):
        bind_sockets(address)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("bind", [reserve, lambda address: bind_sockets(address, shared=True)])
def test_a_unix_socket_is_not_for_several(bind, tmp_path: Path) -> None:
    """There is no way to share one."""
    with pytest.raises(CannotServe, match="not a Unix socket"):
        bind(Address(unix=str(tmp_path / "s")))
