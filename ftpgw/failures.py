"""How a transfer ends that does not succeed.

Rules of this file: who raises one has not told the client yet; what the server does wrong is an UpstreamError.
"""

from __future__ import annotations

from ftpgw.wire import Reply


class UpstreamError(ConnectionError):
    """The server is not there, does not answer, or answers nonsense (remote fault, temporary). No reply was had."""


class ClientGone(Exception):
    """The client's data connection broke, or never came. `code` is the reply's."""

    def __init__(self, why: str, code: int = 426) -> None:
        super().__init__(why)
        self.code = code


class Unconfirmed(UpstreamError):
    """All was sent, and the server's last word is no success."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"it said {reply}")
        self.reply = reply


class Refused(Exception):
    """The verdict stops the object: nothing more is to be moved."""
