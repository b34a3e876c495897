"""An account as lines for people: in mitmproxy's content view, in the log, at sluice.local.

Rules of this file: pure; whatever a peer chose is made visible; a field that is not known has no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from addons.desktop.account import Account, passed
from inspection.record import visible

_WIDTH = 14


def headline(account: Account) -> str:
    """One line: what was done, why, and by which rule."""
    words = [str(account.get("status") or "by rule"), str(account.get("virus") or "")]
    why = [str(account.get("reason") or ""), f"doc-acl {account['acl']}" if account.get("acl") else "no doc-acl"]
    done = "passed" if passed(account) else "cut" if account.get("action") == "cut" else "refused"
    return visible(f"{done}: {' '.join(filter(None, words))} ({', '.join(filter(None, why))})")


def describe(account: Account) -> Iterator[str]:
    """The whole decision, one line a fact, in the manner of YAML."""
    yield f"# {headline(account)}"
    for name, value in facts(account):
        yield f"{name + ':':<{_WIDTH}}{value}"
    yield ""
    yield from _section("engines", _engines(account), "no engine was asked")
    yield ""
    rules = [visible(str(step)) for step in account.get("trace") or ()]
    yield from _section("rules", rules, "no rule was looked at")


def facts(account: Account) -> Iterator[tuple[str, str]]:
    """Names and values of what is known, without engines and rules."""
    shown: dict[str, object] = {name: account.get(name) for name in ("status", "virus", "action", "reason")}
    shown |= {"acl": account.get("acl"), "detail": account.get("detail"), "object": account.get("object")}
    shown |= {"direction": account.get("direction"), "content-type": account.get("content_type")}
    shown |= {"size": _size(account), "sha256": account.get("sha256"), "released": _released(account)}
    shown |= {"quarantine": account.get("quarantine"), "took": f"{account.get('ms') or 0} ms"}
    shown |= {name: account.get(name) for name in ("time", "client", "user", "server", "proxy", "session", "id")}
    for name, value in shown.items():
        if value not in (None, ""):
            yield name, visible(str(value))


def describe_engine(engine: Account) -> str:
    """One engine's word in one line."""
    found = " ".join(filter(None, (str(engine.get("status")), str(engine.get("virus") or ""))))
    how = "remembered" if engine.get("cached") else "asked"
    return visible(f"{engine.get('name')} ({engine.get('protocol')}): {found}, {how}, {engine.get('ms')} ms")


def _engines(account: Account) -> Iterator[str]:
    for engine in account.get("engines") or ():
        yield describe_engine(engine)
        for name in ("version", "coverage", "detail"):
            if engine.get(name):
                yield visible(f"  {name}: {engine[name]}")


def _section(title: str, lines: Iterable[str], otherwise: str) -> Iterator[str]:
    lines = list(lines)
    yield f"{title}:" if lines else f"{title}: {otherwise}"
    for line in lines:
        yield f"  {line}" if line.startswith("  ") else f"  - {line}"


def _size(account: Account) -> str:
    size, transferred = account.get("size"), account.get("transferred")
    if size is None:
        return "" if transferred is None else f"{transferred} B arrived"
    return f"{size} B" if transferred in (None, size) else f"{size} B ({transferred} B transferred)"


def _released(account: Account) -> str:
    released = account.get("released")
    return f"{released} B before the verdict" if released else ""
