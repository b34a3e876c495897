"""Where a Valkey or Redis is, and how to log in there: a URL as its client libraries write it, or a plain address.

Rules of this file: nothing of what was written is ever repeated in an error, for a password may be in it wherever it
was misspelt; `str()` and `repr()` leave the password out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from policy.address import Address

PORT = 6379
_LONGEST = 4096
_DATABASE = re.compile(r"\d{1,5}", re.ASCII)
_FORMS = "write valkey://[user:password@]host:port[/db], valkeys:// (TLS), unix:///path, host:port or /path"
_ENCODE = "write / ? # @ % in a user or a password as %2F %3F %23 %40 %25"
_LOGIN = ("username", "password")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_KEYS = {
    **dict.fromkeys(("valkey", "redis"), ("db",)),
    **dict.fromkeys(("valkeys", "rediss"), ("db", *_TLS)),
    "unix": ("db", *_LOGIN),
}
"""Scheme -> what may stand behind the question mark. The libraries take more, with which one could take away what
bounds our questions."""


@dataclass(frozen=True, slots=True)
class ValkeyTls:
    """`ca` to trust in place of the system's authorities; `certificate` and `key` to show; PEM files."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True
    check_host: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that are named."""
        return tuple(path for path in (self.ca, self.certificate, self.key) if path is not None)


@dataclass(frozen=True, slots=True)
class ValkeyUrl:
    """`user` and `password` None: no login, or as the default user; `tls` None: none."""

    address: Address
    user: str | None = None
    password: SecretStr | None = field(default=None, repr=False)
    db: int = 0
    tls: ValkeyTls | None = None

    def __str__(self) -> str:
        scheme = "unix" if self.address.unix is not None else "valkeys" if self.tls is not None else "valkey"
        login = f"{self.user or ''}{':***' if self.password is not None else ''}"
        end = ("?db=" if scheme == "unix" else "/") + str(self.db) if self.db else ""
        return f"{scheme}://{login}{'@' if login else ''}{self.address}{end}"

    @classmethod
    def parse(cls, text: object) -> ValkeyUrl:
        """From a URL, `host:port` or a Unix socket's path; ValueError says what to write, never what was written."""
        if isinstance(text, ValkeyUrl):
            return text
        if not isinstance(text, str) or len(text) > _LONGEST or not text.isprintable() or " " in text:
            raise ValueError(f"is no URL or address; {_FORMS}")
        if "://" not in text:
            return cls(_address(text, None))
        try:
            parts = urlsplit(text)
        except ValueError:
            raise ValueError(f"is no URL; {_FORMS}, and {_ENCODE}") from None
        if parts.scheme not in _KEYS:
            raise ValueError(f"has a scheme that we do not know; {_FORMS}")
        if parts.fragment or text.endswith("#"):
            raise ValueError(f"holds a #; {_ENCODE}")
        return _from_parts(parts, _read_query(parts))


def _from_parts(parts: SplitResult, query: Mapping[str, str]) -> ValkeyUrl:
    login, _, place = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    path = _decode(parts.path)
    if parts.scheme == "unix":
        if place:
            raise ValueError("names a host, and a Unix socket has none; write unix://[user:password@]/path")
        address, db = _address(path if path.startswith("/") else "", None), query.get("db", "")
    else:
        address, db = _address(place, PORT), query.get("db") or path.strip("/")
    if db and not _DATABASE.fullmatch(db):
        raise ValueError(f"has a database that is no number; write /0 to /99999 behind the host, and {_ENCODE}")
    found = _decode(password) if colon else query.get("password")
    return ValkeyUrl(
        address=address,
        user=_decode(user) or query.get("username") or None,
        password=SecretStr(found) if found else None,
        db=int(db or 0),
        tls=_read_tls(query) if parts.scheme in ("valkeys", "rediss") else None,
    )


def _address(text: str, default_port: int | None) -> Address:
    try:
        address = Address.parse(text, default_port)
        if address.unix is None and not address.port:
            raise ValueError("port 0")
    except ValueError:
        raise ValueError(f"does not name a host and a port, or a socket; {_FORMS}, and {_ENCODE}") from None
    if default_port is not None and address.unix is not None:
        raise ValueError(f"has no host; {_FORMS}")
    return address


def _read_query(parts: SplitResult) -> dict[str, str]:
    if not parts.query:
        return {}
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=9)
    except ValueError:
        raise ValueError(f"has a query that is no list of key=value; {_ENCODE}") from None
    known = _KEYS[parts.scheme]
    if len(dict(pairs)) < len(pairs) or not all(key in known and value for key, value in pairs):
        raise ValueError(f"has a query that we do not understand; behind ? may stand {', '.join(known)}, each once")
    return dict(pairs)


def _read_tls(query: Mapping[str, str]) -> ValkeyTls:
    ca, certificate, key = (Path(query[name]) if name in query else None for name in _TLS[:3])
    tls = ValkeyTls(ca, certificate, key, _read_truth(query, "ssl_cert_reqs"), _read_truth(query, "ssl_check_hostname"))
    if not all(path.is_absolute() for path in tls.files):
        raise ValueError("names a file that is not absolute; write for example ?ssl_ca_certs=/etc/ssl/valkey.pem")
    if key is not None and certificate is None:
        raise ValueError("has ssl_keyfile without ssl_certfile")
    return tls


def _read_truth(query: Mapping[str, str], key: str) -> bool:
    words = {"ssl_cert_reqs": ("none", "required"), "ssl_check_hostname": ("false", "true")}[key]
    if (word := query.get(key, words[1]).lower()) not in words:
        raise ValueError(f"has {key} with a value that we do not know; write {words[0]} or {words[1]}")
    return word == words[1]


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"holds bytes that are not UTF-8; {_ENCODE}") from None
