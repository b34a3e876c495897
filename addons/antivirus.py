"""The addon: mitmproxy's hooks, options and commands, each handed on to the gateway in force.

Rules of this file: hooks lay out plans and decide nothing; while no gateway is in force nothing is classified, and
so the stream layer passes nothing; a reload that fails leaves the old policy in force.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from functools import partial

from mitmproxy import command, ctx, exceptions, http
from mitmproxy.addonmanager import Loader
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, Connection
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.block_page import TemplateError
from addons.body.ranges import take_wanted
from addons.body.transfer import Transfer
from addons.desktop.desktop import Desktop
from addons.drain import DrainAddon
from addons.gateway import HttpGateway
from addons.host import MITMDUMP, Host
from addons.policy_in_force import HttpPolicyInForce
from addons.record import clear_marks
from addons.service import FIXED
from addons.sessions import Sessions
from addons.shortcuts.hook_table import HookTable
from addons.surface import check_surface
from addons.targets import find_refusal
from addons.visit import enter_visit, leave_visit
from addons.wire import body_buffer, stream
from addons.wire.closing import close_left_open, let_closings_end
from addons.wire.exchange import Clearance, exchange_of
from addons.wire.pump import PumpAddon
from addons.wire.receiver import Receiver
from addons.wire.tunnels import TunnelAddon
from inspection.host import warn_of_fixed
from policy.decision import Reason
from policy.load import PolicyError
from policy.model import HttpProxy

logger = logging.getLogger(__name__)

_OPTIONS = frozenset({"av_policy", "av_proxy", "av_block_page"})
_BAD_INPUT = (PolicyError, LookupError, TemplateError)


class AntivirusAddon:
    """Loads the policy of the option `av_policy` and checks what flows."""

    def __init__(self, host: Host = MITMDUMP) -> None:
        self.failed = False  # True where no policy ever came in force
        self._host = host
        self._in_force: HttpPolicyInForce | None = None
        self._desktop = Desktop()
        drain = DrainAddon(self._cut, host.witness, self._reload_by_signal)
        self.addons = [self._desktop, drain, TunnelAddon()]  # mitmproxy calls their hooks after ours
        self._pump = PumpAddon()
        self._hooks: HookTable | None = None
        self._sessions = Sessions()
        self._running = False
        self._announced = False
        self._begun_with: HttpProxy | None = None

    # --- mitmproxy's life cycle

    def load(self, loader: Loader) -> None:
        """Refuse a mitmproxy that we cannot stand on, then take its streams over."""
        check_surface()
        stream.install()
        body_buffer.install()
        self._in_force = HttpPolicyInForce(_receiver, self._announce, self._desktop, self._host.audit)
        self._desktop.serve(self._in_force)
        loader.add_option("av_policy", str, "", "The policy file; empty: the policy that ships with Sluice.")
        loader.add_option("av_proxy", str, "", "Which http-proxy of the policy, where several are enabled.")
        loader.add_option("av_block_page", str, "", "A block page of yours (HTML); empty: the shipped one.")
        loader.add_option("av_fast_hooks", bool, True, "Shorter ways through mitmproxy; false: its own, all of them.")

    def configure(self, updated: set[str]) -> None:
        """Read the policy anew where an option of ours changed. A bad one is refused and the old one stays."""
        if self._hooks is not None:
            self._hooks.forget()
        if self._running and "av_fast_hooks" in updated:
            self._choose_dispatch()
        if self._in_force is None or not updated & _OPTIONS:
            return
        try:
            self._read()
        except _BAD_INPUT as error:
            if self._running:
                raise exceptions.OptionsError(str(error)) from error
            logger.error("%s", error)  # at start-up mitmproxy's own errorcheck turns this into an exit
            return
        if self._running:
            self._in_force.open()

    def _read(self) -> None:
        if self._in_force is not None:
            options = ctx.options
            self._in_force.read(options.av_policy, options.av_proxy, options.av_block_page)

    def running(self) -> None:
        """The proxy is up: prove the engines and open. Not a coroutine, because a hot reload calls it plainly."""
        self._running = True
        self._pump.register()
        self._choose_dispatch()
        ctx.options.update(rawtcp=False)  # raw TCP in a CONNECT would be a tunnel that nobody looks into
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload_by_signal)
        if self._in_force is not None:
            self._in_force.open(or_else=self._give_up)

    def _give_up(self) -> None:
        self.failed = not self._announced
        ctx.master.shutdown()

    def _choose_dispatch(self) -> None:
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None
        if ctx.options.av_fast_hooks and HookTable.fits():
            self._hooks = HookTable(ctx.master.addons)
            self._hooks.install()

    def done(self) -> None:
        """Unloaded or shut down: from now on nothing is classified."""
        if self._hooks is not None:
            self._hooks.remove()
        self._pump.unregister()
        if self._running:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        if self._in_force is not None:
            self._in_force.close()

    def _cut(self) -> None:
        if self._in_force is not None:
            self._in_force.cut()

    def _announce(self, gateway: HttpGateway) -> None:
        if self._announced:
            logger.info("antivirus: %s: the new policy is in force", gateway.name)
            if self._begun_with is not None and self._host.listens_by_policy:
                warn_of_fixed(gateway.name, self._begun_with, gateway.proxy, FIXED)
            self._host.witness.settled()
            return
        self._announced, self._begun_with = True, gateway.proxy
        # Some 100,000 objects of mitmproxy's stay for good: a full collection that walks them stalls the loop (90 ms).
        gc.collect()
        gc.freeze()
        bound = _listen_addresses()
        self._host.witness.ready(gateway.name, bound)
        listen = gateway.proxy.listen
        others = bound and str(listen) not in {f"{host}:{port}" for host, port in bound}
        if listen is not None and others and not self._host.listens_by_policy:
            logger.warning("antivirus: the policy says listen %s; mitmproxy's own options rule here", listen)

    # --- commands

    @command.command("av.reload")
    def reload(self) -> None:
        """Read the policy file again and put it in force; a broken one is reported and changes nothing."""
        if self._in_force is None:
            raise exceptions.CommandError("the antivirus addon is not loaded")
        try:
            self._read()
        except _BAD_INPUT as error:
            raise exceptions.CommandError(str(error)) from error
        self._in_force.open(or_else=self._host.witness.settled)

    def _reload_by_signal(self) -> None:
        self._host.witness.reloading()
        try:
            self.reload()
        except exceptions.CommandError as error:
            self._host.witness.settled()
            logger.error("antivirus: the policy was not reloaded, the old one stays in force:\n%s", error)

    # --- mitmproxy's hooks

    def client_connected(self, client: Client) -> None:
        """A client that the policy does not let in, or has no room for, is disconnected."""
        peer = _peer(client, client)
        peer.read_in_pieces()
        address = client.peername[0] if client.peername else ""
        why = self._refuse(client, address)
        if why is not None:
            logger.warning("antivirus: %s is refused: %s", address, why)
            client.error = why
        elif self._gateway is not None:
            enter_visit(client, peer, self._gateway.proxy.limits)

    def _refuse(self, client: Client, address: str) -> str | None:
        """Why a client may not come in. None may before it can be known who may."""
        if (gateway := self._gateway) is None:
            return "no policy is in force yet"
        why = self._sessions.enter(client.id, address, gateway.proxy.limits)
        return why if why is not None else gateway.refuse_session(address, client.id[:8])

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """A tunnel to where nobody may go is not opened."""
        self._refuse_target(flow)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """A name may have led to where nobody may go: nothing is said there. All else is read in large pieces."""
        _peer(data.client, data.server).read_in_pieces()
        peer = data.server.peername
        if peer is None or data.server.via or _is_chosen_by_us(data.client):
            return
        if (why := find_refusal(peer[0], peer[1], _own_addresses(self._gateway))) is not None:
            logger.error("antivirus: %s leads to %s: %s", data.server.address, peer[0], why)
            _peer(data.client, data.server).abort_at_once()

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """No socket of it stays open, however its task ended."""
        server = _proxyserver()
        if server is not None and (handler := server.connections.get(data.client.id)) is not None:
            close_left_open(handler, data.server)

    def _refuse_target(self, flow: http.HTTPFlow) -> bool:
        gateway, request = self._gateway, flow.request
        if _is_chosen_by_us(flow.client_conn):
            return False
        why = find_refusal(request.host, request.port, _own_addresses(gateway))
        if why is None:
            return False
        logger.warning("antivirus: %s:%s is refused: %s", request.host, request.port, why)
        flow.response = gateway.refuse_target(flow, why) if gateway else http.Response.make(503)
        exchange_of(flow).response = Clearance.OURS
        flow.request.stream = True  # what body there is, is not waited for
        return True

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Whatever body follows is an upload to be checked. Of the origin only whole objects are asked."""
        clear_marks(flow)
        if self._refuse_target(flow) or (gateway := self._gateway) is None:
            return
        exchange = exchange_of(flow)
        exchange.wanted = take_wanted(flow.request)
        exchange.throttle = partial(gateway.make_throttle, flow)
        exchange.request = partial(gateway.open_upload, flow)
        flow.request.stream = True

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Whatever body follows is a download to be checked."""
        if (gateway := self._gateway) is None or flow.response is None:
            return
        exchange = exchange_of(flow)
        if exchange.response is None:
            exchange.response = partial(gateway.open_download, flow, exchange.wanted)
        if flow.response.raw_content is None:
            flow.response.stream = True

    async def response(self, flow: http.HTTPFlow) -> None:
        """A body that another addon made never went through a transfer: it is checked here, whole."""
        if (gateway := self._gateway) is None or flow.response is None or not flow.response.raw_content:
            return
        exchange = exchange_of(flow)
        if isinstance(exchange.response, Clearance | Transfer):
            return
        classified = gateway.open_download(flow)
        if not isinstance(classified, Transfer):
            exchange.response = classified
        elif await classified.judge(flow.response.raw_content):
            exchange.response = Clearance.CHECKED
        else:
            flow.response = gateway.page(flow, classified)
            exchange.response = Clearance.OURS

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Each message is an object of its own; one that does not pass ends the connection."""
        if (gateway := self._gateway) is None or flow.websocket is None:
            return
        exchange, message = exchange_of(flow), flow.websocket.messages[-1]
        transfer = gateway.open_message(flow, message.content, from_client=message.from_client)
        if isinstance(transfer, Transfer) and not await transfer.judge(message.content):
            message.drop()
            exchange.broken = True
            return
        exchange.messages += 1

    async def client_disconnected(self, client: Client) -> None:
        """One connection less; no socket to a server may stay open behind a client that left."""
        self._sessions.leave(client.id)
        leave_visit(client)
        server = _proxyserver()
        handler = server.connections.get(client.id) if server else None
        if handler is not None:
            await let_closings_end(handler, client)

    def error(self, flow: http.HTTPFlow) -> None:
        """The flow ended in a way that its stream did not tell its transfers of, as by a kill in the user interface."""
        exchange = exchange_of(flow)
        for transfer in (exchange.request, exchange.response):
            if isinstance(transfer, Transfer) and transfer.last is None:
                transfer.abandon(Reason.CLIENT_GONE, flow.error.msg if flow.error else "the flow ended")

    @property
    def _gateway(self) -> HttpGateway | None:
        return self._in_force.gateway if self._in_force else None


