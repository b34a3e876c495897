"""The policies of the FTP tests, as YAML text: one antivirus section AV and any number of ftp-proxies.

Rules of this file: a policy says only what its test is about; engines and trickle are those of `tests.http.policies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent

from tests.http.policies import builtin


def proxy(server: object, acl: str = "", *, before: str = "", more: str = "", host: str = "127.0.0.1") -> str:
    """An ftp-proxy's items: before a server given as a port, or as `HOST:PORT`; or None where `more` names the way.

    `acl` are further items of the ACL that checks everything, `before` whole ACLs in front of it, `more` further items
    of the gateway."""
    listen = f"listen: '{f'[{host}]' if ':' in host else host}:0'\n"
    behind = f"127.0.0.1:{server}" if isinstance(server, int) else server
    line = f"server: '{behind}'\n" if behind is not None else ""
    item = "name: CHECKED\nantivirus: [AV]\n" + acl
    return listen + line + more + "doc-acl:\n" + indent(before + "- " + indent(item, "  ")[2:], "  ")


def policy(proxies: Mapping[str, str] | str, antivirus: str | None = None, top: str = "") -> str:
    """A whole policy: gateways by name, or the one called FTP."""
    named = {"FTP": proxies} if isinstance(proxies, str) else proxies
    listed = "".join(f"  {name}:\n" + indent(text, "    ") for name, text in named.items())
    return (antivirus or builtin()) + top + "ftp-proxy:\n" + listed


def server_tls(mode: str, ca: object) -> str:
    """TLS towards the server, judged by that authority."""
    return f"server-tls: {{mode: {mode}, ca: '{ca}'}}\n"


def client_tls(mode: str, pem: object) -> str:
    """TLS towards the client, with certificate and key from one file."""
    return f"tls: {{mode: {mode}, certificate: '{pem}', key: '{pem}'}}\n"
