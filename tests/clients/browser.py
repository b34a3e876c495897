"""Debian's Chromium without a window: started with nothing of its own, and pages in it behind a gateway.

Rules of this file: the profile is new and empty; what the browser wants for itself ends at a port where nobody
listens, only the pages of a context with a gateway have a way out; it is ended by its own process group.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.devtools import DevTools, Message
from tests.clients.programs import find_chromium
from tests.http.proxy import Proxy

_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--proxy-server=http://127.0.0.1:9",  # the port named discard: nobody is there
    "--proxy-bypass-list=<-loopback>",
    "--remote-debugging-port=0",
)
_START_WITHIN = 30.0  # seconds


class Chromium:
    """A running browser. A context manager: the process and its profile are gone at its end."""

    def __enter__(self) -> Chromium:
        self._profile = Path(tempfile.mkdtemp(prefix="chromium-", dir="/tmp"))
        command = [str(find_chromium()), *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG")} | {"HOME": str(self._profile)}
        with (self._profile / "output").open("wb") as output:
            self._process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            self.tools = DevTools(self._await_address())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.tools.close()
        self._end()

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _await_address(self) -> str:
        """Chromium writes port and path of its DevTools into the profile once it listens."""
        file, deadline = self._profile / "DevToolsActivePort", time.monotonic() + _START_WITHIN
        while not file.exists() or len(told := file.read_text().split()) < 2:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._profile / "output").read_text(errors="replace")
                raise AssertionError(f"Chromium did not start: {said[-2000:]}")
            time.sleep(0.02)
        return f"ws://127.0.0.1:{told[0]}{told[1]}"

    @contextlib.contextmanager
    def page(self, proxy: Proxy, folder: Path) -> Iterator[Page]:
        """A page in a context of its own, behind the gateway; its downloads go to the folder."""
        call = self.tools.call
        context = call("Target.createBrowserContext", proxyServer=proxy.address, proxyBypassList="<-loopback>")[
            "browserContextId"
        ]
        call(
            "Browser.setDownloadBehavior",
            behavior="allowAndName",
            browserContextId=context,
            downloadPath=str(folder),
            eventsEnabled=True,
        )
        target = call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        call("Page.enable", session)
        call("Security.setIgnoreCertificateErrors", session, ignore=True)
        yield Page(self.tools, session, folder)
        call("Target.disposeBrowserContext", browserContextId=context)


@dataclass(frozen=True, slots=True)
class Page:
    """One page; a script's exceptions are the test's."""

    tools: DevTools
    session: str
    folder: Path

    def open(self, url: str) -> None:
        """Go there and wait until all of it is loaded."""
        self.tools.events.clear()
        went = self.tools.call("Page.navigate", self.session, url=url)
        assert "errorText" not in went, went
        self.tools.wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The script's value, a promise's once it is kept."""
        done = self.tools.call(
            "Runtime.evaluate", self.session, expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def download(self, url: str) -> tuple[Message, Path]:
        """Download from there; the last word on it, whose `state` is `completed` or `canceled`, and the file."""
        self.tools.events.clear()
        self.tools.call("Page.navigate", self.session, url=url)
        guid = self.tools.wait_for("Browser.downloadWillBegin")["guid"]
        over = self.tools.wait_for(
            "Browser.downloadProgress", lambda told: told["guid"] == guid and told["state"] != "inProgress"
        )
        return over, self.folder / guid
