"""All running gateways of a policy, side by side: what came through, and what that means.

Rules of this file: disabled gateways are left alone; a gateway that cannot be tried has a row that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from avsluice.passages.files import Login, visit_files
from avsluice.passages.mails import Addresses, visit_mails
from avsluice.passages.passage import Fate, Passage
from avsluice.passages.visit import NotTried, Visit, close
from avsluice.passages.web import visit_web
from policy.model import FtpProxy, HttpProxy, Policy, SmtpProxy

HEAD = ("GATEWAY", "ADDRESS", "OBJECT", "EXPECTED", "RESULT", "IN MS", "ANSWER")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the user gave for it. `only`: labels, empty for all that are enabled."""

    login: Login | None = None
    addresses: Addresses | None = None
    only: Collection[str] = ()


async def visit_gateways(policy: Policy, means: Means) -> list[Passage]:
    """The passages in the policy's order."""
    visits = [
        Visit(policy, label, gateway)
        for label, gateway in policy.gateways()
        if gateway.enabled and (not means.only or label in means.only)
    ]
    await asyncio.gather(*(_visit(visit, means) for visit in visits))
    return [passage for visit in visits for passage in visit.passages]


async def _visit(visit: Visit, means: Means) -> None:
    match visit.gateway:
        case HttpProxy():
            await visit_web(visit)
        case FtpProxy() as gateway:
            await visit_files(visit, gateway, means.login)
        case SmtpProxy():
            await visit_mails(visit, means.addresses)
        case _:
            async with visit.bounded():
                await close((await visit.connect())[1])
                raise NotTried("a mail would have to lie in a mailbox behind it: send one there and fetch it")


def find_troubles(passages: list[Passage]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """One for each object that went where it should not, or did not go where it should: text, and what it means."""
    for passage in passages:
        name = f"{passage.gateway} at {passage.address}"
        if passage.leaked:
            yield f"{name} LET EICAR PASS ({passage.what})", (_explain(passage),)
        elif not passage.well:
            yield f"{name}: {passage.what}: {passage.fate}: {passage.said}", ()


def _explain(passage: Passage) -> str:
    if passage.expected is Fate.DELIVERED:
        return f"its policy has it so: {passage.by or 'nothing is scanned there'}"
    return "by this policy it should not: the gateway runs by another one, or its engines do not find it"


def find_doubts(passages: list[Passage]) -> Iterator[str]:
    """What is no trouble, but less than it looks like."""
    for passage in passages:
        name = f"{passage.gateway}: {passage.what}"
        if passage.proves_nothing:
            yield f"{name}: refused by {passage.by or 'the policy'}, so that of EICAR there proves little"
        elif passage.infected and passage.well and passage.fate not in (Fate.NOT_TRIED, passage.expected):
            if passage.expected is Fate.REPLACED and passage.fate is Fate.DELIVERED:
                yield f"{name}: taken, to be replaced; look whether the mail that arrived has it replaced"
            else:
                yield f"{name}: {passage.fate}, where this policy has it {passage.expected}: is it the one in force?"


def make_rows(passages: list[Passage]) -> list[tuple[str, ...]]:
    """For a table."""
    return [HEAD, *map(_row, passages)]


def _row(passage: Passage) -> tuple[str, ...]:
    untried = passage.fate is Fate.NOT_TRIED
    result = "PASSED" if passage.leaked else str(passage.fate) if passage.well else str(passage.fate).upper()
    return (
        passage.gateway,
        passage.address,
        passage.what,
        str(passage.expected or "-"),
        result,
        "-" if untried else f"{passage.ms:.1f}",
        passage.said,
    )
