"""What all tests share: the real servers, and the word on those that were left out.

Rules of this file: a test that needs a real server says so by a marker; where the server is not installed the test is
left out, counted and named at the end, or fails if AVSLUICE_REQUIRE_SERVERS is set.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients import programs
from tests.real.c_icap_server import CIcapServer, find_c_icap, run_c_icap
from tests.real.clamd_server import ClamdServer, find_clamd, run_clamd
from tests.real.dovecot_pop3_server import find_dovecot_pop3
from tests.real.dovecot_server import find_dovecot
from tests.real.postfix_server import find_postfix
from tests.real.proftpd_server import find_proftpd
from tests.real.vsftpd_server import find_vsftpd

SERVERS: dict[str, Callable[[], object]] = {
    "clamd": find_clamd,
    "c_icap": find_c_icap,
    "apt": programs.find_apt,
    "chromium": programs.find_chromium,
    "dovecot": find_dovecot,
    "dovecot_pop3": find_dovecot_pop3,
    "fetchmail": partial(shutil.which, "fetchmail"),
    "getmail": partial(shutil.which, "getmail"),
    "mpop": partial(shutil.which, "mpop"),
    "git": programs.find_git,
    "lftp": programs.find_lftp,
    "postfix": find_postfix,
    "munpack": partial(shutil.which, "munpack"),
    "pip": programs.find_pip,
    "ripmime": partial(shutil.which, "ripmime"),
    "wget": programs.find_wget,
    "vsftpd": find_vsftpd,
    "proftpd": find_proftpd,
    "tnftp": programs.find_tnftp,
    "ncftp": programs.find_ncftp,
}
"""Marker: what finds the server or client of that name, or nothing."""

_LONG = 40  # octets that may stand in a test's name

_LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_make_parametrize_id(val: object) -> str | None:
    """What was packed a second later has other octets: processes that share the tests must find the same names."""
    return "octets" if isinstance(val, bytes) and len(val) > _LONG else None


def pytest_configure(config: pytest.Config) -> None:
    """Begins the count."""
    config.addinivalue_line("markers", "c_icap: needs Debian's c-icap with virus_scan (make servers)")
    config.stash[_LEFT_OUT] = Counter()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leaves out what needs a server that is not there."""
    for name, find in SERVERS.items():
        if item.get_closest_marker(name) and not find():
            if os.environ.get("AVSLUICE_REQUIRE_SERVERS"):
                pytest.fail(f"{name} is not installed: make servers", pytrace=False)
            item.config.stash[_LEFT_OUT][name] += 1
            pytest.skip(f"{name} is not installed: make servers")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several (pytest-xdist) tells its count to the one that prints."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["left_out"] = dict(session.config.stash[_LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over the count of a process that has ended."""
    node.config.stash[_LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for each server whose tests were left out."""
    for name, count in config.stash[_LEFT_OUT].items():
        tests = "1 test" if count == 1 else f"{count} tests"
        terminalreporter.write_line(f"left out: {name}, {tests} (not installed: make servers)", yellow=True)


@pytest.fixture(scope="session", autouse=True)
def no_current_loop() -> None:
    """Tests without a loop of their own have none: else looptime asks for one, which is a warning, an error."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def real_clamd() -> Iterator[ClamdServer]:
    """A clamd with roomy limits for the whole session. Ask for it in tests marked `clamd` only."""
    with run_clamd() as server:
        yield server


@pytest.fixture(scope="session")
def real_c_icap(real_clamd: ClamdServer) -> Iterator[CIcapServer]:
    """A c-icap before `real_clamd` for the whole session. Ask for it in tests marked `clamd` and `c_icap` only."""
    with run_c_icap(Path(str(real_clamd.unix))) as server:
        yield server
