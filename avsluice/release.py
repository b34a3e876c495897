"""Releasing an entry: a mail by SMTP or IMAP, anything else to a file.

Rules of this file: a release goes round our own gateways, for no mark on a mail could be trusted: anybody can forge
one; every release leaves an audit record, and where that cannot be written nothing is released.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avsluice.courier import MOST, NotReached, NotReleased, Server, is_local, read_password
from avsluice.export import choose_path, read_whole, write_file
from avsluice.imap_release import append
from avsluice.kept import Kept
from avsluice.quarantine_arguments import Refused
from avsluice.smtp_release import Envelope, Outcome, seal, send
from inspection.audit import AuditLog, AuditRecord
from policy.address import Address
from policy.model import Policy, SmtpProxy
from policy.verdict import Status


class Release:
    """One call of `release`. Raises Refused for what cannot be meant."""

    def __init__(self, policy: Policy, arguments: argparse.Namespace) -> None:
        self._policy = policy
        self._arguments = arguments
        self._log: AuditLog | None = None
        ways = [name for name in ("server", "imap", "output") if getattr(arguments, name) is not None]
        if len(ways) > 1:
            raise Refused(f"--{ways[0]} and --{ways[1]}: one or the other")
        if arguments.output == "-":
            raise Refused("release writes to a file; `export` writes to standard output")
        for address in (arguments.server, arguments.imap):
            if address is not None:
                self._refuse_ourselves(address)
        try:
            self._password = read_password(arguments.password_file) if arguments.user else None
            self._named = self._name_server()
        except (OSError, ValueError) as why:
            raise Refused(str(why)) from why

    def _refuse_ourselves(self, address: Address) -> None:
        for label, gateway in self._policy.gateways():
            listen = gateway.listen
            if listen is not None and listen.port == address.port and _same_host(listen.host, address.host):
                raise Refused(f"{address} is {label}, which would catch it again; name the server behind it")

    def _name_server(self) -> Server | None:
        """The server that the arguments name, if they do."""
        arguments = self._arguments
        address = arguments.server or arguments.imap
        if address is None:
            return None
        if arguments.imap is not None and arguments.tls == "starttls":
            raise Refused("--imap: STARTTLS is not offered; say --tls implicit")
        return Server(
            address=address,
            tls=arguments.tls or "none",
            ca=arguments.ca,
            verify=not arguments.no_verify,
            user=arguments.user,
            password=self._password,
        )

    @contextmanager
    def recording(self) -> Iterator[None]:
        """The audit log is open, and what was recorded is written when this ends. Refused where it cannot be."""
        target = self._policy.audit.to
        try:
            # Standard output is for results here.
            self._log = AuditLog("stderr" if target in (None, "stdout") else target)
        except OSError as why:
            raise Refused(f"the audit log cannot be written, so nothing is released: {why}") from why
        try:
            yield
        finally:
            self._log.close()

    def release(self, kept: Kept) -> Mapping[str, Any]:
        """What was done, for people. OSError and ValueError where it was not done."""
        began = time.monotonic()
        told, server = self._deliver(kept)
        self._record(kept, server, (time.monotonic() - began) * 1000)
        return told

    def _deliver(self, kept: Kept) -> tuple[Mapping[str, Any], str]:
        if self._arguments.output is not None:
            path = choose_path(kept, Path(self._arguments.output))
            write_file(kept, path, force=self._arguments.force)
            return {"released": True, "path": str(path)}, "file"
        if not kept.is_mail:
            raise ValueError("no mail: say --output PATH")
        mail = read_whole(kept, MOST)
        if self._arguments.imap is not None and self._named is not None:
            return self._append(kept, self._named, mail)
        return self._send(kept, [self._named] if self._named else self._next_hops(kept), mail)

    def _append(self, kept: Kept, server: Server, mail: bytes) -> tuple[Mapping[str, Any], str]:
        mailbox = str(self._arguments.mailbox or kept.known.get("mailbox") or "INBOX")
        asyncio.run(append(server, mailbox, mail, kept.texts("flags"), _internal_date(kept)))
        return {"released": True, "server": str(server.address), "mailbox": mailbox}, str(server.address)

    def _send(self, kept: Kept, servers: Sequence[Server], mail: bytes) -> tuple[Mapping[str, Any], str]:
        sender = self._arguments.new_sender
        if sender is None:
            sender = str(kept.known.get("sender") or "")
        envelope = Envelope(sender=sender, recipients=self._arguments.to or kept.texts("recipients"))
        server, outcome = _send_to_first(servers, envelope, seal(mail, kept.id, datetime.now(UTC)))
        told = {"released": True, "server": str(server.address), "recipients": outcome.recipients}
        return told | ({"refused": outcome.refused} if outcome.refused else {}), str(server.address)

    def _next_hops(self, kept: Kept) -> list[Server]:
        """The servers behind the gateway that kept the mail."""
        label = str(kept.known.get("proxy"))
        gateway = dict(self._policy.gateways()).get(label)
        if not isinstance(gateway, SmtpProxy) or not gateway.server:
            raise NotReleased(f"no smtp-proxy of the policy is called {label}: say --server, --imap or --output")
        tls = gateway.server_tls
        return [
            Server(
                address=address,
                tls=self._arguments.tls or tls.mode,
                ca=self._arguments.ca or tls.ca,
                verify=tls.verify and not self._arguments.no_verify,
                user=self._arguments.user,
                password=self._password,
            )
            for address in gateway.server
        ]

    def _record(self, kept: Kept, server: str, ms: float) -> None:
        known = kept.known
        status = str(known.get("status"))
        record = AuditRecord(
            time=datetime.now(UTC),
            event="mail" if kept.is_mail else "object",
            proxy=str(known.get("proxy") or ""),
            session="",
            id=kept.id,
            client=_text(known.get("client")),
            server=server,
            user=_who(),
            object=_text(known.get("message_id") or known.get("filename")),
            content_type=_text(known.get("content_type")),
            size=kept.entry.size,
            sha256=_text(known.get("sha256")),
            status=Status(status) if status in set(Status) else None,
            virus=_text(known.get("virus")),
            action="release",
            quarantine=kept.id,
            ms=ms,
        )
        if self._log is not None:
            self._log.write(record)


def _send_to_first(servers: Sequence[Server], envelope: Envelope, mail: bytes) -> tuple[Server, Outcome]:
    """To the first server that can be reached; what it says stands."""
    *others, last = servers
    for server in others:
        with suppress(NotReached):
            return server, send(server, envelope, mail)
    return last, send(last, envelope, mail)


def _same_host(listen: str, host: str) -> bool:
    return listen == host or (listen in ("0.0.0.0", "::", "127.0.0.1", "::1") and is_local(host))  # noqa: S104 - compared


def _text(value: object) -> str | None:
    """What a metadata file holds may be anything; a record that cannot be written would be lost."""
    return None if value is None else str(value)


def _who() -> str:
    """Who releases: the one who called sudo, else the user we run as."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _internal_date(kept: Kept) -> datetime:
    try:
        date = datetime.fromisoformat(str(kept.known.get("internal_date")))
    except ValueError:
        return kept.at
    return date if date.tzinfo else date.replace(tzinfo=UTC)
