"""What a client is told instead of the object: a page, a JSON object or a few lines of text.

Rules of this file: pure but for the reading of templates; no byte of the object; every value is escaped for
where it stands, whatever a peer put into it; the page has no script and loads nothing.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from inspection.record import visible, without_query
from policy.verdict import Status

SHIPPED = Path(__file__).parent / "templates" / "blocked.html"
MAX_TEMPLATE = 256 * 1024  # bytes
MAX_URL = 500  # characters shown
MAX_VALUE = 200

# For the response that carries the page. Styles may stand in the template, pictures in its data: URLs.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}

_HTML, _JSON, _TEXT = "text/html", "application/json", "text/plain"
_PLACEHOLDER = re.compile(r"\{([a-z][a-z_]*)\}")
_MAX_RANGES = 64

_BY_STATUS: Mapping[str, tuple[str, str]] = {
    Status.FOUND: ("Virus found", "The object contains a virus and was not delivered."),
    Status.SKIPPED: ("Not checked", "The object could not be checked for viruses (it may be too large)."),
    Status.UNKNOWN: ("Not understood", "It cannot be said for certain that the object is free of viruses."),
    Status.ERROR: ("Check failed", "The object could not be checked for viruses now. Please try again later."),
}
_BY_REASON = {
    "protocol": ("Not understood", "The answer breaks the rules of its protocol and was not delivered."),
    "upstream": ("No complete answer", "The server did not deliver the object in full."),
}
_BY_RULE = ("Blocked", "The rules of this network do not let the object pass.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an object was refused. `status` is a `Status` or another word; None: the rule alone decided.

    `antivirus` is the engine's name in the policy, `id` the one in the audit record, `time` knows its zone, `why` is
    a URL of ours that tells more, for clients that can reach it.
    """

    status: str | None
    reason: str
    id: str
    url: str
    time: datetime
    virus: str | None = None
    antivirus: str | None = None
    acl: str | None = None
    why: str | None = None


class TemplateError(ValueError):
    """A template that cannot be used; the text says file, line and what to write instead."""


def render(refusal: Refusal, accept: str | None, template: str | None = None) -> tuple[str, bytes]:
    """The content type and the body of the refusal, in the form that `accept` (the request's field) prefers.

    `template` is HTML that `check_template` gave; None is the shipped one. HTML goes to whoever names it, as
    browsers do; JSON to whoever names a JSON type; everybody else, `*/*` and no field included, gets text.
    """
    values = _values(refusal)
    kind = choose_type(accept or "")
    if kind == _HTML:
        return f"{_HTML}; charset=utf-8", _fill(template if template is not None else _shipped(), values, refusal.why)
    if kind == _JSON:
        return _JSON, _as_json(refusal, values)
    return f"{_TEXT}; charset=utf-8", _as_text(values, refusal.why)


def choose_type(accept: str) -> str:
    """`text/html`, `application/json` or `text/plain` by RFC 9110 section 12.5.1.

    The highest q wins, in a tie HTML before JSON before text. Wildcards speak for text only: a program that
    takes anything is better off with a line it can show."""
    best = {_HTML: 0.0, _JSON: 0.0, _TEXT: 0.0}
    for item in accept[:4096].split(",")[:_MAX_RANGES]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        kind = _kind(name)
        if kind:
            best[kind] = max(best[kind], _quality(parameters))
    chosen = max(best, key=lambda kind: best[kind])
    return chosen if best[chosen] > 0 else _TEXT


def _kind(name: str) -> str | None:
    if name in (_HTML, "application/xhtml+xml"):
        return _HTML
    if name == _JSON or name.endswith("+json"):
        return _JSON
    return _TEXT if name in (_TEXT, "text/*", "*/*") else None


