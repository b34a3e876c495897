"""The client with which Valkey or Redis is asked; needs the extra `valkey`.

Rules of this file: only here is the library named and a password read; neither the password nor what a server says
gets into an error or a log, for a server may repeat what it was told.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol

from policy.valkey_url import ValkeyTls, ValkeyUrl
from scanners.icap.tls import make_context

CONNECT_WITHIN = 1.0
"""Seconds for a connection, and for each of its questions."""


class Client(Protocol):
    """What is used of `valkey.asyncio.Valkey`."""

    async def mget(self, keys: Sequence[str]) -> Sequence[bytes | None]: ...

    async def set(self, name: str, value: str, *, px: int | None = None, ex: int | None = None) -> object: ...

    async def aclose(self) -> None: ...


def connect(where: ValkeyUrl) -> Client:
    """A client that connects when it is first used. ValueError where the extra is not installed, or a file of TLS
    cannot be used."""
    try:
        module = importlib.import_module("valkey.asyncio")
    except ImportError as why:
        raise ValueError("cache.valkey needs the extra: install avsluice[valkey]") from why
    kind, terms = _choose_connection(module, where)
    login = {"username": where.user, "password": where.password.get_secret_value() if where.password else None}
    bounds = {"socket_timeout": CONNECT_WITHIN, "socket_connect_timeout": CONNECT_WITHIN}
    pool = module.ConnectionPool(connection_class=kind, db=where.db, **terms, **login, **bounds)
    client: Client = module.Valkey.from_pool(pool)
    return client


def _choose_connection(module: ModuleType, where: ValkeyUrl) -> tuple[type[Any], dict[str, Any]]:
    if where.address.unix is not None:
        return module.UnixDomainSocketConnection, {"path": where.address.unix}
    terms = {"host": where.address.host, "port": where.address.port}
    if where.tls is None:
        return module.Connection, terms
    context = _make_context(where.tls)

    class TlsConnection(module.SSLConnection):  # type: ignore[misc, name-defined]  # the extra may be missing
        def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401  (the library's own)
            super().__init__(**kwargs)
            # Its own would be made anew for each connection, 20 ms of reading certificates inside the loop.
            self.ssl_context.context = context

    return TlsConnection, terms


def _make_context(tls: ValkeyTls) -> ssl.SSLContext:
    try:
        context = make_context(tls.ca, verify=tls.verify)
        context.check_hostname = tls.verify and tls.check_host
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, password="")  # else it would ask at the terminal
    except (OSError, ValueError) as why:
        raise ValueError(f"cache.valkey: a certificate or key cannot be used: {why}") from why
    return context


def describe(why: BaseException) -> str:
    """What went wrong, for the log. Of what a server said only the kind: it may repeat the password."""
    cause: BaseException | None = why
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"{type(why).__name__} ({cause.strerror})"
        cause = cause.__cause__ or cause.__context__
    return type(why).__name__
