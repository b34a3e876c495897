"""The files and directories a policy needs, looked at before anything starts.

Rules of this file: only what an enabled gateway uses is looked at; nothing is ever created; the plain data is
walked, so that a missing file is reported together with every other error; what has the wrong type is
somebody else's report.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from policy.model.antivirus import COMM_DIR
from policy.model.policy import antivirus_names, raw_gateways
from policy.section import Loc, Problems
from policy.valkey_url import ValkeyUrl

_REPLACEMENT_LIMIT = 64 * 1024


def missing_files(raw: Mapping[str, Any], base: Path) -> Problems:
    """Everything the enabled gateways of a policy's plain data use and that is not there, or not usable."""
    enabled = [(loc, g) for loc, g in raw_gateways(raw) if g.get("enabled", True) is not False]
    for loc, gateway in enabled:
        yield from _gateway_files(loc, gateway, base)
        yield from _quarantine(loc, gateway, raw, base)
    yield from _engine_files(raw, {loc: g for loc, g in enabled}, base)
    if enabled:
        yield from _stores(raw, base)


def _gateway_files(loc: Loc, gateway: Mapping[str, Any], base: Path) -> Problems:
    for section, keys in (("tls", ("certificate", "key")), ("server-tls", ("ca",))):
        for key in keys:
            yield from _file((*loc, section, key), _get(gateway, section, key), base)
    for n, acl in _acls(gateway, "doc-acl"):
        if acl.get("action") == "replace":
            yield from _replacement((*loc, "doc-acl", n, "replace"), acl.get("replace"), base)
    user = gateway.get("user")
    if isinstance(user, str) and not _user_exists(user):
        yield (*loc, "user"), f"no user is called {user!r} on this system"


def _quarantine(loc: Loc, gateway: Mapping[str, Any], raw: Mapping[str, Any], base: Path) -> Problems:
    if not any(acl.get("quarantine") is True for key in ("doc-acl", "mail-acl") for _, acl in _acls(gateway, key)):
        return
    holder, where = (gateway, loc) if "quarantine" in gateway else (raw, ())
    directory = _get(holder, "quarantine", "directory")
    if directory in (None, "none"):
        yield (
            (*where, "quarantine", "directory"),
            (f"is missing, and an ACL of {'.'.join(map(str, loc))} says quarantine: true; write a directory"),
        )
    else:
        yield from _directory((*where, "quarantine", "directory"), directory, base)


def _engine_files(raw: Mapping[str, Any], enabled: Mapping[Loc, Any], base: Path) -> Problems:
    used = {name for loc, name in antivirus_names(raw) if loc[:2] in enabled}
    sections = raw.get("antivirus")
    for name, section in sections.items() if isinstance(sections, Mapping) else ():
        if name not in used or not isinstance(section, Mapping):
            continue
        where: Loc = ("antivirus", name)
        if str(section.get("protocol")) in ("clamav-file", "drweb-file"):
            directory = section.get("comm-dir", COMM_DIR)
            yield from _directory((*where, "comm-dir"), directory, base)
        for key, kind in (("hashes", "file"), ("yara-rules", "file or directory")):
            yield from _file((*where, key), None if section.get(key) == "none" else section.get(key), base, kind)
        yield from _file((*where, "tls", "ca"), _get(section, "tls", "ca"), base)


def _stores(raw: Mapping[str, Any], base: Path) -> Problems:
    directory = _get(raw, "spool", "directory")
    if directory not in (None, "none"):
        yield from _directory(("spool", "directory"), directory, base)
    with contextlib.suppress(ValueError):  # somebody else's report
        where = ValkeyUrl.parse(_get(raw, "cache", "valkey"))
        for path in where.tls.files if where.tls is not None else ():
            yield from _file(("cache", "valkey"), str(path), base)
    to = _get(raw, "audit", "to")
    if isinstance(to, str) and to not in ("stdout", "stderr", "syslog"):
        path = _path(to, base)
        if not path.is_file() or not os.access(path, os.W_OK):
            yield from _directory(("audit", "to"), str(path.parent), base)


def _directory(loc: Loc, name: object, base: Path) -> Problems:
    if not isinstance(name, str) or "\0" in name:
        return
    path = _path(name, base)
    try:
        if not path.exists():
            yield loc, f"{path} does not exist; create it (it is never created by us), or write another one"
        elif not path.is_dir():
            yield loc, f"{path} is no directory; write one"
        elif not os.access(path, os.W_OK | os.X_OK):
            yield (
                loc,
                f"{path} is not writable for us; change its owner, or write another one",
            )
    except OSError as bad:
        yield loc, f"{path} cannot be looked at: {bad.strerror}"


def _file(loc: Loc, name: object, base: Path, kind: str = "file") -> Problems:
    if not isinstance(name, str) or "\0" in name:
        return
    path = _path(name, base)
    try:
        directory = kind != "file" and path.is_dir()
        if not path.exists():
            yield loc, f"{path} does not exist; create it, or write another {kind}"
        elif not path.is_file() and not directory:
            yield loc, f"{path} is no {kind}; write one"
        elif not os.access(path, os.R_OK | os.X_OK if directory else os.R_OK):
            yield (
                loc,
                f"{path} is not readable for us; change its mode, or write another {kind}",
            )
    except OSError as bad:
        yield loc, f"{path} cannot be looked at: {bad.strerror}"


def _replacement(loc: Loc, name: object, base: Path) -> Problems:
    trouble = list(_file(loc, name, base))
    yield from trouble
    if trouble or not isinstance(name, str):
        return
    path = _path(name, base)
    if path.stat().st_size > _REPLACEMENT_LIMIT:
        yield loc, f"{path} is larger than {_REPLACEMENT_LIMIT // 1024} KiB; write a short text"
        return
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        yield loc, f"{path} is not UTF-8; save it as UTF-8"


def _acls(gateway: Mapping[str, Any], key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = gateway.get(key)
    for n, row in enumerate(rows if isinstance(rows, list) else [rows]):
        if isinstance(row, Mapping):
            yield n, row


def _get(holder: Mapping[str, Any], section: str, key: str) -> object:
    inner = holder.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None


def _path(name: str, base: Path) -> Path:
    return base / name


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        return False
    return True
