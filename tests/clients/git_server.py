"""A git repository served over HTTPS by git's own http-backend, through the scripted origin.

Rules of this file: the backend is the real one, run once a request as a CGI program (RFC 3875); objects are stored
uncompressed, because no engine looks into git's zlib streams.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.fakes.origin import Origin
from tests.fakes.origin_script import Reply, Request

_AUTHOR = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
_SMART = ("info/refs", "git-upload-pack", "git-receive-pack")


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, with no configuration but the repository's own; its output."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **_AUTHOR}
    done = subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, name: str, data: bytes) -> str:
    """Write a file, commit it, and tell the commit's id."""
    (folder / name).write_bytes(data)
    git(folder, "add", name)
    git(folder, "commit", "--quiet", "--message", name)
    return git(folder, "rev-parse", "HEAD")


def make_repository(folder: Path) -> Path:
    """An empty repository that others may fetch from and push to."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    for name, value in (
        ("core.compression", "0"),
        ("receive.denyCurrentBranch", "ignore"),
        ("http.receivepack", "true"),
    ):
        git(folder, "config", name, value)
    return folder


def serve_smart(origin: Origin, repository: Path) -> str:
    """Serve it by the smart protocol; returns the URL to clone from."""
    at = f"/{repository.name}"

    def answer(request: Request) -> Reply:
        return _run_backend(repository.parent, request)

    for name in _SMART:
        origin.serve(f"{at}/.git/{name}", answer)
    return origin.url(f"{at}/.git")


def serve_dumb(origin: Origin, repository: Path) -> str:
    """Serve it by the dumb protocol, as plain files."""
    git(repository, "update-server-info")
    root = repository / ".git"
    for path in root.rglob("*"):
        if path.is_file():
            origin.serve(f"/dumb/{repository.name}/{path.relative_to(root)}", Reply(steps=(path.read_bytes(),)))
    return origin.url(f"/dumb/{repository.name}")


def _run_backend(root: Path, request: Request) -> Reply:
    path, _, query = request.target.partition("?")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_USER": "test",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": request.header("Content-Type") or "",
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_CONTENT_ENCODING": request.header("Content-Encoding") or "",
        "GIT_PROTOCOL": request.header("Git-Protocol") or "",
        **_AUTHOR,
    }
    done = subprocess.run(
        ["git", "http-backend"], env=env, input=bytes(request.body), stdout=subprocess.PIPE, check=True
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    fields = [line.partition(": ") for line in head.decode().split("\r\n")]
    headers = [(name, value) for name, _, value in fields if name != "Status"]
    status = next((int(value[:3]) for name, _, value in fields if name == "Status"), 200)
    return Reply(status=status, headers=headers, steps=(body,))
