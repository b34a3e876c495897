"""Which policy is in force under mitmproxy: what its options name, read and put in force.

Rules of this file: what does not load is told at once and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from addons.block_page import check_template
from addons.desktop.desk import Desk
from addons.gateway import HttpGateway, Receivers
from inspection.audit import AuditLog
from inspection.policy_in_force import Loaded, PolicyInForce
from policy.load import default_policy_path, load
from policy.model import HttpProxy, Policy


def choose_proxy(policy: Policy, wanted: str) -> tuple[str, HttpProxy]:
    """The http-proxy of that name, or the only enabled one. LookupError tells what there is."""
    enabled = {name: proxy for name, proxy in policy.http_proxy.items() if proxy.enabled}
    if not wanted and len(enabled) == 1:
        return next(iter(enabled.items()))
    if wanted in enabled:
        return wanted, enabled[wanted]
    there = ", ".join(enabled) or "none"
    if not wanted:
        raise LookupError(f"av_proxy: choose one of the enabled http-proxies with --set av_proxy=NAME: {there}")
    raise LookupError(f"av_proxy: no enabled http-proxy is called {wanted!r}; there are: {there}")


class HttpPolicyInForce(PolicyInForce[HttpGateway]):
    """Holds the http-proxy in force."""

    def __init__(
        self,
        receivers: Receivers,
        announce: Callable[[HttpGateway], None],
        desk: Desk | None = None,
        default_audit: str = "stderr",
    ) -> None:
        super().__init__(announce, default_audit)
        self._desk = desk
        self._receivers = receivers
        self._loaded: Loaded[HttpGateway] | None = None

    def read(self, path: str, wanted: str, page: str = "") -> None:
        """Load the policy and the block page (empty: the shipped ones).

        Raises PolicyError, LookupError or TemplateError and changes nothing then."""
        template = check_template(Path(page).expanduser()) if page else None
        file = Path(path).expanduser() if path else default_policy_path()
        policy = load(file)
        name, proxy = choose_proxy(policy, wanted)

        def make(audit: AuditLog) -> HttpGateway:
            return HttpGateway(
                policy, name, proxy, audit=audit, receivers=self._receivers, template=template, desk=self._desk
            )

        self._loaded = Loaded(file.absolute(), policy, make)

    def open(self, or_else: Callable[[], None] | None = None) -> None:
        """Put what was read in force, in the background; `or_else` is called where that fails."""
        if self._loaded is not None:
            self.put(self._loaded, or_else)
