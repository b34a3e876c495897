"""Whatever breaks in the gateway, EICAR does not arrive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Framing, Reply
from tests.http import samples
from tests.http.curl import Curled, curl
from tests.http.policies import builtin, checked
from tests.http.proxy import ROOT, Proxy

AV = ROOT / "addons" / "av.py"
PACKAGES = ("addons", "inspection", "scanners", "policy")
OwnGateway = Callable[..., Proxy]

HOOKS = (
    "requestheaders",
    "request",
    "responseheaders",
    "response",
    "error",
    "websocket_message",
    "client_disconnected",
    "client_connected",
    "server_connect",
    "av_pump",
)

RAISING = """
import os
from mitmproxy import ctx

HOOK = os.environ["RAISING_HOOK"]

def fail(*args):
    raise RuntimeError(f"{HOOK} fails on purpose")

def running():
    # Every object of ours in the chain loses this hook: what it does by itself must not be what protects.
    for addon in ctx.master.addons.lookup.values():
        for owner in (addon, *getattr(addon, "addons", ())):
            if type(owner).__module__.startswith("addons.") and hasattr(owner, HOOK):
                setattr(owner, HOOK, fail)
                print(f"broken: {HOOK} of {owner!r}", flush=True)
    print("sabotage done", flush=True)
"""


def script(folder: Path, name: str, text: str) -> Path:
    """A second addon script."""
    file = folder / name
    file.write_text(textwrap.dedent(text))
    return file


def assert_nothing_leaks(proxy: Proxy, origin: Origin, name: str) -> list[Curled]:
    """EICAR, small, large, zipped, without a length, or as an upload does not arrive."""
    large = samples.infected(name, 400_000)
    bodies = {"eicar": samples.EICAR, "large": large, "zip": samples.zipped()}
    got = []
    for kind, data in bodies.items():
        for framing in (Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE):
            url = origin.serve(f"/{name}/{kind}-{framing}", Reply(steps=(data,), framing=framing))
            got.append(curl(proxy, url, "--max-time", "8"))
            assert data[-68:] not in got[-1].body
            assert not data.startswith(got[-1].body) or not got[-1].body
    path = f"/{name}/upload"
    curl(proxy, origin.serve(path, Reply()), "--data-binary", samples.EICAR.decode(), "--max-time", "8")
    assert all(samples.EICAR not in e.request.body for e in origin.asked(path))
    return got


@pytest.mark.parametrize("hook", HOOKS)
def test_a_raising_hook_lets_nothing_through(
    own_gateway: OwnGateway, origin: Origin, tmp_path: Path, hook: str
) -> None:
    """With any one hook of the addon raising, unchecked bodies stay where they are."""
    saboteur = script(tmp_path, "raising.py", RAISING)
    proxy = own_gateway(checked(builtin()), scripts=(AV, saboteur), env={"RAISING_HOOK": hook})
    proxy.wait_for_line("sabotage done")
    assert_nothing_leaks(proxy, origin, f"raising-{hook}")


def test_another_addon_that_raises_changes_nothing(own_gateway: OwnGateway, origin: Origin, tmp_path: Path) -> None:
    """A foreign script that raises in every hook leaves checking as it is; before ours it stops everything,
    since mitmproxy then calls no later script."""
    text = "\n".join(f"def {hook}(*args): raise RuntimeError('foreign')" for hook in HOOKS[:5])
    foreign = script(tmp_path, "foreign.py", text)
    assert_nothing_leaks(own_gateway(checked(builtin()), scripts=(foreign, AV)), origin, "foreign-first")
    proxy = own_gateway(checked(builtin()), scripts=(AV, foreign))
    got = assert_nothing_leaks(proxy, origin, "foreign")
    assert {g.status for g in got} == {403}
    clean = samples.clean("foreign", 1000)
    assert curl(proxy, origin.serve("/foreign/clean", Reply(steps=(clean,)))).body == clean


def test_another_addon_that_asks_for_streaming_gets_none(
    own_gateway: OwnGateway, origin: Origin, tmp_path: Path
) -> None:
    """A foreign script that sets `stream` on every message cannot wave a body through."""
    text = """
        def requestheaders(flow): flow.request.stream = True
        def responseheaders(flow): flow.response.stream = True
    """
    foreign = script(tmp_path, "streaming.py", text)
    for number, order in enumerate(((AV, foreign), (foreign, AV))):
        proxy = own_gateway(checked(builtin()), scripts=order)
        assert_nothing_leaks(proxy, origin, f"streaming{number}")


def test_stream_large_bodies_waves_nothing_through(own_gateway: OwnGateway, origin: Origin) -> None:
    """mitmproxy's own option for streaming does not bypass the check."""
    proxy = own_gateway(checked(builtin()), "stream_large_bodies=1")
    assert_nothing_leaks(proxy, origin, "stream-large")


