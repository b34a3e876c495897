"""`avsluice run` in several processes: http-proxies, workers, their parent, and what systemd hears."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import indent

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Break, Reply, drip
from tests.http import samples
from tests.http.curl import curl
from tests.http.policies import builtin
from tests.http.processes import Door, command_line, is_there, refuses, served, workers
from tests.http.run_proxy import RunProxy
from tests.http.test_client_gone import wait_until
from tests.http.test_run import fail
from tests.http.wire import ask, connect, connect_tls, read_reply, take

Runner = Callable[..., RunProxy]


def policy(**gateways: str) -> str:
    """Http-proxies by name, with further items, in which everything is checked."""
    rules = "doc-acl: [{name: CHECKED, antivirus: [AV], interval: 200ms, chunk: 2000}]\n"
    text = builtin() + "http-proxy:\n"
    for name, more in gateways.items():
        listen = "" if "listen" in more else "listen: 127.0.0.1:0\n"
        text += f"  {name}:\n" + indent(listen + rules + more, "    ")
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The policy: two http-proxies, A and B."""
    path = tmp_path / "policy.yaml"
    path.write_text(policy(A="", B=""))
    return path


@pytest.fixture
def runner(file: Path, tmp_path: Path) -> Iterator[Runner]:
    """Starts `avsluice run` for this test, with further words."""
    with ExitStack() as stack:
        yield lambda *words, **more: stack.enter_context(RunProxy(file, tmp_path, *words, **more))


def door(run: RunProxy, name: str) -> Door:
    """Where that http-proxy accepts, once it does."""
    line = run.wait_for_line(rf"^ready http-proxy\.{name} ", timeout=20)
    return Door(int(line.rpartition(":")[2]))


def test_two_gateways_of_two_workers_each(runner: Runner, file: Path, origin: Origin) -> None:
    """All four take requests and block, each gateway is announced once, records stay whole, and all reload."""
    run = runner("--workers", "2")
    doors = {name: door(run, name) for name in "AB"}
    data = samples.clean("several", 10_000)
    url = origin.serve("/several/clean", Reply(steps=(data,)))
    bad = origin.serve("/several/eicar", Reply(steps=(samples.EICAR,)))
    for name, at in doors.items():
        hands = [pid for pid in workers(run.pid) if f"--only http-proxy.{name} " in command_line(pid)]
        with ExitStack() as stack:
            clients = []
            while not all(served(pid, at.port) for pid in hands):
                assert len(clients) < 40, hands
                clients.append(stack.enter_context(connect(at)))
                assert take(clients[-1], ask(url, absolute=True)).body == data
            assert len(hands) == 2
            assert {take(client, ask(bad, absolute=True)).status for client in clients} == {403}
            run.wait_until(lambda: len(run.records_of(bad)) >= len(clients), "all records")  # noqa: B023 - waited for here
        assert {record["proxy"] for record in run.records} == {f"http-proxy.{name}"}
        run.records.clear()
    ready = [line.rpartition(":")[0] for line in run.lines if line.startswith("ready")]
    assert sorted(ready) == ["ready http-proxy.A 127.0.0.1", "ready http-proxy.B 127.0.0.1"]

    since = len(run.lines)
    file.write_text("http-proxy: [broken")
    run.signal(signal.SIGHUP)
    kept = "the old one stays in force"
    run.wait_until(lambda: len([line for line in run.lines[since:] if kept in line]) == 4, "four refusals")
    assert curl(doors["B"], bad).status == 403
    assert curl(doors["B"], url).body == data
    file.write_text(policy(A="listen: 127.0.0.1:1\nserver: 192.0.2.1:80\n", B=""))
    run.signal(signal.SIGHUP)
    for name in ("listen", "server"):
        run.wait_for_line(rf"WARNING http-proxy\.A: {name} has changed: that needs a restart", since=since)
    assert curl(doors["A"], url).body == data
    assert not [line for line in run.lines if "http-proxy.B" in line and "has changed" in line]
    assert [line for line in run.lines if line.startswith("{") and not line.endswith("}")] == []


def test_all_workers_have_one_authority(
    runner: Runner, file: Path, tmp_path: Path, tls_origin: Origin, confdir: Path
) -> None:
    """Where none was there before: all make certificates that the file of the one authority vouches for."""
    file.write_text(policy(A=""))
    run = runner("--workers", "3", "--set", f"ssl_verify_upstream_trusted_ca={confdir / 'upstream.pem'}")
    at = door(run, "A")
    url = tls_origin.serve("/several/tls", Reply(steps=(b"clean",)))
    ca = str(tmp_path / ".mitmproxy" / "mitmproxy-ca-cert.pem")
    hands = workers(run.pid)
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(connect_tls(at, url, ca))
            assert take(client, ask(url, absolute=False)).body == b"clean"
            if all(served(pid, at.port) for pid in hands):
                break
        assert [bool(served(pid, at.port)) for pid in hands] == [True] * 3


