"""The engines of a policy, for commands that ask them themselves: who uses which, and how they are opened.

Rules of this file: nothing is remembered from one question to the next, for these commands are asked what an engine
says now; disabled gateways use nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from policy.model import Imap4Proxy, ObjectProxy, Policy, Pop3Proxy, SmtpProxy
from policy.model.policy import AnyGateway
from policy.model.stores import Cache
from scanners.antivirus import Antivirus
from scanners.registry import open_antivirus


@dataclass(frozen=True, slots=True)
class Use:
    """One place where an enabled gateway names engines. `acl` is None where the gateway itself does."""

    label: str
    gateway: AnyGateway
    acl: str | None
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.label} {self.acl}" if self.acl else self.label


def find_uses(policy: Policy) -> list[Use]:
    """Every place in an enabled gateway that names at least one engine, in the policy's order."""
    return [
        Use(label, gateway, acl, names)
        for label, gateway in policy.gateways()
        if gateway.enabled
        for acl, names in _names(gateway)
        if names
    ]


def used_names(policy: Policy) -> list[str]:
    """The engine sections that an enabled gateway uses, each once."""
    return list(dict.fromkeys(name for use in find_uses(policy) for name in use.names))


def _names(gateway: AnyGateway) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    match gateway:
        case ObjectProxy():
            for doc_acl in gateway.doc_acl:
                yield doc_acl.name, tuple(doc_acl.antivirus or ())
        case SmtpProxy():
            yield None, tuple(gateway.use_antivirus or ())
        case Pop3Proxy():
            for pop3_acl in gateway.command_acl:
                yield pop3_acl.name, tuple(pop3_acl.use_antivirus or ())
        case Imap4Proxy():
            for imap4_acl in gateway.command_acl:
                if (use := imap4_acl.use_antivirus) is not None:
                    yield imap4_acl.name, tuple(dict.fromkeys([*(use.download or ()), *(use.upload or ())]))


def open_engines(policy: Policy, names: Iterable[str]) -> dict[str, Antivirus]:
    """As `open_antivirus`, but without the cache. Raises what that raises: ValueErrors for the administrator."""
    return open_antivirus(policy.model_copy(update={"cache": Cache(free=0, found=0)}), names)


@contextlib.asynccontextmanager
async def started(antiviruses: Iterable[Antivirus]) -> AsyncIterator[None]:
    """Proves all of them, side by side, and closes all of them after the block. RealEngineMissing as they raise it."""
    antiviruses = list(antiviruses)
    try:
        ends = await asyncio.gather(*(antivirus.start() for antivirus in antiviruses), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end
        yield
    finally:
        for antivirus in antiviruses:
            await antivirus.close()
