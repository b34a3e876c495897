"""mitmproxy's content view `antivirus`: the whole decision on a message, from what stands on its flow.

Rules of this file: nothing of the message's content is shown or read; the view comes up by itself only where something
was refused, so that what passed is shown as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mitmproxy import contentviews, flow, http
from mitmproxy.contentviews import Contentview, Metadata, SyntaxHighlight

from addons.desktop.account import Account, passed
from addons.desktop.account_text import describe

NAME = "antivirus"
_FIRST, _NEVER = 100.0, -1.0  # above every view of mitmproxy's own, which stay below 3

_Prettify = Callable[..., contentviews.ContentviewResult]


def explain(a_flow: flow.Flow, message: object = None) -> Iterator[str]:
    """The lines on a flow: on that message of it first, then on the other one; and on what a rescan said since."""
    accounts = _accounts(a_flow, message)
    for number, account in enumerate(accounts):
        if number:
            yield from ("", "---", "")
        yield from describe(account)
    if not accounts:
        yield "# nothing of this flow was checked"
    if rescans := a_flow.metadata.get("av.rescan"):
        yield from ("", "rescans:", *(f"  - {line}" for line in rescans))


def _accounts(a_flow: flow.Flow, message: object) -> list[Account]:
    kinds = ["download", "upload"]
    if isinstance(message, http.Request):
        kinds.reverse()
    found = (a_flow.metadata.get(f"av.{kind}") for kind in kinds)
    return [account for account in found if isinstance(account, dict)]


class AntivirusContentview(Contentview):
    """Shows what `explain` says."""

    @property
    def name(self) -> str:
        """What it is called in mitmproxy's menus."""
        return NAME

    @property
    def syntax_highlight(self) -> SyntaxHighlight:
        """The lines are in the manner of YAML."""
        return "yaml"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """The decision; the data is not looked at."""
        return "\n".join(explain(metadata.flow, metadata.http_message)) + "\n" if metadata.flow else ""

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Before all others where the message is not what its sender sent, else never unasked."""
        refused = metadata.flow is not None and any(
            not passed(account) for account in _accounts(metadata.flow, metadata.http_message)
        )
        return _FIRST if refused and isinstance(metadata.http_message, http.Response) else _NEVER


class MissingContent:
    """Lets the view also speak where mitmproxy kept no content: it would say that it is missing, and ask no view.

    Stands in for `contentviews.prettify_message` between `install` and `remove`; each may be called twice."""

    def __init__(self) -> None:
        self._stock: _Prettify | None = None

    def install(self) -> None:
        """Take over."""
        if self._stock is None:
            contentviews.add(AntivirusContentview())
            self._stock = contentviews.prettify_message
            contentviews.prettify_message = self.prettify

    def remove(self) -> None:
        """Give mitmproxy its own back. The view itself stays in the menus: mitmproxy 12.2 cannot take it out."""
        if self._stock is not None and contentviews.prettify_message == self.prettify:
            contentviews.prettify_message = self._stock
        self._stock = None

    def prettify(
        self,
        message: contentviews.ContentviewMessage,
        flow: flow.Flow,
        view_name: str = "auto",
        registry: contentviews.ContentviewRegistry = contentviews.registry,
    ) -> contentviews.ContentviewResult:
        """mitmproxy's own, but for messages without content of flows that were checked."""
        stock = self._stock or contentviews.prettify_message
        result = stock(message, flow, view_name, registry)
        if result.view_name is not None or view_name.lower() not in ("auto", NAME) or not _accounts(flow, message):
            return result
        return contentviews.ContentviewResult(
            text="\n".join(explain(flow, message)) + "\n",
            syntax_highlight="yaml",
            view_name=NAME,
            description="(mitmproxy kept no content)",
        )
