"""Policies for tests, made from short plain data."""

from __future__ import annotations

from typing import Any

from policy.model import FtpProxy, HttpProxy, Imap4Proxy, Policy, Pop3Proxy, SmtpProxy

ENGINES = {"A": {"protocol": "auto"}, "B": {"protocol": "auto", "max-checked-size": 10}}


def make_http(*acls: dict[str, Any], **rest: Any) -> HttpProxy:
    """An http-proxy with these doc-acls."""
    return HttpProxy.model_validate({"doc-acl": list(acls), **rest})


def make_ftp(*acls: dict[str, Any], **rest: Any) -> FtpProxy:
    """An ftp-proxy with these doc-acls."""
    data = {"listen": "127.0.0.1:0", "server": "127.0.0.1:21", "doc-acl": list(acls), **rest}
    return FtpProxy.model_validate(data)


def make_smtp(mail: list[dict[str, Any]], documents: list[dict[str, Any]], **rest: Any) -> SmtpProxy:
    """An smtp-proxy with these lists."""
    data = {"listen": "127.0.0.1:0", "server": "127.0.0.1:25", "use-antivirus": ["A"]}
    return SmtpProxy.model_validate({**data, "mail-acl": mail, "doc-acl": documents, **rest})


def make_pop3(mail: list[dict[str, Any]], documents: list[dict[str, Any]], **rest: Any) -> Pop3Proxy:
    """A pop3-proxy with these lists."""
    data = {"listen": "127.0.0.1:0", "server": "127.0.0.1:110", "command-acl": [{"name": "C", "use-antivirus": "A"}]}
    return Pop3Proxy.model_validate({**data, "mail-acl": mail, "doc-acl": documents, **rest})


def make_imap4(mail: list[dict[str, Any]], documents: list[dict[str, Any]]) -> Imap4Proxy:
    """An imap4-proxy with these lists."""
    command = {"name": "C", "use-antivirus": {"download": ["A"], "upload": ["A"]}}
    data = {"listen": "127.0.0.1:0", "server": "127.0.0.1:143", "command-acl": [command]}
    return Imap4Proxy.model_validate({**data, "mail-acl": mail, "doc-acl": documents})


def make_policy(**gateways: Any) -> Policy:
    """A policy with engines A and B; `http_proxy={...}` and so on."""
    return Policy.model_validate({"antivirus": ENGINES, **{k.replace("_", "-"): v for k, v in gateways.items()}})
