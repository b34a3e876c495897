"""What people at this machine get besides the traffic: the content view, the commands, http://sluice.local/.

Rules of this file: an addon within the antivirus addon; it shows and answers, and has no say in what passes; nothing
here blocks the loop: what reads a disk or asks an engine does so in a task, and its result is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from mitmproxy import command, ctx, exceptions, flow, http
from mitmproxy.addonmanager import Loader
from mitmproxy.hooks import UpdateHook
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.desktop.account import Account
from addons.desktop.content_view import MissingContent, explain
from addons.desktop.decisions import Decisions
from addons.desktop.local_name import HOST, URL, find_link, is_asked, is_local_client, is_local_name
from addons.desktop.local_site import LocalSite
from addons.desktop.quarantine_text import list_entries, show_entry
from addons.desktop.rescan import rescan
from addons.gateway import HttpGateway
from addons.wire.exchange import Clearance, exchange_of
from inspection.quarantine import Quarantine, QuarantineError
from inspection.record import visible, without_query

logger = logging.getLogger(__name__)

_MAX_RESCANS = 10  # lines of earlier rescans that a flow keeps


class InForce(Protocol):
    """What the desktop asks of whoever holds the policy."""

    gateway: HttpGateway | None
    file: Path | None


class Desktop:
    """`addons.desktop.desk.Desk`, and mitmproxy's side of it."""

    name = "sluice-desktop"

    def __init__(self) -> None:
        self._decisions = Decisions()
        self._in_force: InForce | None = None
        self._missing = MissingContent()
        self._tasks: set[asyncio.Task[None]] = set()
        self._site = LocalSite(
            self._decisions,
            gateway=lambda: self._in_force.gateway if self._in_force else None,
            file=lambda: self._in_force.file if self._in_force else None,
            onboarding=lambda: ctx.options.onboarding_host if ctx.options.onboarding else None,
        )

    def serve(self, in_force: InForce) -> None:
        """Tell of this holder of the policy from now on."""
        self._in_force = in_force

    # --- what gateways tell

    def note(self, account: Account) -> None:
        """One more decision."""
        self._decisions.note(account)

    def link(self, flow: http.HTTPFlow, entry: str) -> str | None:
        """Where the flow's client finds the explanation."""
        return find_link(flow, entry) if ctx.options.av_local_page else None

    # --- mitmproxy's life cycle and hooks

    def load(self, loader: Loader) -> None:
        """The view and the option."""
        text = f"The page {URL} for clients on this machine: engines, last decisions, and why something was refused."
        loader.add_option("av_local_page", bool, True, text)
        self._missing.install()

    def done(self) -> None:
        """What was not finished is not wanted any more."""
        self._missing.remove()
        for task in self._tasks:
            task.cancel()

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """The name has no tunnel: there is nothing but plain HTTP behind it."""
        if is_asked(flow) and flow.response is None:
            self._refuse(flow, f"{HOST} is inside the gateway, and speaks plain HTTP: {URL}")

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Nobody asks a name server, or a server, for the name, however it came here."""
        if data.server.address and is_local_name(data.server.address[0]):
            data.server.error = f"{HOST} is inside the gateway, and no server"

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request to the site is answered, or refused, at once and without its body."""
        if not is_asked(flow) or flow.response is not None:
            return
        if not ctx.options.av_local_page or not is_local_client(flow.client_conn):
            self._refuse(flow, f"{HOST} is there for clients on the gateway's own machine only")
            return
        flow.response = self._site.answer(flow.request)
        self._take(flow)

    def _refuse(self, flow: http.HTTPFlow, why: str) -> None:
        gateway = self._in_force.gateway if self._in_force else None
        flow.response = gateway.refuse_target(flow, why) if gateway else http.Response.make(503)
        self._take(flow)

    def _take(self, flow: http.HTTPFlow) -> None:
        exchange_of(flow).response = Clearance.OURS
        flow.request.stream = True  # what body there is, is not waited for

    # --- commands

    @command.command("av.explain")
    def explain(self, flows: Sequence[flow.Flow]) -> None:
        """Log why each flow was treated as it was: the verdict, the engines, and every ACL that was looked at."""
        for a_flow in flows:
            logger.info("%s\n%s", _name(a_flow), "\n".join(f"  {line}" for line in explain(a_flow)))

    @command.command("av.rescan")
    def rescan(self, flows: Sequence[flow.Flow]) -> None:
        """Scan the content that mitmproxy kept of the flows again, with the engines of the doc-acl that matches now,
        and log what they say. Nothing is delivered or refused by it."""
        wanted = [a_flow for a_flow in flows if isinstance(a_flow, http.HTTPFlow)]
        self._spawn(self._rescan(self._demand_gateway(), wanted))

    @command.command("av.quarantine")
    def quarantine(self, entry: str = "") -> None:
        """Log what lies in the policy's quarantine, the newest first, or all that is known of one entry (an id)."""
        quarantine = self._demand_gateway().quarantine
        if quarantine is None:
            raise exceptions.CommandError("the policy in force keeps nothing in a quarantine")
        self._spawn(_show(quarantine, entry))

    def _demand_gateway(self) -> HttpGateway:
        if self._in_force is None or self._in_force.gateway is None:
            raise exceptions.CommandError("no policy is in force yet")
        return self._in_force.gateway

    async def _rescan(self, gateway: HttpGateway, flows: Iterable[http.HTTPFlow]) -> None:
        for a_flow in flows:
            lines = [line async for line in rescan(gateway, a_flow)] or ["there is nothing in it to scan"]
            logger.info("%s\n%s", f"rescan of {_name(a_flow)}", "\n".join(f"  {line}" for line in lines))
            a_flow.metadata["av.rescan"] = [*a_flow.metadata.get("av.rescan", ()), *lines][-_MAX_RESCANS:]
            await ctx.master.addons.trigger_event(UpdateHook([a_flow]))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Held here until done, so that nobody collects it half-way."""
        task = asyncio.get_running_loop().create_task(_log_failure(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _log_failure(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except (QuarantineError, LookupError) as error:
        logger.error("antivirus: %s", error)
    except Exception:
        logger.exception("antivirus: a command failed")


async def _show(quarantine: Quarantine, entry: str) -> None:
    lines = await asyncio.to_thread(_read, quarantine, entry)
    logger.info("%s", "\n".join(lines))


def _read(quarantine: Quarantine, entry: str) -> list[str]:
    lines: Iterator[str] = show_entry(quarantine, entry) if entry else list_entries(quarantine)
    return list(lines)


def _name(a_flow: flow.Flow) -> str:
    if isinstance(a_flow, http.HTTPFlow):
        return visible(f"{a_flow.request.method} {without_query(a_flow.request.url)}")
    return a_flow.id