def _proxyserver() -> Proxyserver | None:
    server: Proxyserver | None = ctx.master.addons.get("proxyserver")
    return server


def _listen_addresses() -> list[tuple[str, int]]:
    server = _proxyserver()
    return [(address[0], address[1]) for address in server.listen_addrs()] if server else []


def _own_addresses(gateway: HttpGateway | None) -> list[tuple[str, int]]:
    """Everything that this process listens on: mitmproxy's ports, mitmweb's, the metrics'."""
    own = _listen_addresses()
    if "web_port" in ctx.options:
        own.append((ctx.options.web_host, ctx.options.web_port))
    metrics = gateway.policy.metrics.listen if gateway else None
    if metrics is not None and metrics.port:
        own.append((metrics.host or "", metrics.port))
    return own


def _is_chosen_by_us(client: Client) -> bool:
    """True where the administrator chose the target, and not the client."""
    return isinstance(client.proxy_mode, mode_specs.ReverseMode)


def _peer(client: Client, peer: Connection) -> Receiver:
    server = _proxyserver()
    return Receiver(server.connections.get(client.id) if server else None, peer)


def _receiver(flow: http.HTTPFlow, upload: bool) -> Receiver:
    return _peer(flow.client_conn, flow.server_conn if upload else flow.client_conn)
