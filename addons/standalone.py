"""mitmproxy in this process, for one http-proxy of a policy, set up by the policy alone.

Rules of this file: what the policy asks for and this cannot do is refused before anything listens; mitmproxy's own
configuration file is not read; standard output is left to the audit log, and what is logged goes to standard error.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mitmproxy import exceptions
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, Options
from mitmproxy.proxy.mode_servers import AsyncioServerInstance
from mitmproxy.tools.dump import DumpMaster

from addons.antivirus import AntivirusAddon
from addons.host import Host
from addons.service import Service, choose_options
from inspection.host import CannotServe
from inspection.process import allow_many_files, become, log_to_stderr

BACKLOG = 1024  # connections that wait to be accepted; the kernel may allow fewer
FAILED = 2


async def serve(service: Service, host: Host) -> int:
    """Serve until a signal ends it; the process's exit status: 0, or 2 where it could not begin."""
    options = choose_options(service)
    log_to_stderr()
    allow_many_files()
    addon = AntivirusAddon(host)
    master = _Master(service, addon)
    try:
        with _one_at_a_time():
            master.options.set(*service.settings)
            master.options.update(**options)
            _make_authority(master.options)
    except exceptions.OptionsError as why:
        raise CannotServe(str(why)) from why
    for number in (signal.SIGTERM, signal.SIGINT):  # the addon's drain takes them over
        asyncio.get_running_loop().add_signal_handler(number, master.shutdown)
    try:
        await master.run()
    except SystemExit:  # mitmproxy's word for errors at its start, which are logged
        return FAILED
    return FAILED if addon.failed else 0


def _make_authority(options: Options) -> None:
    """Where there is none, as mitmproxy itself does in its `running`. Raises CannotServe."""
    folder = Path(options.confdir).expanduser()
    try:
        if not (folder / f"{CONF_BASENAME}-ca.pem").exists():
            CertStore.create_store(folder, CONF_BASENAME, options.key_size)
    except OSError as why:
        raise CannotServe(f"no certificate authority can be kept in {folder} (--set confdir=FOLDER): {why}") from why


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two processes that make an authority at once would have one each, and clients would trust only that of the last.
    The home directory is the lock, for the folder may not be there yet."""
    try:
        home = os.open(Path.home(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, RuntimeError):  # none to be alone in: mitmproxy tells
        yield
        return
    try:
        fcntl.flock(home, fcntl.LOCK_EX)
        yield
    finally:
        os.close(home)


class _Master(DumpMaster):
    """mitmdump's, without its lines about flows and its log."""

    def __init__(self, service: Service, addon: AntivirusAddon) -> None:
        super().__init__(Options(), with_termlog=False, with_dumper=False)
        if service.proxy.user is not None and os.geteuid() == 0:
            self.addons.add(_Descent(service.proxy.user))
        self.addons.add(addon)
        _listen_with_others(reuse_port=service.at is not None)


class _Descent:
    """Drops to a user once all addresses are bound and mitmproxy has read its key, before ours opens anything. Where
    that fails mitmproxy logs it, and ends, as with any error at its start."""

    def __init__(self, user: str) -> None:
        self._user = user

    def running(self) -> None:
        """mitmproxy calls it in the order of the addons."""
        become(self._user)


def _listen_with_others(*, reuse_port: bool) -> None:
    """Let mitmproxy's servers have a longer queue than asyncio's 100, and an address that several processes share."""

    async def listen(self: AsyncioServerInstance, host: str, port: int) -> list[asyncio.Server]:  # type: ignore[type-arg]  # of any mode
        address = host or None
        more = {"reuse_port": True} if reuse_port else {}
        return [await asyncio.start_server(self.handle_stream, address, port, backlog=BACKLOG, **more)]

    AsyncioServerInstance.listen = listen  # type: ignore[assignment,method-assign]  # TCP is all that we serve
