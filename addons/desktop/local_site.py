"""The site http://sluice.local/: which request gets which answer, in which form.

Rules of this file: no I/O and no waiting; it only shows, and there is nothing to be sent to it; a request that it does
not understand gets a plain word.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from mitmproxy import http

from addons.block_page import choose_type
from addons.desktop.account import Account
from addons.desktop.account_text import describe, headline
from addons.desktop.decisions import Decisions
from addons.desktop.gateway_state import describe_gateway
from addons.desktop.local_pages import headers, render_note, render_refused, render_state, render_why
from addons.gateway import HttpGateway
from inspection.record import is_id, visible

_LISTED = ("time", "id", "status", "virus", "action", "reason", "acl", "direction", "client", "object", "size", "ms")


class LocalSite:
    """`gateway` and `file` tell what is in force, `onboarding` the host with mitmproxy's certificate, if any."""

    def __init__(
        self,
        decisions: Decisions,
        gateway: Callable[[], HttpGateway | None],
        file: Callable[[], Path | None],
        onboarding: Callable[[], str | None],
    ) -> None:
        self._decisions = decisions
        self._gateway, self._file, self._onboarding = gateway, file, onboarding

    def answer(self, request: http.Request) -> http.Response:
        """The response to a request whose target we are."""
        kind = choose_type(request.headers.get("accept", ""))
        if request.method not in ("GET", "HEAD"):
            response = _note(405, kind, "Only to be looked at", "There is nothing that could be sent here.")
            response.headers["Allow"] = "GET, HEAD"
            return response
        response = self._find(request.path.partition("?")[0], kind)
        if request.method == "HEAD":
            response.data.content = b""
        return response

    def _find(self, path: str, kind: str) -> http.Response:
        if path == "/":
            return self._state(kind)
        if path == "/refused":
            return self._refused(kind)
        if path.startswith("/why/"):
            return self._why(path.removeprefix("/why/"), kind)
        return _note(404, kind, "Not found", "There is no such page here.")

    def _state(self, kind: str) -> http.Response:
        state = describe_gateway(self._gateway(), self._file(), datetime.now())
        counts = {name or "unchecked": number for name, number in self._decisions.counts.items()}
        latest, host = self._decisions.latest(), self._onboarding()
        plain = {**state, "counts": counts, "refusals": self._decisions.refusals, "decisions": _shorten(latest)}
        text = [f"{name}: {state[name]}" for name in ("gateway", "policy", "transfers", "spooled")]
        text += [f"{name}: {number}" for name, number in counts.items()]
        text += [f"note: {banner}" for banner in state["banners"]]
        text += ["engines:", *(f"  - {_name_engine(engine)}" for engine in state["engines"])]
        text += ["decisions:", *(f"  - {_line(account)}" for account in latest)]
        return _respond(200, kind, plain, text, lambda: render_state(state, counts, latest, host))

    def _refused(self, kind: str) -> http.Response:
        refused = self._decisions.latest(refused=True)
        text = [_line(account) for account in refused]
        return _respond(200, kind, {"decisions": _shorten(refused)}, text, lambda: render_refused(refused))

    def _why(self, entry: str, kind: str) -> http.Response:
        account = self._decisions.find(entry) if is_id(entry) else None
        if account is None:
            text = "This id is not remembered (any more). If it was one of ours, its audit record has it."
            return _note(404, kind, "Unknown id", text)
        return _respond(200, kind, account, list(describe(account)), lambda: render_why(account))


def _shorten(accounts: list[Account]) -> list[dict[str, Any]]:
    return [{name: account[name] for name in _LISTED} for account in accounts]


def _line(account: Account) -> str:
    return visible(f"{account['time']} {account['id']} {headline(account)} {account['object'] or ''}".rstrip())


def _name_engine(engine: dict[str, Any]) -> str:
    return visible(f"{engine['name']} {engine['engine']}: {engine['state']} {engine['failure']}".rstrip())


def _note(status: int, kind: str, title: str, text: str) -> http.Response:
    return _respond(
        status, kind, {"error": title, "message": text}, [f"{title}: {text}"], lambda: render_note(title, text)
    )


def _respond(status: int, kind: str, plain: dict[str, Any], text: list[str], page: Callable[[], str]) -> http.Response:
    """In the form that was asked for: HTML, JSON or text."""
    if kind == "application/json":
        content = json.dumps(plain, indent=1)
    else:
        content = page() if kind == "text/html" else "\n".join([*text, ""])
    typed = kind if kind == "application/json" else f"{kind}; charset=utf-8"
    return http.Response.make(status, content.encode("utf-8", "backslashreplace"), {"Content-Type": typed, **headers()})
