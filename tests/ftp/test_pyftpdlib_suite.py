"""pyftpdlib's own suite, through a gateway before the server it was written for: the outcomes are those of direct runs.

Rules of this file: what ends otherwise is listed with its reason; a case that is listed and passes fails here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ftp.gateway import FtpGateway
from tests.ftp.policies import policy, proxy
from tests.http.proxy import ROOT
from tests.real.ftp_server import free_port

CLASSES = (
    "TestFtpAuthentication",
    "TestFtpDummyCmds",
    "TestFtpCmdsSemantic",
    "TestFtpFsOperations",
    "TestFtpStoreData",
    "TestFtpRetrieveData",
    "TestFtpListingCmds",
    "TestFtpAbort",
)

_IN_TURN = "a command during a transfer is answered after it; the suite waits for the answer before it goes on"
_LAID_FIRST = "the suite asks for a transfer first and opens the data connection afterwards: here that is a 425"

INTENDED: dict[str, str] = {
    "TestFtpAuthentication::test_rein_during_transfer": _IN_TURN,
    "TestFtpAuthentication::test_user_during_transfer": _IN_TURN,
    "TestFtpDummyCmds::test_rest": "REST is offered in TYPE A, too, and counts what travels",
    "TestFtpDummyCmds::test_type": "TYPE L 7 is refused: bytes have eight bits on both sides",
    "TestFtpStoreData::test_quit_during_transfer": _IN_TURN,
    "TestFtpStoreData::test_stou": _LAID_FIRST,
    "TestFtpStoreData::test_stou_orphaned_file": _LAID_FIRST,
}
"""Cases that fail through the gateway, with the reason."""


def run_suite(server: int, client: int, folder: Path) -> dict[str, str]:
    """Outcomes by case."""
    chosen = [f"pyftpdlib.test.test_functional::{name}" for name in CLASSES]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--pyargs",
        *chosen,
        "-v",
        "--timeout=20",
        "--color=no",
        "-c",
        "none.ini",
    ]
    command += ["-p", "tests.ftp.pyftpdlib_plugin", "-p", "no:cacheprovider"]
    (folder / "none.ini").write_text("[pytest]\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "AVSLUICE"))}
    env = {**kept, "PYTHONPATH": str(ROOT), "AVSLUICE_SUITE_PORTS": f"{server}:{client}"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=110)
    found = re.findall(r"::(\w+::\w+) (PASSED|FAILED|ERROR|SKIPPED)", done.stdout)
    assert found, done.stdout + done.stderr
    return {case: outcome for case, outcome in found if case.split("::")[0] in CLASSES}


@pytest.mark.slow
def test_the_suite_of_pyftpdlib(own_gateway: Callable[..., FtpGateway], tmp_path: Path) -> None:
    """Each of its cases about logins, commands, files, listings and aborts ends as it does without a gateway."""
    server = free_port()
    running = own_gateway(policy(proxy(server)))
    direct = run_suite(server, server, tmp_path)
    through = run_suite(server, running.port, tmp_path)
    assert set(direct) == set(through)
    differing = {case for case in direct if direct[case] != through[case]}
    assert differing == set(INTENDED)
    assert list(direct.values()).count("PASSED") > 60
    assert running.crashes() == []
