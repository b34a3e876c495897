"""`avsluice run`: a gateway set up by its policy alone."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply, drip
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import builtin, checked
from tests.http.proxy import ROOT, Proxy
from tests.http.run_proxy import RunProxy
from tests.http.test_client_gone import wait_until
from tests.http.wire import ask, connect, read_reply, take

Runner = Callable[..., Proxy]

POLICY = checked(builtin()).replace("127.0.0.1:8080", "127.0.0.1:0")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The policy, on a free port."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def runner(file: Path, tmp_path: Path) -> Iterator[Runner]:
    """Starts `avsluice run` for this test, with further words."""
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(RunProxy(file, tmp_path, *words))


def fail(file: Path, home: Path, *words: str) -> tuple[int, str]:
    """Exit status and standard error of a run that does not begin."""
    command = [sys.executable, "-m", "avsluice", "run", str(file), *words]
    env = {"HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_it_checks_and_says_little(runner: Runner, origin: Origin) -> None:
    """Clean bodies pass, EICAR does not; the output is the ready line and one record an object, nothing else."""
    proxy, data = runner(), samples.clean("run", 10_000)
    url = origin.serve("/run/clean", Reply(steps=(data,)))
    bad = origin.serve("/run/eicar", Reply(steps=(samples.EICAR,)))
    assert curl(proxy, url).body == data
    assert curl(proxy, bad).status == 403
    assert proxy.record_of(bad)["proxy"] == "http-proxy.HTTP"
    proxy.record_of(url)
    assert proxy.stop() == 0
    told = [line for line in proxy.lines if not line.startswith("{")]
    assert told[0] == f"ready http-proxy.HTTP 127.0.0.1:{proxy.port}"
    assert len(told) <= 2, told  # and that it ends
    assert len(proxy.records) == 2


def test_it_drains(runner: Runner, origin: Origin) -> None:
    """SIGTERM amid a transfer: it arrives whole, the process ends with 0."""
    proxy, data = runner(), samples.clean("run drain", 5000)
    url = origin.serve("/run/drain", Reply(steps=drip(data, 4, 0.3)))
    with connect(proxy) as client:
        client.sendall(ask(url, absolute=True))
        assert wait_until(lambda: bool(origin.asked("/run/drain")), 5)
        proxy.signal(signal.SIGTERM)
        assert read_reply(client).body == data
    assert proxy.wait(5) == 0
    assert proxy.record_of(url)["action"] == "accept"


def test_it_reloads(runner: Runner, file: Path, origin: Origin) -> None:
    """SIGHUP puts a changed policy in force; a broken one is told and changes nothing."""
    proxy = runner()
    url = origin.serve("/run/reload", Reply(steps=(b"clean",)))
    assert curl(proxy, url).status == 200
    file.write_text(POLICY.replace("antivirus: [AV]", "action: deny"))
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_line("new policy is in force")
    assert curl(proxy, url).status == 403
    file.write_text("http-proxy: [broken")
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_line("the old one stays in force")
    assert curl(proxy, url).status == 403


def test_an_address_that_is_taken_ends_it(file: Path, tmp_path: Path) -> None:
    """Exit status 2, and the address in the message."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file.write_text(POLICY.replace("127.0.0.1:0", address))
        status, told = fail(file, tmp_path, "--allow-root")
    assert (status, address in told) == (2, True), told


def test_an_engine_that_is_missing_ends_it(file: Path, tmp_path: Path) -> None:
    """`require-real-engine` with the built-in one: exit status 2, and why."""
    file.write_text("require-real-engine: true\n" + POLICY)
    status, told = fail(file, tmp_path, "--allow-root")
    assert (status, "require-real-engine" in told, "ready" in told) == (2, True, False), told


def test_an_unknown_option_ends_it(file: Path, tmp_path: Path) -> None:
    """As does one that the policy rules."""
    for setting in ("no_such_option=1", "listen_port=1", "av_drain=soon"):
        status, told = fail(file, tmp_path, "--allow-root", "--set", setting)
        assert (status, setting.split("=")[0] in told, "Traceback" in told) == (2, True, False), told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to a user")
def test_it_drops_to_the_user_of_the_policy(runner: Runner, file: Path) -> None:
    """All ids are the user's by the time it is ready; a user who is not there ends it."""
    file.write_text(checked(builtin(), gateway="user: nobody\n").replace("127.0.0.1:8080", "127.0.0.1:0"))
    status = Path(f"/proc/{runner().pid}/status").read_text()
    nobody = pwd.getpwnam("nobody")
    assert re.findall(r"^Uid:(.*)", status, re.M)[0].split() == [str(nobody.pw_uid)] * 4
    assert re.findall(r"^Gid:(.*)", status, re.M)[0].split() == [str(nobody.pw_gid)] * 4
    assert re.findall(r"^Groups:(.*)", status, re.M)[0].split() == [str(nobody.pw_gid)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_it_does_not_run_as_root_unasked(file: Path, tmp_path: Path) -> None:
    """Neither a user in the policy nor --allow-root: exit status 2."""
    status, told = fail(file, tmp_path)
    assert (status, "--allow-root" in told) == (2, True), told


def test_a_server_behind_it_makes_it_a_reverse_proxy(runner: Runner, file: Path, origin: Origin) -> None:
    """The policy's `server` is asked, whatever name the client used, and its answers are checked."""
    server = f"server: 127.0.0.1:{origin.port}\n"
    file.write_text(checked(builtin(), gateway=server).replace("127.0.0.1:8080", "127.0.0.1:0"))
    origin.serve("/run/behind", Reply(steps=(b"behind",)))
    origin.serve("/run/behind/eicar", Reply(steps=(samples.EICAR,)))
    proxy = runner()
    with connect(proxy) as client:
        assert take(client, ask("http://www.example.org/run/behind", absolute=False)).body == b"behind"
    with connect(proxy) as client:
        assert take(client, ask("http://www.example.org/run/behind/eicar", absolute=False)).status == 403
