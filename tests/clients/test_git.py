"""git clones, fetches and pushes over HTTPS through the gateway; what is infected neither comes nor goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.git_server import commit, git, make_repository, serve_dumb, serve_smart
from tests.clients.programs import Run, run
from tests.fakes.origin import Origin
from tests.http import samples
from tests.http.policies import builtin, checked
from tests.http.proxy import Proxy

Gateway = Callable[[str], Proxy]
Served = Callable[[Origin, Path], str]

pytestmark = pytest.mark.git

BOTH = pytest.mark.parametrize("serve", [serve_smart, serve_dumb])


class Git:
    """git as a user behind the gateway has it: the proxy, and its authority trusted."""

    def __init__(self, proxy: Proxy, ca: str, home: Path) -> None:
        self._home = home
        self._settings = ["-c", f"http.proxy={proxy.address}", "-c", f"http.sslCAInfo={ca}"]

    def __call__(self, *words: str) -> Run:
        """Run it in the user's home."""
        env = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        return run(["git", *self._settings, *words], self._home, env)


@pytest.fixture
def user(gateway: Gateway, client_ca: str, tmp_path: Path) -> Git:
    """The user; mitmproxy's authority is there once the gateway runs."""
    (tmp_path / "home").mkdir()
    return Git(gateway(checked(builtin())), client_ca, tmp_path / "home")


@BOTH
def test_git_clones_and_fetches(user: Git, tls_origin: Origin, tmp_path: Path, serve: Served) -> None:
    """A clone has the served commit, and a fetch the next one; git checks every object's hash."""
    repository = make_repository(tmp_path / f"clean-{serve.__name__}")
    first = commit(repository, "data", samples.clean("git", 100_000))
    done = user("clone", "--quiet", serve(tls_origin, repository), "copy")
    assert done.exit == 0, done.output
    copy = tmp_path / "home/copy"
    assert git(copy, "rev-parse", "HEAD") == first
    second = commit(repository, "data", samples.clean("git again", 100_000))
    serve(tls_origin, repository)
    done = user("-C", "copy", "pull", "--quiet")
    assert (done.exit, git(copy, "rev-parse", "HEAD")) == (0, second), done.output
    assert git(copy, "fsck", "--strict") == ""


def test_git_pushes(user: Git, tls_origin: Origin, tmp_path: Path) -> None:
    """What is pushed, chunked because it is large, arrives at the server."""
    repository = make_repository(tmp_path / "pushed")
    commit(repository, "data", b"first")
    assert user("clone", "--quiet", serve_smart(tls_origin, repository), "copy").exit == 0
    pushed = commit(tmp_path / "home/copy", "more", samples.clean("git push", 1_500_000))
    done = user("-C", "copy", "push", "--quiet", "origin", "main")
    assert done.exit == 0, done.output
    assert git(repository, "rev-parse", "main") == pushed


@BOTH
def test_git_does_not_clone_what_is_infected(user: Git, tls_origin: Origin, tmp_path: Path, serve: Served) -> None:
    """A repository with EICAR in it gives a 403 and no clone."""
    repository = make_repository(tmp_path / f"infected-{serve.__name__}")
    commit(repository, "eicar.com", samples.EICAR)
    done = user("clone", "--quiet", serve(tls_origin, repository), "copy")
    assert done.exit == 128
    assert "403" in done.output
    assert not (tmp_path / "home/copy").exists()


def test_git_does_not_push_what_is_infected(user: Git, tls_origin: Origin, tmp_path: Path) -> None:
    """EICAR in a push is refused before the server sees a byte of the pack."""
    repository = make_repository(tmp_path / "push-infected")
    first = commit(repository, "data", b"first")
    assert user("clone", "--quiet", serve_smart(tls_origin, repository), "copy").exit == 0
    git(tmp_path / "home/copy", "config", "core.compression", "0")
    commit(tmp_path / "home/copy", "eicar.com", samples.EICAR)
    done = user("-C", "copy", "push", "--quiet", "origin", "main")
    assert done.exit != 0
    assert "403" in done.output
    assert git(repository, "rev-parse", "main") == first
    assert tls_origin.asked("/push-infected/.git/git-receive-pack") == []
