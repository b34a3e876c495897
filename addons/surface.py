"""Every private name of mitmproxy, and of what it reads with, that we stand on, checked before anything else.

Rules of this file: a name used elsewhere and missing here is a bug; a mitmproxy that lacks one is refused at
load, with the name, instead of failing in the middle of a body.
"""

from __future__ import annotations

from asyncio import StreamReader

from h2.frame_buffer import FrameBuffer
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import contentviews, version
from mitmproxy.addonmanager import AddonManager
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.hooks import Hook
from mitmproxy.http import Headers
from mitmproxy.proxy import commands, layer, server
from mitmproxy.proxy.layers import http, websocket
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection
from mitmproxy.utils import asyncio_utils

_NAMES: tuple[tuple[object, tuple[str, ...]], ...] = (
    (
        http.HttpStream,
        (
            "_handle_event",
            "start_response_stream",
            "start_request_stream",
            "send_response",
            "check_invalid",
            "handle_protocol_error",
            "make_server_connection",
            "check_killed",
            "state_consume_request_body",
            "state_consume_response_body",
            "state_stream_request_body",
            "state_stream_response_body",
            "state_done",
            "state_errored",
            "passthrough",
        ),
    ),
    (http.HttpLayer, ("make_stream", "event_to_child")),
    (_http1, ("Http1Connection", "ReceiveBuffer", "make_body_reader", "make_error_response")),
    (_http1.Http1Server, ("read_headers", "read_body", "done")),
    (_http1.Http1Client, ("read_headers", "mark_done")),
    (ChunkedReader, ("__call__",)),
    (FrameBuffer(), ("_data", "_headers_buffer")),
    (StreamReader, ("_wakeup_waiter", "_wait_for_data", "_maybe_resume_transport")),
    (ReceiveBuffer, ("maybe_extract_at_most", "_extract")),
    (contentviews, ("prettify_message", "registry", "add")),
    (http, ("Http1Server", "Http1Client", "ReceiveHttp")),
    (http, ("SendHttp", "DropStream", "ErrorCode", "ResponseProtocolError", "RequestProtocolError")),
    (websocket, ("WebsocketConnection", "WebsocketLayer")),
    (websocket.WebsocketLayer, ("relay_messages", "done")),
    (layer, ("Layer", "CommandGenerator")),
    (commands, ("StartHook", "Log")),
    (commands.Command, ("blocking",)),
    (server, ("ConnectionIO",)),
    (server.ConnectionHandler, ("hook_task", "server_event", "drain_writers")),
    (Headers, ("get_all", "get", "__contains__")),
    (Hook, ("args",)),
    (asyncio_utils, ("create_task", "set_task_debug_info")),
    (AddonManager, ("register", "remove", "trigger_event", "_iter_hooks")),
    (Proxyserver, ("register_connection", "listen_addrs")),
    (BufferedH2Connection, ("send_data", "reset_stream")),
)


class UnknownMitmproxy(RuntimeError):
    """This mitmproxy is not one that we can stand on (local fault, permanent)."""


def check_surface() -> None:
    """Raise UnknownMitmproxy, naming what is missing."""
    missing = [
        f"{getattr(owner, '__name__', owner)}.{name}"
        for owner, names in _NAMES
        for name in names
        if not hasattr(owner, name)
    ]
    if missing:
        raise UnknownMitmproxy(
            f"mitmproxy {version.VERSION} lacks {', '.join(missing)}: "
            "install mitmproxy >=12.2.2,<13 as the project file says; nothing is checked by this one"
        )
