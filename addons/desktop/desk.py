"""Where people at this machine ask: what a gateway tells it, and what it says of itself.

Rules of this file: an interface and nothing else, so that gateways know nothing of pages and views.
"""

from __future__ import annotations

from typing import Protocol

from mitmproxy import http

from addons.desktop.account import Account


class Desk(Protocol):
    """Hears of every decision, and knows where a client finds the explanation of one."""

    def note(self, account: Account) -> None:
        """An object is done with. Never raises."""

    def link(self, flow: http.HTTPFlow, entry: str) -> str | None:
        """The URL at which this flow's client finds why `entry` (an id) was refused; None where it cannot."""


class NoDesk:
    """Nobody asks."""

    def note(self, account: Account) -> None:
        """Forget it."""

    def link(self, flow: http.HTTPFlow, entry: str) -> str | None:
        """Nowhere."""
        return None