def test_an_interrupt_drains_all(runner: Runner, origin: Origin) -> None:
    """Ctrl-C, which a terminal sends to everybody: the transfer arrives whole, nobody is left, exit 0."""
    run, data = runner(), samples.clean("several drain", 5000)
    doors = {name: door(run, name) for name in "AB"}
    pids = workers(run.pid)
    url = origin.serve("/several/drain", Reply(steps=drip(data, 4, 0.3)))
    with connect(doors["B"]) as client:
        client.sendall(ask(url, absolute=True))
        assert wait_until(lambda: bool(origin.asked("/several/drain")), 5)
        os.killpg(run.pid, signal.SIGINT)
        assert wait_until(lambda: refuses(doors["A"].port), 5)
        assert read_reply(client).body == data
    assert run.wait(10) == 0
    assert len(pids) == 2
    assert not any(is_there(pid) for pid in pids)
    assert run.record_of(url)["action"] == "accept"


def test_a_second_signal_cuts(runner: Runner, origin: Origin) -> None:
    """A transfer that does not end: the client sees it cut, and the run ends with 0."""
    run = runner()
    at = door(run, "B")
    door(run, "A")
    url = origin.serve("/several/now", Reply(steps=(samples.clean("now", 50_000), Break.STALL, b"end")))
    with connect(at) as client:
        client.sendall(ask(url, absolute=True))
        assert wait_until(lambda: bool(origin.asked("/several/now")), 5)
        run.signal(signal.SIGTERM)
        run.wait_for_line("no new connections")
        run.signal(signal.SIGTERM)
        assert read_reply(client).ended != "whole"
    assert run.wait(10) == 0


def test_a_worker_that_dies_ends_all(runner: Runner, origin: Origin) -> None:
    """It is told which; the transfer of the other arrives whole; exit 1."""
    run, data = runner(), samples.clean("several dead", 5000)
    at, _ = door(run, "B"), door(run, "A")
    victim = next(pid for pid in workers(run.pid) if "http-proxy.A" in command_line(pid))
    url = origin.serve("/several/dead", Reply(steps=drip(data, 4, 0.3)))
    with connect(at) as client:
        client.sendall(ask(url, absolute=True))
        assert wait_until(lambda: bool(origin.asked("/several/dead")), 5)
        os.kill(victim, signal.SIGKILL)
        run.wait_for_line(rf"ERROR http-proxy\.A \(process {victim}\) ended unasked, by SIGKILL")
        assert read_reply(client).body == data
    assert run.wait(10) == 1


def test_a_parent_that_is_killed_takes_its_workers_along(runner: Runner, origin: Origin) -> None:
    """Their clients see a failure, and each transfer leaves its record."""
    run = runner()
    at, _ = door(run, "B"), door(run, "A")
    pids = workers(run.pid)
    url = origin.serve("/several/orphan", Reply(steps=(samples.clean("orphan", 50_000), Break.STALL, b"end")))
    with connect(at) as client:
        client.sendall(ask(url, absolute=True))
        assert client.recv(1, socket.MSG_PEEK)  # the trickle has begun
        run.signal(signal.SIGKILL)
        assert read_reply(client).ended != "whole"
    assert len(pids) == 2
    assert wait_until(lambda: not any(is_there(pid) for pid in pids), 10)
    assert run.record_of(url)["action"] == "cut"


def test_all_or_none(file: Path, tmp_path: Path) -> None:
    """An address of one gateway is taken: exit status 2, the address is named, and the other does not run."""
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        ports = [one.getsockname()[1] for one in (free, taken)]
        file.write_text(policy(A=f"listen: 127.0.0.1:{ports[0]}\n", B=f"listen: 127.0.0.1:{ports[1]}\n"))
        free.close()
        for words in ((), ("--workers", "2")):
            status, told = fail(file, tmp_path, "--allow-root", *words)
            assert (status, f"127.0.0.1:{ports[1]}" in told, "Traceback" in told) == (2, True, False), told
            assert refuses(ports[0])


def test_an_address_of_workers_is_not_shared_with_strangers(runner: Runner, file: Path, tmp_path: Path) -> None:
    """A second run with workers of its own does not steal half of the connections: exit status 2."""
    file.write_text(policy(A=""))
    at = door(runner("--workers", "2"), "A")
    file.write_text(policy(A=f"listen: 127.0.0.1:{at.port}\n"))
    status, told = fail(file, tmp_path, "--allow-root", "--workers", "2")
    assert (status, f"127.0.0.1:{at.port}" in told) == (2, True), told


@pytest.mark.parametrize("count", ["0", "-1", "x", "257", "1.5"])
def test_workers_are_counted(file: Path, tmp_path: Path, count: str) -> None:
    """What is no number of processes is refused, and told what would be one."""
    status, told = fail(file, tmp_path, "--allow-root", f"--workers={count}")
    assert (status, "1 to 256" in told) == (2, True), told


MAIL = """\
smtp-proxy:
  S: &mail
    listen: 127.0.0.1:0
    server: 127.0.0.1:9
    use-antivirus: [AV]
    mail-acl: [{name: ALL, action: accept}]
    doc-acl: [{name: ALL, action: accept}]
  T: *mail
"""


