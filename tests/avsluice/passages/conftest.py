"""One `avsluice run` with good gateways and bad ones, before an FTP server and a next hop of the tests' own.

Rules of this file: it is started once, for a start takes seconds; what the servers behind it were given is forgotten
before each test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.fakes.ftp_server import Conversation, FakeFtpServer
from tests.fakes.loop_thread import LoopThread
from tests.fakes.next_hop import NextHop
from tests.http.run_proxy import RunProxy
from tests.real.ports import free_port

ENGINES = {"AV": {"protocol": "builtin", "max-checked-size": "1MiB"}}
CHECKED = [{"name": "CHECKED", "antivirus": ["AV"]}]
OPEN = [{"name": "OPEN"}]
DENY = [{"name": "VIRUS", "when": {"virus-status": ["found"]}, "action": "deny"}, {"name": "OK", "action": "accept"}]
DISCARD = [{**DENY[0], "action": "discard"}, DENY[1]]
ALL = [{"name": "ALL", "action": "accept"}]
REPLACE = [{"name": "R", "when": {"virus-status": ["found"]}, "action": "replace", "replace": "replaced.txt"}, *ALL]


@dataclass
class Stage:
    """The servers, the gateways' sections with their ports, and where policies are written."""

    folder: Path
    ftp: FakeFtpServer
    hop: NextHop
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, kind: str, name: str, **section: Any) -> None:
        """A gateway on a port of its own."""
        listen = f"127.0.0.1:{free_port()}"
        self.sections.setdefault(kind, {})[name] = {"listen": listen, **section}

    def write(self, file: str, sections: dict[str, dict[str, Any]]) -> str:
        """The policy file with these gateways."""
        path = self.folder / file
        path.write_text(json.dumps({"antivirus": ENGINES, **sections}))
        return str(path)

    def port(self, kind: str, name: str) -> int:
        """Where that gateway listens."""
        return int(self.sections[kind][name]["listen"].rpartition(":")[2])


async def _delete(conversation: Conversation, name: str) -> None:
    gone = conversation.server.stored.pop(name, None)
    conversation.say("550 no such file" if gone is None else "250 gone")


def forget(stage: Stage) -> None:
    """As new: whoever stores a file can fetch it and delete it."""
    stage.ftp.reset()
    stage.ftp.files = stage.ftp.stored
    stage.ftp.scripts["DELE"] = _delete
    stage.hop.answers.clear()
    stage.hop.mails.clear()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything started; `stage` is this, as new."""
    folder = tmp_path_factory.mktemp("passages")
    (folder / "replaced.txt").write_text("{virus} was taken out")
    trustme.CA().issue_cert("gateway.example.org").private_key_and_cert_chain_pem.write_to_path(str(folder / "pem"))
    tls = {"certificate": str(folder / "pem"), "key": str(folder / "pem")}
    with LoopThread() as fakes:
        stage = Stage(folder, FakeFtpServer(), NextHop())
        fakes.run(stage.ftp.start())
        fakes.run(stage.hop.__aenter__())
        ftp = {"server": f"127.0.0.1:{stage.ftp.port}"}
        hop = {"server": f"127.0.0.1:{stage.hop.port}", "use-antivirus": ["AV"], "doc-acl": ALL}
        stage.add("http-proxy", "GOOD", **{"doc-acl": CHECKED})
        stage.add("http-proxy", "BAD", **{"doc-acl": OPEN})
        stage.add("ftp-proxy", "GOOD", **ftp, **{"doc-acl": CHECKED})
        stage.add("ftp-proxy", "BAD", **ftp, **{"doc-acl": OPEN})
        stage.add("ftp-proxy", "TLS", **ftp, **{"doc-acl": CHECKED, "tls": {**tls, "mode": "starttls"}})
        stage.add("ftp-proxy", "IMPLICIT", **ftp, **{"doc-acl": CHECKED, "tls": {**tls, "mode": "implicit"}})
        named = {"user-at-host": True, "server-allow": [ftp["server"]]}
        stage.add("ftp-proxy", "ANY", **named, **{"doc-acl": CHECKED})
        stage.add("smtp-proxy", "REPLACE", **{**hop, "mail-acl": ALL, "doc-acl": REPLACE})
        stage.add("smtp-proxy", "GOOD", **hop, **{"mail-acl": DENY})
        stage.add("smtp-proxy", "DISCARD", **hop, **{"mail-acl": DISCARD})
        stage.add("smtp-proxy", "TLS", **hop, **{"mail-acl": DENY, "tls": {**tls, "mode": "implicit"}})
        stage.add("smtp-proxy", "BAD", server=hop["server"], **{"no-mail-scanning": True})
        with RunProxy(Path(stage.write("all.yaml", stage.sections)), folder) as run:
            for kind, names in stage.sections.items():
                for name in names:
                    run.wait_for_line(f"ready {kind}.{name} ", timeout=30)
            yield stage
        fakes.run(stage.hop.__aexit__())
        fakes.run(stage.ftp.close())


@pytest.fixture
def stage(running: Stage) -> Stage:
    """Nothing stored, no mail there, nobody told to say anything else."""
    forget(running)
    return running
