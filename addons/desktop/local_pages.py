"""The pages of http://sluice.local/ as HTML.

Rules of this file: pure but for the reading of its two files; every value goes through `_text`, whatever a peer put
into it; no script, nothing loaded, no form.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from addons.block_page import HEADERS
from addons.desktop.account import Account, passed
from addons.desktop.account_text import describe_engine, facts, headline
from inspection.record import visible

_TEMPLATES = Path(__file__).parent / "templates"
_MAX_VALUE = 500  # characters shown
_KIND = {"free": "good", "found": "bad", "error": "odd", "unknown": "odd", "skipped": "odd"}


def headers() -> dict[str, str]:
    """For the response that carries a page: nothing may be loaded or framed, and no style but ours counts."""
    digest = base64.b64encode(hashlib.sha256(_read("local.css").encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return {
        **HEADERS,
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def render_state(
    state: Mapping[str, Any], counts: Mapping[str, int], decisions: Iterable[Account], onboarding: str | None
) -> str:
    """What there is, who checks, and what was decided lately; `onboarding` is the host with mitmproxy's certificate."""
    body = [_section("Gateway", _list(_gateway(state, counts)))]
    body += [_section("Engines", _engines(state))]
    body += [_section("HTTPS", _certificate(onboarding))]
    body += [_section("Last decisions", _table(decisions))]
    return _page("Sluice", "\n".join(body))


def render_refused(decisions: Iterable[Account]) -> str:
    """What was refused lately."""
    return _page("Refused - Sluice", _section("Refused lately", _table(decisions)))


def render_why(account: Account) -> str:
    """Everything about one decision."""
    engines = [describe_engine(engine) + _aside(engine) for engine in account.get("engines") or ()]
    body = [f"<h1>{_text(headline(account))}</h1>"]
    body += [_section("Decision", _list(facts(account)))]
    body += [_section("Engines", _ordered(engines, "No engine was asked."))]
    body += [_section("Rules, as they were looked at", _ordered(account["trace"], "No rule was looked at."))]
    return _page(f"{account['id']} - Sluice", "\n".join(body))


def render_note(title: str, text: str) -> str:
    """A page that says one thing."""
    return _page(f"{title} - Sluice", f"<h1>{_text(title)}</h1>\n{_section('', f'<p>{_text(text)}</p>')}")


def _gateway(state: Mapping[str, Any], counts: Mapping[str, int]) -> Iterable[tuple[str, str]]:
    yield "gateway", str(state["gateway"] or "no policy is in force yet: nothing passes")
    yield "policy", str(state["policy"] or "none")
    yield "since the start", ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing checked"
    yield "under way", f"{state['transfers']} transfers, {state['spooled']} B spooled"
    for banner in state["banners"]:
        yield "note", banner


def _engines(state: Mapping[str, Any]) -> str:
    rows = [
        [
            f'<td class="narrow">{_badge("proven" if engine["proven"] else "not usable", engine["proven"])}</td>',
            f"<td><b>{_text(engine['name'])}</b></td>",
            f'<td class="wide">{_text(engine["engine"])}<br><span class="soft">{_text(_standing(engine))}</span></td>',
            f'<td class="wide">{_text(engine["version"] or "unknown")}{_age(engine)}</td>',
            f'<td class="narrow">{engine["load"]} under way</td>',
        ]
        for engine in state["engines"]
    ]
    return _rows(("State", "Name", "Engine", "Version", "Checks"), rows) or "<p>There are none.</p>"


def _standing(engine: Mapping[str, Any]) -> str:
    said = [str(engine["state"])]
    said += [f"finds EICAR in objects of up to {_size(engine['limit'])}"] if engine["limit"] is not None else []
    said += ["knows test signatures only"] if engine["coverage"] == "test-signatures" else []
    return "; ".join(said + ([str(engine["failure"])] if engine["failure"] else []))


def _size(number: int) -> str:
    return f"{number >> 20} MiB" if number and number % (1 << 20) == 0 else f"{number} B"


def _age(engine: Mapping[str, Any]) -> str:
    hours = engine["database_age_hours"]
    if hours is None:
        return ""
    age = f"{hours:g} h" if hours < 48 else f"{hours / 24:.0f} days"
    return f'<br><span class="soft">database {age} old</span>'


def _certificate(onboarding: str | None) -> str:
    if onboarding is None:
        return "<p>mitmproxy's certificate is not handed out here (its option <code>onboarding</code> is off).</p>"
    link = f'<a href="http://{_text(onboarding)}/">http://{_text(onboarding)}/</a>'
    return f"<p>Clients must trust this proxy's certificate authority: {link}</p>"


def _table(decisions: Iterable[Account]) -> str:
    head = ("Time", "Status", "Object", "Rule", "Client", "Why")
    rows = [
        [
            f'<td class="narrow">{_text(account["time"][:19].replace("T", " "))}</td>',
            f'<td class="narrow">{_status(account)}</td>',
            f'<td class="wide">{_text(account["object"] or account["direction"])}{_virus(account)}</td>',
            f"<td>{_text(account['acl'] or account['reason'])}</td>",
            f'<td class="narrow">{_text(account["client"])}</td>',
            f'<td class="narrow"><a href="/why/{_text(account["id"])}">why</a></td>',
        ]
        for account in decisions
    ]
    return _rows(head, rows) or "<p>There are none.</p>"


def _status(account: Account) -> str:
    kind = _KIND.get(str(account["status"]), "odd" if passed(account) else "bad")
    word = account["status"] or ("unchecked" if passed(account) else "refused")
    return f'<span class="badge {kind}">{_text(word)}</span>'


def _virus(account: Account) -> str:
    return f'<br><span class="soft">{_text(account["virus"])}</span>' if account["virus"] else ""


def _badge(words: str, good: bool) -> str:
    return f'<span class="badge {"good" if good else "bad"}">{words}</span>'


def _aside(engine: Mapping[str, Any]) -> str:
    known = (f"{name} {engine[name]}" for name in ("version", "coverage", "detail") if engine.get(name))
    return "".join(f"; {word}" for word in known)


def _rows(names: Iterable[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in names)
    lines = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    lines = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in pairs)
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def _ordered(lines: Iterable[object], otherwise: str) -> str:
    items = "\n".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<ol>\n{items}\n</ol>" if items else f"<p>{otherwise}</p>"


def _section(title: str, inner: str) -> str:
    return f"<section>{f'<h2>{title}</h2>' if title else ''}\n{inner}\n</section>"


def _page(title: str, body: str) -> str:
    page = _read("local.html").replace("{title}", _text(title)).replace("{style}", _read("local.css"))
    return page.replace("{body}", body)  # last: what stands in it is not looked at again


def _text(value: object) -> str:
    return escape(visible(str(value if value is not None else ""), _MAX_VALUE))


@cache
def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")
