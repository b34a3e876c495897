"""What is found out about one engine."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from avsluice.diagnosis import ZIPPED, Finding, examine
from avsluice.engines import open_engines, started
from policy.model import Policy
from policy.verdict import Coverage, Status
from scanners.fake import FakeClamd, Fault
from scanners.fake_drweb import FakeDrweb
from scanners.specimens import EICAR

MIB = 1 << 20


async def diagnose(fake: FakeClamd | FakeDrweb, **section: Any) -> Finding:
    """The finding on an engine that does as it is told."""
    raw = {"protocol": "clamav-net", "address": str(fake.address), "max-checked-size": "4MiB", **section}
    policy = Policy.model_validate({"antivirus": {"C": raw}})
    engines = open_engines(policy, ["C"])
    async with started(engines.values()):
        (finding,) = await examine(engines["C"], policy.antivirus["C"])
    return finding


async def test_an_engine_that_works():
    """EICAR found, a clean object free, proven up to max-checked-size."""
    async with FakeClamd() as fake:
        address = fake.address
        finding = await diagnose(fake)
    assert finding.well
    assert finding.proven
    assert (finding.limit, finding.limit_known, finding.coverage) == (4 * MIB, True, Coverage.FULL)
    assert finding.engine == f"clamd at {address} by INSTREAM"
    assert finding.version.startswith("ClamAV ")


async def test_a_limit_is_known_to_the_byte():
    """A limit below max-checked-size is searched for and told, with the setting to raise."""
    async with FakeClamd() as fake:
        fake.file_limit = fake.stream_limit = 3 * MIB - 7
        finding = await diagnose(fake)
    assert finding.well
    assert (finding.limit, finding.limit_known) == (3 * MIB - 7, True)
    assert "MaxFileSize" in finding.limit_setting


async def test_an_engine_that_says_ok_to_everything():
    """An engine that is blind is not proven: gateways see `error`."""
    async with FakeClamd(fault=Fault.BLIND) as fake:
        fake.blind_to_eicar = True
        finding = await diagnose(fake)
    assert not finding.well
    assert not finding.proven
    assert (finding.eicar, finding.clean, finding.limit) == (Status.ERROR, Status.ERROR, None)
    assert "EICAR was not found but `free`" in finding.failure


async def test_an_engine_that_fears_everything():
    """A clean object that is not free is told with the engine's words."""
    async with FakeClamd(fault=Fault.GARBAGE) as fake:
        finding = await diagnose(fake)
    assert (finding.eicar, finding.clean, finding.well) == (Status.FOUND, Status.UNKNOWN, False)
    assert finding.clean_detail


async def test_an_engine_that_unpacks():
    """It finds EICAR in a zip, too."""
    async with FakeClamd() as fake:
        finding = await diagnose(fake)
    assert (finding.zipped, finding.unpacks) == (Status.FOUND, True)


async def test_an_engine_that_does_not_unpack():
    """The fake drwebd looks at the bytes as they are: EICAR in a deflated zip is `free`, and that is told."""
    async with FakeDrweb() as fake:
        finding = await diagnose(fake, protocol="drweb-net")
    assert (finding.eicar, finding.zipped, finding.unpacks) == (Status.FOUND, Status.FREE, False)
    plain = finding.as_plain()
    assert (plain["zipped"], plain["unpacks"]) == ("free", False)
    assert isinstance(plain["zipped_ms"], float)


def test_what_is_zipped_is_what_it_says():
    """Python's own reader finds EICAR in it, and its bytes are nowhere in the open."""
    packed = ZIPPED.read(0, ZIPPED.size)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.read("eicar.com") == EICAR
    assert EICAR[:20] not in packed


async def test_silence_ends_in_time():
    """A clean object that is never answered ends with `timeout`."""
    async with FakeClamd(fault=Fault.SILENCE) as fake:
        finding = await diagnose(fake, timeout=0.5, **{"max-checked-size": 1000})
    assert (finding.eicar, finding.clean) == (Status.FOUND, Status.ERROR)
    assert finding.clean_detail == "no answer within 0.5 s"


async def test_a_tiny_max_checked_size():
    """Where EICAR itself is too large it is skipped, and nobody waits for it."""
    async with FakeClamd() as fake:
        finding = await diagnose(fake, **{"max-checked-size": 10})
    assert (finding.eicar, finding.well, finding.limit_known) == (Status.SKIPPED, False, True)
