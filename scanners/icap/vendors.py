"""What the makers of ICAP servers write into headers about a scan: the one table.

Rules of this file: RFC 3507 says nothing about viruses, so every product has headers of its own; a header stands here
once, with the words that mean "nothing"; whatever else it says is not nothing. Sources: the products' manuals, rspamd's
lualib/lua_scanners/icap.lua, squidclamav's source, and a running c-icap. Only c-icap was ever asked by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How a header's value is to be read."""

    INFECTION = "infection"
    """draft-stecher-icap-subid-00: `Type=0; Resolution=2; Threat=NAME;`. Type 0 is a virus, 1 a policy's violation,
    2 a container that was not looked into (too large, encrypted)."""

    VIRUS = "virus"
    """The virus's name."""

    RESULT = "result"
    """A word for the outcome."""

    DOUBT = "doubt"
    """Something was the matter, but it need not have been a virus."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One header. `nothing`: the values, in lower case, which say that nothing was found; `by`: who sends it."""

    kind: Kind
    nothing: frozenset[str]
    by: tuple[str, ...]


_NO_NAME = frozenset({"", "-", "no threats", "none"})
_NO_BLOCK = frozenset({"", "-", "0", "none", "false"})

HEADERS: Mapping[str, Meaning] = {
    "x-infection-found": Meaning(
        Kind.INFECTION,
        _NO_NAME,
        (
            "c-icap virus_scan",
            "squidclamav",
            "Kaspersky Scan Engine",
            "Dr.Web ICAPD",
            "Symantec Protection Engine",
            "ESET",
            "Trend Micro",
            "OPSWAT MetaDefender",
            "Clearswift",
        ),
    ),
    "x-virus-id": Meaning(
        Kind.VIRUS,
        _NO_NAME,
        (
            "squidclamav",
            "Kaspersky Scan Engine",
            "Kaspersky Web Traffic Security",
            "Dr.Web ICAPD",
            "McAfee Web Gateway",
            "ESET",
            "Sophos SAVDI",
            "Trend Micro",
            "OPSWAT MetaDefender",
            "Clearswift",
        ),
    ),
    "x-virus-name": Meaning(Kind.VIRUS, _NO_NAME, ("McAfee Web Gateway",)),
    "x-fsecure-infection-name": Meaning(Kind.VIRUS, _NO_NAME, ("WithSecure",)),
    "x-fsecure-scan-result": Meaning(Kind.RESULT, frozenset({"clean"}), ("WithSecure",)),
    # Dr.Web counts its own errors here, the others what they found: alone it proves neither.
    "x-violations-found": Meaning(
        Kind.DOUBT,
        frozenset({"", "0"}),
        ("c-icap virus_scan", "Dr.Web ICAPD", "Symantec Protection Engine", "Clearswift"),
    ),
    "x-response-info": Meaning(
        Kind.DOUBT,
        frozenset({"", "-", "passed", "allowed"}),
        ("Kaspersky Web Traffic Security", "Dr.Web ICAPD", "ESET", "OPSWAT MetaDefender"),
    ),
    "x-block-reason": Meaning(Kind.DOUBT, _NO_BLOCK, ("McAfee Web Gateway",)),
    "x-block-result": Meaning(Kind.DOUBT, _NO_BLOCK, ("McAfee Web Gateway",)),
    "x-blocked-reason": Meaning(Kind.DOUBT, _NO_BLOCK, ("OPSWAT MetaDefender",)),
    "x-blocked": Meaning(Kind.DOUBT, _NO_BLOCK, ("Sophos SAVDI",)),
}
"""Header (in lower case) to meaning; it may stand in ICAP's headers, in HTTP's, or behind the body."""

CONTAINER = "2"
"""The Type in X-Infection-Found of what was not looked into."""

NOT_SCANNED = ("Heuristics.Limits.Exceeded", "Heuristics.Encrypted.")
"""How the names begin by which clamd, behind a server, says that it could not look into an object."""