@pytest.mark.parametrize("count", [1, 2])
def test_other_gateways_share_a_process(runner: Runner, file: Path, count: int) -> None:
    """Beside that of HTTP; both are announced, accept, reload, and end with 0."""
    file.write_text(policy(A="") + MAIL)
    run = runner("--workers", str(count))
    door(run, "A")
    ports = [int(run.wait_for_line(rf"^ready smtp-proxy\.{name} ").rpartition(":")[2]) for name in "ST"]
    words = [command_line(pid) for pid in workers(run.pid)]
    assert ["--only smtp-proxy.S smtp-proxy.T " in one for one in words] == [False] * count + [True] * count
    for port in ports:
        socket.create_connection(("127.0.0.1", port), 5).close()
    since = len(run.lines)
    file.write_text((policy(A="") + MAIL).replace("127.0.0.1:0\n    server", "127.0.0.1:2525\n    server"))
    run.signal(signal.SIGHUP)
    for name in "ST":
        run.wait_for_line(rf"smtp-proxy\.{name}: listen has changed: that needs a restart", since=since)
    run.signal(signal.SIGTERM)
    assert run.wait(10) == 0
    assert run.crashes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to a user")
def test_all_drop_to_the_user_of_the_policy(runner: Runner, file: Path) -> None:
    """The parent too, where nobody needs more of it."""
    file.write_text(policy(A="user: nobody\n", B="user: nobody\n"))
    run = runner()
    door(run, "A"), door(run, "B")
    uid = str(pwd.getpwnam("nobody").pw_uid)
    for pid in (run.pid, *workers(run.pid)):
        told = Path(f"/proc/{pid}/status").read_text()
        assert re.findall(r"^Uid:(.*)", told, re.M)[0].split() == [uid] * 4
    assert run.stop() == 0


class Systemd:
    """Listens as systemd does, and remembers what it was told and when."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0"))
        self.address = address

    def hear(self, timeout: float = 20) -> dict[str, str]:
        """The next message."""
        self._socket.settimeout(timeout)
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def hear_until(self, key: str, timeout: float = 20) -> dict[str, str]:
        """The next message with that key; the watchdog's are left aside."""
        until = time.monotonic() + timeout
        while key not in (message := self.hear(max(0.01, until - time.monotonic()))):
            assert set(message) == {"WATCHDOG"}, message
        return message

    def close(self) -> None:
        """Nobody listens any more."""
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """At a path; tests of abstract names make their own."""
    listener = Systemd(str(tmp_path / "notify"))
    yield listener
    listener.close()


def test_systemd_hears_all_of_it(runner: Runner, systemd: Systemd) -> None:
    """READY once both accept, RELOADING and READY, a watchdog that a stuck worker stops, STOPPING."""
    run = runner(more={"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "800000"})
    told = systemd.hear_until("READY")
    assert all(f"http-proxy.{name} 127.0.0.1:{door(run, name).port}" in told["STATUS"] for name in "AB")
    systemd.hear_until("WATCHDOG", 10)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    run.signal(signal.SIGHUP)
    assert int(systemd.hear_until("RELOADING", 5)["MONOTONIC_USEC"]) >= before
    systemd.hear_until("READY", 10)
    victim = workers(run.pid)[1]
    os.kill(victim, signal.SIGSTOP)
    try:
        run.wait_for_line(rf"process {victim}\) has not been heard")
        _forget(systemd)
        since = len(run.lines)
        run.wait_for_line(rf"process {victim}\) has not been heard", since=since)
        with pytest.raises(TimeoutError):
            systemd.hear(0.1)
    finally:
        os.kill(victim, signal.SIGCONT)
    systemd.hear_until("WATCHDOG", 5)
    run.signal(signal.SIGTERM)
    systemd.hear_until("STOPPING", 5)
    assert run.wait(10) == 0


def _forget(systemd: Systemd) -> None:
    """What was sent before."""
    try:
        while True:
            systemd.hear(0.001)
    except (TimeoutError, BlockingIOError):
        return


def test_systemd_hears_of_a_single_process(runner: Runner, file: Path) -> None:
    """The same where no parent is needed, under an abstract name; a broken reload ends in READY, too."""
    file.write_text(policy(A=""))
    systemd = Systemd(f"@sluice-test-{os.getpid()}")
    try:
        run = runner(more={"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "800000"})
        assert workers(run.pid) == []
        assert systemd.hear_until("READY")["STATUS"] == f"http-proxy.A 127.0.0.1:{run.port}"
        systemd.hear_until("WATCHDOG", 10)
        for text in ("http-proxy: [broken", policy(A="")):
            file.write_text(text)
            run.signal(signal.SIGHUP)
            systemd.hear_until("RELOADING", 5)
            systemd.hear_until("READY", 10)
        run.signal(signal.SIGTERM)
        systemd.hear_until("STOPPING", 5)
        assert run.wait(10) == 0
    finally:
        systemd.close()
