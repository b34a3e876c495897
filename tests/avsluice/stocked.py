"""A quarantine with entries in it, and a policy that names it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from inspection.quarantine import KeptMail, Quarantine
from inspection.record import DocumentEntry, new_id
from policy.verdict import Status
from scanners.body import MemoryBody

MAIL = b"From: eve@example.net\r\nSubject: hello\r\n\r\nX5O\r\n.\r\nbye\r\n"

POLICY = """\
antivirus: {{B: {{protocol: builtin}}}}
quarantine: {{directory: kept, max-age: 30d}}
audit: {{to: audit.log}}
smtp-proxy:
  SMTP:
    listen: 127.0.0.1:2525
    server: 127.0.0.1:{port}
    use-antivirus: B
    quarantine: {{directory: kept-mail}}
    mail-acl:
      - {{name: VIRUS, when: {{virus-status: found}}, action: discard, quarantine: true}}
      - {{name: MAILOK, action: accept}}
    doc-acl: {{name: DOCOK, action: accept}}
"""


class Stock:
    """Two quarantines in `directory`: `kept` for objects, `kept-mail` for mails."""

    def __init__(self, directory: Path, port: int = 25) -> None:
        self.directory = directory
        self.policy = directory / "policy.yaml"
        self.policy.write_text(POLICY.format(port=port))
        for name in ("kept", "kept-mail"):
            (directory / name).mkdir(mode=0o700)

    def keep(self, content: bytes, metadata: Mapping[str, object], name: str = "kept") -> str:
        """Lays an entry down as a gateway does; its id."""
        quarantine = Quarantine(self.directory / name, 30 * 86400.0, 10**9)
        try:
            return asyncio.run(quarantine.keep(new_id(), MemoryBody(content), metadata))
        finally:
            quarantine.close()

    def keep_file(self, **more: object) -> str:
        """A blocked download."""
        known = {"proxy": "http-proxy.HTTP", "status": "found", "virus": "Eicar", "filename": "a.zip"}
        return self.keep(b"PK\x03\x04 bytes", known | more)

    def keep_mail(self, content: bytes = MAIL, **more: object) -> str:
        """A discarded mail."""
        known = {
            "proxy": "smtp-proxy.SMTP",
            "client": "192.0.2.7",
            "sender": "eve@example.net",
            "recipients": ("bob@example.org", "amy@example.org"),
            "subject": "hello",
            "message_id": "<1@example.net>",
            "status": Status.FOUND,
            "virus": "Eicar",
            "acl": "VIRUS",
            "documents": (DocumentEntry(part="1.2", filename="a.zip", status=Status.FOUND, virus="Eicar"),),
        }
        return self.keep(content, KeptMail(**{**known, **more}).as_metadata(), "kept-mail")

    def audit(self) -> str:
        """What the audit log says."""
        log = self.directory / "audit.log"
        return log.read_text() if log.exists() else ""
