"""What other readers show of a mail: the standard library, a lax one of ours, a Rust library, two programs.

Rules of this file: a reader gives the bodies that it would hand to its user; one that fails shows nothing.
"""

from __future__ import annotations

import email
import subprocess
from collections.abc import Callable, Iterator
from email import policy
from pathlib import Path

import fast_mail_parser

from tests.mailgw.mime import lenient_reader


def read_stdlib(mail: bytes) -> Iterator[bytes]:
    """Python's parser, with its old policy and its new one."""
    for rules in (policy.compat32, policy.default):
        try:
            parts = list(email.message_from_bytes(mail, policy=rules).walk())
            payloads = [part.get_payload(decode=True) for part in parts]
        except Exception:  # noqa: S112  (its crashes are not ours)
            continue
        yield from (payload for payload in payloads if isinstance(payload, bytes))


def read_fast_mail_parser(mail: bytes) -> Iterator[bytes]:
    """mailparse, of Rust."""
    try:
        found = fast_mail_parser.parse_email(mail)
    except Exception:
        return
    yield from (text.encode("utf-8", "replace") for text in (*found.text_plain, *found.text_html))
    yield from (bytes(attachment.content) for attachment in found.attachments)


def run_ripmime(mail: Path, into: Path) -> list[bytes]:
    """The files that ripmime writes."""
    return _run(["ripmime", "-i", str(mail), "-d", str(into)], into)


def run_munpack(mail: Path, into: Path) -> list[bytes]:
    """The files that munpack writes, text parts included."""
    return _run(["munpack", "-q", "-t", "-C", str(into), str(mail)], into)


def _run(command: list[str], into: Path) -> list[bytes]:
    into.mkdir()
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    return [file.read_bytes() for file in into.rglob("*") if file.is_file()]


READERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "standard library": read_stdlib,
    "lenient": lenient_reader.read,
    "fast-mail-parser": read_fast_mail_parser,
}
"""Those that run in this process."""
