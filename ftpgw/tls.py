"""TLS contexts of both sides.

Rules of this file: towards a client no session tickets (clients that close with unread tickets reset the connection,
which looks like a broken upload); towards a server a data connection resumes the control connection's session.
"""

from __future__ import annotations

import ssl

from aioftp.common import SSLSessionBoundContext

from policy.model.gateway import ServerTls, Tls


def open_client_context(section: Tls) -> ssl.SSLContext | None:
    """What we show to clients; None without TLS. Raises OSError where certificate or key are of no use."""
    if section.mode == "none" or section.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(section.certificate, section.key)
    context.num_tickets = 0
    return context


def open_server_context(section: ServerTls) -> ssl.SSLContext | None:
    """How we judge servers; None without TLS."""
    if section.mode == "none":
        return None
    context = ssl.create_default_context(cafile=section.ca)
    if not section.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def resume(control: ssl.SSLObject) -> ssl.SSLContext:
    """A context for a data connection beside that control connection."""
    session = control.session
    if session is None:
        return control.context
    return SSLSessionBoundContext(ssl.PROTOCOL_TLS_CLIENT, context=control.context, session=session)