@pytest.fixture
def copied_av(tmp_path: Path) -> Path:
    """The entry script in a copy of the tree, to be broken."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / "copy" / package, ignore=ignored)
    return tmp_path / "copy" / "addons" / "av.py"


def touch_later(file: Path) -> None:
    """Make the file newer than any watcher has seen, whatever the clock's resolution."""
    stat = file.stat()
    os.utime(file, (stat.st_atime, stat.st_mtime + 5))


BREAKS = {
    "syntax error": "\ndef (\n",
    "raise": "\nraise RuntimeError('broken on purpose')\n",
    "missing import": "\nimport there_is_no_such_module\n",
    "exit": "\nraise SystemExit(1)\n",
    "no addons": "\naddons = []\n",
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_script_broken_by_a_hot_reload_lets_nothing_through(
    own_gateway: OwnGateway, origin: Origin, copied_av: Path, how: str
) -> None:
    """An edit that unloads the addon leaves a gateway that checks or refuses."""
    proxy = own_gateway(checked(builtin()), scripts=(copied_av,))
    bad = origin.serve("/reload/before", Reply(steps=(samples.EICAR,)))
    assert curl(proxy, bad).status == 403
    since = len(proxy.lines)
    copied_av.write_text(copied_av.read_text() + BREAKS[how])
    touch_later(copied_av)
    proxy.wait_for_line("Loading script", since=since)
    # The reload has begun; whether it is over when the first request comes must not matter.
    for turn in range(2):
        assert_nothing_leaks(proxy, origin, f"reload-{how.replace(' ', '-')}-{turn}")


def test_a_deleted_script_lets_nothing_through(own_gateway: OwnGateway, origin: Origin, copied_av: Path) -> None:
    """When the entry script is deleted, mitmproxy unloads it and the bodies stay where they are."""
    proxy = own_gateway(checked(builtin()), scripts=(copied_av,))
    copied_av.unlink()
    proxy.wait_for_line("Removing script")
    assert_nothing_leaks(proxy, origin, "deleted")


def test_a_good_hot_reload_goes_on_checking(own_gateway: OwnGateway, origin: Origin, copied_av: Path) -> None:
    """After a reload of an unbroken script clean passes, infected does not, and no hook runs twice."""
    proxy = own_gateway(checked(builtin()), scripts=(copied_av,))
    since = len(proxy.lines)
    copied_av.write_text(copied_av.read_text() + "\n")
    touch_later(copied_av)
    proxy.wait_for_line("Loading script", since=since)
    proxy.wait_for_line(r"ready http-proxy", since=since)
    assert {g.status for g in assert_nothing_leaks(proxy, origin, "good-reload")} == {403}
    clean = samples.clean("good reload", 1000)
    url = origin.serve("/good-reload/clean", Reply(steps=(clean,)))
    assert curl(proxy, url).body == clean
    proxy.record_of(url)
    assert len(proxy.records_of(url)) == 1


THROWING = """
import importlib, os
from mitmproxy import ctx

async def fail(*args, **kwargs):
    raise RuntimeError("this engine throws on purpose")

def running():
    module, _, owner = os.environ["THROWING"].partition(":")
    place = importlib.import_module(module)
    *path, name = owner.split(".")
    for part in path:
        place = getattr(place, part)
    assert hasattr(place, name)
    setattr(place, name, fail)
    print("sabotage done", flush=True)
"""

THROWERS = (
    "scanners.antivirus:Antivirus.check",
    "inspection.inspect_object:check_document",
    "inspection.inspect_object:Inspector.inspect",
)


@pytest.mark.parametrize("thrower", THROWERS)
def test_an_engine_that_throws_is_an_error(
    own_gateway: OwnGateway, origin: Origin, tmp_path: Path, thrower: str
) -> None:
    """An exception out of the scanning code is status `error` and 503, for clean bodies too."""
    saboteur = script(tmp_path, "throwing.py", THROWING)
    proxy = own_gateway(checked(builtin()), scripts=(AV, saboteur), env={"THROWING": thrower})
    proxy.wait_for_line("sabotage done")
    got = assert_nothing_leaks(proxy, origin, "throwing-" + thrower.rpartition(".")[2])
    assert {(g.status, g.headers.get("x-sluice-status")) for g in got} == {(503, "error")}
    url = origin.serve("/throwing/clean", Reply(steps=(samples.clean(thrower, 500),)))
    assert curl(proxy, url).status == 503


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_spool_disk_is_an_error(own_gateway: OwnGateway, origin: Origin, tiny_disk: Path) -> None:
    """Where the spool has no room the object is a 503, nothing is left over, and the next one passes."""
    top = f"spool: {{directory: {tiny_disk}, memory: 64KiB}}\n"
    proxy = own_gateway(checked(builtin(), top=top))
    assert_full_is_an_error(proxy, origin, "disk")
    assert list(tiny_disk.iterdir()) == []


def test_a_file_size_limit_is_an_error(own_gateway: OwnGateway, origin: Origin) -> None:
    """The same where the system refuses a larger file (RLIMIT_FSIZE), which also sends SIGXFSZ."""
    prefix = ("prlimit", f"--fsize={1 << 20}", "--")
    proxy = own_gateway(checked(builtin(), top="spool: {memory: 64KiB}\n"), prefix=prefix)
    assert_full_is_an_error(proxy, origin, "fsize")


@pytest.mark.parametrize("cap", ["max-object: 1MiB", "max-object: 1MiB, max-total: 1MiB"])
def test_a_spool_cap_is_an_error(own_gateway: OwnGateway, origin: Origin, cap: str) -> None:
    """An object over the policy's own caps is refused in the same way."""
    proxy = own_gateway(checked(builtin(), top=f"spool: {{memory: 64KiB, {cap}}}\n"))
    assert_full_is_an_error(proxy, origin, f"cap-{len(cap)}")


def assert_full_is_an_error(proxy: Proxy, origin: Origin, name: str) -> None:
    """Objects of 3 MB, infected and clean, both directions, are 503; a small one afterwards is checked."""
    clean = samples.clean(name, 3_000_000)
    for kind, data in (("bad", samples.infected(name, 3_000_000)), ("clean", clean)):
        for framing in (Framing.LENGTH, Framing.CHUNKED):
            url = origin.serve(f"/full/{name}/{kind}-{framing}", Reply(steps=(data,), framing=framing))
            got = curl(proxy, url)
            assert (got.status, got.headers.get("x-sluice-status")) == (503, "error")
            record = proxy.record_of(url)
            assert (record["status"], record["reason"]) == ("error", "antivirus-error")
    small = origin.serve(f"/full/{name}/small", Reply(steps=(b"small",)))
    assert curl(proxy, small).body == b"small"
    infected = origin.serve(f"/full/{name}/eicar", Reply(steps=(samples.EICAR,)))
    assert curl(proxy, infected).status == 403
    assert proxy.spool_files() == []
    assert proxy.crashes() == []


def test_a_policy_that_breaks_on_reload_stays_in_force(own_gateway: OwnGateway, origin: Origin, tmp_path: Path) -> None:
    """SIGHUP with a broken policy is logged and the old one rules; with a good one the new one does."""
    proxy = own_gateway(checked(builtin()))
    file = tmp_path / "policy.yaml"
    for broken in ("http-proxy: [", "http-proxy: {HTTP: {doc-acl: []}}\n", ""):
        file.write_text(broken)
        since = len(proxy.lines)
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_line("policy.yaml", since=since)
        assert {g.status for g in assert_nothing_leaks(proxy, origin, f"hup-{len(broken)}")} == {403}
        clean = samples.clean(f"hup {broken}", 500)
        assert curl(proxy, origin.serve(f"/hup/{len(broken)}", Reply(steps=(clean,)))).body == clean
    assert proxy.crashes() == []


def test_a_good_policy_takes_over_on_reload(own_gateway: OwnGateway, origin: Origin, tmp_path: Path) -> None:
    """After SIGHUP new requests are judged by the new policy."""
    proxy = own_gateway(checked(builtin()))
    url = origin.serve("/hup/new", Reply(steps=(samples.clean("hup new", 500),)))
    assert curl(proxy, url).status == 200
    deny = '- name: CLOSED\n  when: {url: "*/hup/new*"}\n  action: deny\n'
    (tmp_path / "policy.yaml").write_text(checked(builtin(), before=deny))
    proxy.signal(signal.SIGHUP)
    got = proxy.wait_until(lambda: next((g for g in [curl(proxy, url)] if g.status == 403), None), "a 403")
    assert "CLOSED" in got.text
    proxy.wait_until(lambda: proxy.record_of(url)["acl"] == "CLOSED", "a record of the new ACL")


def test_a_policy_that_does_not_load_is_no_start(own_gateway: OwnGateway) -> None:
    """A broken policy at the start ends the process instead of running without one."""
    with pytest.raises(AssertionError, match=r"ended: True"):
        own_gateway("http-proxy: {HTTP: {doc-acl: []}}\n")
