"""`avsluice run FILE`: the gateways of a policy, on the addresses that it names.

Rules of this file: all that were asked for run, or none; what is wrong is told before anything listens, with exit
status 2; the audit log owns standard output, everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import policy as sluice
from avsluice.muster import Muster, Task, choose_gateways
from inspection.host import CannotServe, Witness
from policy.address import Address
from policy.load import PolicyError

_EPILOG = """\
Each gateway prints `ready http-proxy.NAME ADDRESS` on standard error once it accepts, with the real port where the
policy says 0. Audit records go where the policy says, by default to standard output.

Each http-proxy runs in a process of its own, all other gateways together in one; where that makes several processes,
this one starts them and answers for them.

signals:
  SIGTERM, SIGINT  stop accepting, let transfers under way finish (30 s, --set av_drain=TIME), then cut them so that
                   their clients see a failure; a second one: now
  SIGHUP           load the policy again; a broken one is reported and the old one stays in force. Addresses, tls,
                   server and user are those of the start.

exit status:
  0  ended by a signal
  1  one of several processes ended unasked, or had to be killed; the others were ended
  2  nothing was started: the policy has errors, an address is taken, an engine that is required is missing
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE and what is to run of it."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("file", type=Path, metavar="FILE", help="the policy file")
    parser.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="these gateways instead of every enabled one, e.g. http-proxy.HTTP",
    )
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes for each http-proxy and for the others (1)"
    )
    parser.add_argument("--allow-root", action="store_true", help="run as root where the policy names no user")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="OPTION=VALUE",
        help="an option of mitmproxy's (confdir, ignore_hosts ...) or of ours (av_block_page, av_drain)",
    )
    # What one of several processes is started with: line, lock and heartbeat; and which address it shares.
    parser.add_argument("--worker", type=_line, help=argparse.SUPPRESS)
    parser.add_argument("--at", action="append", default=[], help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal ends it; 0, 1 or 2."""
    try:
        policy = sluice.load(arguments.file)
        chosen = choose_gateways(policy, arguments.only)
        muster = Muster(arguments.file, chosen, arguments.settings, allow_root=arguments.allow_root)
        if arguments.worker is not None:
            return _be_worker(muster, arguments)
        if arguments.workers == 1 and len(muster.tasks) == 1:
            return _serve_alone(muster)
        return _supervise(muster, arguments.workers)
    except (PolicyError, CannotServe) as bad:
        print(bad, file=sys.stderr)
        return 2


def _serve_alone(muster: Muster) -> int:
    from avsluice.notify import Notifier, ToldWitness

    task = muster.tasks[0]
    return _serve(muster, task, ToldWitness(Notifier(), len(task.labels)), {})


def _be_worker(muster: Muster, arguments: argparse.Namespace) -> int:
    from avsluice.link import Link
    from inspection.sinks import take_turns

    line, lock, beat = arguments.worker
    os.set_inheritable(lock, False)
    take_turns(lock)
    (task,) = muster.tasks  # one process, and so it starts none
    shared = (one.partition("=") for one in arguments.at)
    at = {label: Address.parse(address) for label, _, address in shared}
    return _serve(muster, task, Link(line, beat), at)


def _serve(muster: Muster, task: Task, witness: Witness, at: Mapping[str, Address]) -> int:
    if task.is_http:
        from addons.host import Host
        from addons.standalone import serve  # with mitmproxy, which takes its time: not for what is refused

        host = Host(audit="stdout", witness=witness, listens_by_policy=True)
        return asyncio.run(serve(muster.service(task, at.get(task.labels[0])), host))
    from avsluice.hosting import open_hosted, serve_hosted

    hosted = [open_hosted(muster.file, label) for label in task.labels]
    return asyncio.run(serve_hosted(hosted, witness, muster.patience, at))


def _supervise(muster: Muster, count: int) -> int:
    from avsluice.notify import Notifier
    from avsluice.supervisor import Supervisor
    from inspection.process import log_to_stderr

    log_to_stderr()
    with muster.reserve_addresses(count) as at:
        workers = muster.make_workers(count, at)
        return asyncio.run(Supervisor(workers, muster.patience, Notifier(), muster.user).run())


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 to 256")
    return int(text)


def _line(text: str) -> tuple[int, int, float]:
    line, lock, beat = text.split(",")
    return int(line), int(lock), float(beat)
