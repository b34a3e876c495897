"""The products' own words, as their manuals have them."""

from __future__ import annotations

import pytest

from policy.verdict import Status
from scanners.icap.vendors import HEADERS
from tests.scanners.icap.test_verdict import FORBIDDEN, PAGE, echo, icap, judge

VIRUS = [
    (
        "c-icap virus_scan",
        [b"X-Infection-Found: Type=0; Resolution=2; Threat=V;", b"X-Violations-Found: 1\r\n\t-\r\n\tV"],
    ),
    ("squidclamav", [b"X-Virus-ID: V", b"X-Infection-Found: Type=0; Resolution=2; Threat=V;"]),
    ("Kaspersky Scan Engine", [b"X-Infection-Found: Type=0; Resolution=0; Threat=V;", b"X-Virus-ID: V"]),
    ("Kaspersky Web Traffic Security", [b"X-Virus-ID: V", b"X-Response-Info: blocked"]),
    ("Dr.Web ICAPD", [b"X-Infection-Found: Type=0; Resolution=2; Threat=V;", b"X-Virus-ID: V"]),
    (
        "Symantec Protection Engine",
        [b"X-Infection-Found: Type=0; Resolution=2; Threat=V;", b"X-Violations-Found: 1\r\n\tx"],
    ),
    ("McAfee Web Gateway", [b"X-Virus-Name: V", b"X-Block-Reason: virus", b"X-Block-Result: 81"]),
    ("ESET", [b"X-Infection-Found: Type=0; Resolution=2; Threat=V;", b"X-Virus-ID: V", b"X-Response-Info: Blocked"]),
    ("Sophos SAVDI", [b"X-Virus-ID: V"]),
    ("WithSecure", [b"X-FSecure-Scan-Result: infected", b"X-FSecure-Infection-Name: V"]),
    ("Trend Micro", [b"X-Virus-ID: V", b"X-Infection-Found: Type=0; Resolution=2; Threat=V;"]),
    ("OPSWAT MetaDefender", [b"X-Virus-ID: V", b"X-Blocked-Reason: Infected", b"X-Response-Info: Blocked"]),
    ("Clearswift", [b"X-Infection-Found: Type=0; Resolution=2; Threat=V;", b"X-Violations-Found: 1"]),
]

CLEAN = [
    ("Kaspersky Web Traffic Security", [b"X-Virus-ID: no threats", b"X-Response-Info: passed"]),
    ("WithSecure", [b"X-FSecure-Scan-Result: clean"]),
    ("OPSWAT MetaDefender", [b"X-Response-Info: Allowed"]),
]

NO_VERDICT = [
    ("Dr.Web ICAPD, errors during the check", [b"X-Violations-Found: 2"]),
    ("Dr.Web ICAPD, a category", [b"X-Response-Info: Blocked (gambling)"]),
    ("McAfee Web Gateway, a rule", [b"X-Block-Reason: category", b"X-Block-Result: 10"]),
    ("Sophos SAVDI, a rule", [b"X-Blocked: True"]),
    ("OPSWAT MetaDefender, a rule", [b"X-Blocked-Reason: Filetype", b"X-Response-Info: Blocked"]),
]


@pytest.mark.parametrize(("vendor", "headers"), VIRUS, ids=[vendor for vendor, _ in VIRUS])
def test_a_virus(vendor: str, headers: list[bytes]) -> None:
    """Each product's way to tell a virus is found, in ICAP's headers and in HTTP's, with its name."""
    inside = FORBIDDEN[:-2] + b"".join(header + b"\r\n" for header in headers) + b"\r\n"
    for reply in (icap(b"200 OK", *headers, http=FORBIDDEN, body=PAGE), icap(b"200 OK", http=inside, body=PAGE)):
        answer = judge(reply)
        assert answer is not None
        assert (answer.status, answer.virus) == (Status.FOUND, "V")


@pytest.mark.parametrize(("vendor", "headers"), CLEAN, ids=[vendor for vendor, _ in CLEAN])
def test_nothing(vendor: str, headers: list[bytes]) -> None:
    """Each product's way to tell that there is nothing does not stand in the way of free."""
    for reply in (icap(b"204 Unmodified", *headers), echo(*headers)):
        answer = judge(reply)
        assert answer is not None
        assert answer.status is Status.FREE


@pytest.mark.parametrize(("vendor", "headers"), NO_VERDICT, ids=[vendor for vendor, _ in NO_VERDICT])
def test_no_verdict(vendor: str, headers: list[bytes]) -> None:
    """A block that need not have been for a virus is unknown, also with a 204 or the object unchanged."""
    for reply in (icap(b"200 OK", *headers, http=FORBIDDEN, body=PAGE), icap(b"204 x", *headers), echo(*headers)):
        answer = judge(reply)
        assert answer is not None
        assert answer.status is Status.UNKNOWN


@pytest.mark.parametrize("vendor", ["Symantec Protection Engine", "OPSWAT MetaDefender"])
def test_a_container(vendor: str) -> None:
    """Type=2 is a container that was not looked into."""
    answer = judge(icap(b"200 OK", b"X-Infection-Found: Type=2; Resolution=2; Threat=V;", http=FORBIDDEN, body=PAGE))
    assert answer is not None
    assert answer.status is Status.SKIPPED


def test_names_of_headers_are_in_lower_case() -> None:
    """The table is looked up by names in lower case, and so are the words for nothing."""
    for name, meaning in HEADERS.items():
        assert name == name.lower()
        assert all(word == word.lower() for word in meaning.nothing)
        assert meaning.by


def test_every_vendor_of_the_table_is_tried() -> None:
    """Whoever stands in the table has a reply here."""
    tried = {vendor for vendor, _ in VIRUS}
    assert {vendor for meaning in HEADERS.values() for vendor in meaning.by} <= tried
