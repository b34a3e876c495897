"""A pytest plugin for pyftpdlib's own suite: its servers listen on one port, its clients go to another.

Rules of this file: AVSLUICE_SUITE_PORTS is `SERVER:CLIENT`, two ports of 127.0.0.1, the same one twice for no gateway;
the suite itself is as its authors wrote it.
"""

from __future__ import annotations

import os

from pyftpdlib.test import HOST, FtpdThreadWrapper

_SERVER, _CLIENT = (int(port) for port in os.environ["AVSLUICE_SUITE_PORTS"].split(":"))
_begin = FtpdThreadWrapper.__init__


def _begin_there(self, addr=None):
    _begin(self, (HOST, _SERVER) if addr is None else addr)
    if addr is None:
        self.port = _CLIENT


FtpdThreadWrapper.__init__ = _begin_there