def _quality(parameters: list[str]) -> float:
    """What is no q value by RFC 9110 section 12.4.2 counts as 0."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if re.fullmatch(r"[01](\.[0-9]{0,3})?", value.strip()) else 0.0
    return 1.0


def check_template(path: Path) -> str:
    """Reads a replacement of the shipped page, once, at load. Raises `TemplateError`.

    `{virus} {status} {antivirus} {acl} {reason} {id} {url} {time} {headline} {explanation}` are filled in,
    escaped for text and for quoted attributes, not for scripts, style or an href. `{id_link}` is the id as an element
    of HTML: a link to the whole explanation for clients that can reach it, else the mere id. Braces that hold
    anything but one lower-case word are left alone, so CSS needs no escaping. The page must name status and id."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEMPLATE + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TemplateError(f"{path}:{line}: is no UTF-8; save it as UTF-8") from error
    if len(data) > MAX_TEMPLATE:
        raise TemplateError(f"{path}: is larger than {MAX_TEMPLATE // 1024} KiB")
    _check_placeholders(path, text)
    return text


def _check_placeholders(path: Path, text: str) -> None:
    names = (*_PLACEHOLDERS, _ID_LINK)
    known = " ".join(f"{{{name}}}" for name in names)
    for match in _PLACEHOLDER.finditer(text):
        if match[1] not in names:
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            raise TemplateError(f"{path}:{line}:{column}: unknown placeholder {match[0]}; there are {known}")
    for name, same in (("status", ""), ("id", _ID_LINK)):
        if f"{{{name}}}" not in text and f"{{{same}}}" not in text:
            raise TemplateError(f"{path}: lacks {{{name}}}, without which nobody can find the refusal's record")


@cache
def _shipped() -> str:
    return check_template(SHIPPED)


_PLACEHOLDERS = ("virus", "status", "antivirus", "acl", "reason", "id", "url", "time", "headline", "explanation")
_ID_LINK = "id_link"


def _values(refusal: Refusal) -> dict[str, str]:
    """The placeholders' values: made visible, cut, not yet escaped."""
    by_status = _BY_STATUS.get(refusal.status or "", _BY_RULE)
    headline, explanation = _BY_REASON.get(refusal.reason, by_status)
    texts = {
        "virus": refusal.virus or "none",
        "status": refusal.status or "not checked",
        "antivirus": refusal.antivirus or "none",
        "acl": refusal.acl or "none",
        "reason": refusal.reason,
        "id": refusal.id,
        "time": refusal.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "headline": headline,
        "explanation": explanation,
    }
    values = {name: visible(str(text), MAX_VALUE) for name, text in texts.items()}
    return values | {"url": visible(without_query(refusal.url), MAX_URL)}


def _fill(template: str, values: Mapping[str, str], why: str | None) -> bytes:
    fragments = {name: html.escape(value) for name, value in values.items()}
    fragments[_ID_LINK] = fragments["id"]
    if why is not None:
        fragments[_ID_LINK] = f'<a href="{html.escape(why)}" rel="noreferrer">{fragments["id"]}</a>'
    # In one pass: a value that looks like a placeholder is not filled in again.
    return _PLACEHOLDER.sub(lambda match: fragments.get(match[1], match[0]), template).encode("utf-8")


def _as_json(refusal: Refusal, values: Mapping[str, str]) -> bytes:
    """Unknown ones are null. Without <, > and &, so that nothing is gained by taking it for HTML."""
    known: dict[str, object] = {"blocked": True} | {name: values[name] for name in _PLACEHOLDERS[:8]}
    for name in ("virus", "status", "antivirus", "acl"):
        known[name] = values[name] if getattr(refusal, name) else None
    known["time"] = refusal.time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    text = json.dumps(known | {"message": values["explanation"], "why": refusal.why})
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("ascii") + b"\n"


def _as_text(values: Mapping[str, str], why: str | None) -> bytes:
    lines = [f"{values['headline']}: {values['explanation']}", ""]
    lines += [f"{name + ':':<11}{values[name]}" for name in _PLACEHOLDERS[:8]]
    lines += [f"{'why:':<11}{why}"] if why else []
    return "\n".join([*lines, ""]).encode("utf-8")
