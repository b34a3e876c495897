"""A conversation with the HTTP layer, without sockets: bytes of the peers in, bytes to them out.

Rules of this file: hooks are answered by a function of the test, at once; `av_pump` is answered when the test asks
for it, by `pump`; connections to servers succeed unless the test says otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mitmproxy import options
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons

from addons.wire.pump import AvPumpHook, Pump


class Playbook:
    """One client connection. `hooks` maps a hook's name to what is done in it."""

    def __init__(self, hooks: dict[str, Callable[..., Any]], refuse_servers: str | None = None) -> None:
        made = options.Options()
        with taddons.context(Proxyserver(), options=made):
            pass
        client = Client(
            peername=("192.0.2.1", 1234),
            sockname=("192.0.2.2", 8080),
            timestamp_start=0.0,
            proxy_mode=ProxyMode.parse("regular"),
            state=ConnectionState.OPEN,
        )
        self.client = client
        self.hooks, self.refuse_servers = hooks, refuse_servers
        self.writes: list[tuple[Connection, bytes]] = []
        self.out: dict[Connection, bytes] = {client: b""}
        self.servers: list[Server] = []
        self.closed: set[Connection] = set()
        self.names: list[str] = []
        self.pumps: list[AvPumpHook] = []
        self.logs: list[str] = []
        self._waiting: list[events.Event] = []
        self._layer = HttpLayer(context.Context(client, made), HTTPMode.regular)
        self._feed(events.Start())

    # --- what the peers do

    def from_client(self, data: bytes) -> None:
        self._feed(events.DataReceived(self.client, data))

    def from_server(self, data: bytes) -> None:
        self._feed(events.DataReceived(self.server, data))

    def close(self, connection: Connection) -> None:
        connection.state = ConnectionState.CLOSED
        self._feed(events.ConnectionClosed(connection))

    def to_stream(self, event: Any) -> None:
        """What an HTTP/2 connection would tell the stream."""
        stream = self._layer.streams[event.stream_id]
        for command in self._layer.event_to_child(stream, event):
            self._obey(command)
        self._run()

    @property
    def server(self) -> Server:
        return self.servers[-1]

    @property
    def to_client(self) -> bytes:
        return self.out[self.client]

    @property
    def to_server(self) -> bytes:
        return self.out[self.server]

    # --- the pump

    async def pump(self, answer: bool = True) -> None:
        """Answer the pumps that have a step by now (or all of them emptily), until none has."""
        for _ in range(60):
            for hook in list(self.pumps):
                if not answer:
                    self._complete(hook, Pump(hook.pump.transfer))
                    continue
                task = asyncio.get_running_loop().create_task(hook.pump.transfer.next_step())
                for _ in range(20):
                    await asyncio.sleep(0)
                if task.done():
                    hook.pump.step = task.result()
                    self._complete(hook, hook.pump)
                else:
                    task.cancel()
            await asyncio.sleep(0)

    def _complete(self, hook: AvPumpHook, pump: Pump) -> None:
        self.pumps.remove(hook)
        self._feed(events.HookCompleted(hook))

    # --- the proxy's server loop

    def _feed(self, event: events.Event) -> None:
        """Completions come behind the commands that the layer is just giving, as in a real loop."""
        self._waiting.append(event)
        self._run()

    def _run(self) -> None:
        while self._waiting:
            for command in self._layer.handle_event(self._waiting.pop(0)):
                self._obey(command)

    def _obey(self, command: commands.Command) -> None:  # noqa: C901 - one branch for each command
        match command:
            case AvPumpHook():
                self.pumps.append(command)
            case commands.StartHook():
                self.names.append(command.name)
                if (hook := self.hooks.get(command.name)) is not None:
                    hook(*command.args())
                if command.blocking:
                    self._later(events.HookCompleted(command))
            case commands.OpenConnection(connection=server):
                self.servers.append(server)  # type: ignore[arg-type]  # only servers are opened
                self.out[server] = b""
                if self.refuse_servers is None:
                    server.state = ConnectionState.OPEN
                    server.timestamp_start = server.timestamp_tcp_setup = 0.0
                self._later(events.OpenConnectionCompleted(command, self.refuse_servers))
            case commands.SendData(connection=connection, data=data):
                if connection not in self.closed:
                    self.out[connection] += data
                    self.writes.append((connection, data))
            case commands.CloseConnection(connection=connection):
                connection.state = ConnectionState.CLOSED
                self.closed.add(connection)
            case commands.Log(message=message):
                self.logs.append(message)

    def _later(self, event: events.Event) -> None:
        self._waiting.append(event)
