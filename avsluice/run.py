"""`avsluice run FILE`: the gateways of a policy, on the addresses that it names.

Rules of this file: all that were asked for run, or none; what is wrong is told before anything listens, with exit
status 2; the audit log owns standard output, everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import policy as sluice
from addons.host import Host
from addons.service import CannotServe, Service, choose_options
from policy.load import PolicyError
from policy.model import HttpProxy, Policy
from policy.model.policy import AnyGateway

_EPILOG = """\
Each gateway prints `ready http-proxy.NAME ADDRESS` on standard error once it accepts, with the real port where the
policy says 0. Audit records go where the policy says, by default to standard output.

signals:
  SIGTERM, SIGINT  stop accepting, let transfers under way finish (30 s, --set av_drain=TIME), then cut them so that
                   their clients see a failure; a second one: now
  SIGHUP           load the policy again; a broken one is reported and the old one stays in force. Addresses, tls,
                   server and user are those of the start.

exit status:
  0  ended by a signal
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
    parser.add_argument("--allow-root", action="store_true", help="run as root where the policy names no user")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="OPTION=VALUE",
        help="an option of mitmproxy's (confdir, ignore_hosts ...) or of ours (av_block_page, av_drain)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal ends it; 0 or 2."""
    try:
        policy = sluice.load(arguments.file)
        service = _choose_service(arguments, choose_gateways(policy, arguments.only))
    except (PolicyError, CannotServe) as bad:
        print(bad, file=sys.stderr)
        return 2
    from addons.standalone import serve  # with mitmproxy, which takes its time: not for what is refused

    try:
        return asyncio.run(serve(service, Host(audit="stdout", listens_by_policy=True)))
    except CannotServe as bad:
        print(bad, file=sys.stderr)
        return 2


def choose_gateways(policy: Policy, only: list[str]) -> dict[str, HttpProxy]:
    """The gateways to run, by name. Raises CannotServe where one of them cannot be."""
    gateways = dict(policy.gateways())
    for label in only:
        try:
            found = policy.find_gateway(label)
        except LookupError as why:
            raise CannotServe(f"--only: {why}") from why
        if not found.enabled:
            raise CannotServe(f"--only: {label} is disabled in the policy (enabled: false)")
    chosen = {label: g for label, g in gateways.items() if (label in only if only else g.enabled)}
    if not chosen:
        raise CannotServe("no gateway of the policy is enabled: there is nothing to run")
    _refuse_unbuilt(chosen)
    return {label.partition(".")[2]: g for label, g in chosen.items() if isinstance(g, HttpProxy)}


def _refuse_unbuilt(chosen: dict[str, AnyGateway]) -> None:
    unbuilt = [label for label, gateway in chosen.items() if not isinstance(gateway, HttpProxy)]
    if unbuilt:
        built = " ".join(label for label in chosen if label not in unbuilt)
        hint = f"run the others with --only {built}" if built else "only http-proxy is"
        raise CannotServe(f"{', '.join(unbuilt)}: enabled, but not built yet in this version; {hint}")


def _choose_service(arguments: argparse.Namespace, proxies: dict[str, HttpProxy]) -> Service:
    if len(proxies) > 1:
        names = ", ".join(f"http-proxy.{name}" for name in proxies)
        raise CannotServe(f"{names}: several http-proxies need a process each; start each with --only NAME")
    name, proxy = next(iter(proxies.items()))
    if os.geteuid() == 0 and proxy.user is None and not arguments.allow_root:
        raise CannotServe(f"http-proxy.{name} would run as root; name a `user` in the policy, or say --allow-root")
    service = Service(arguments.file, name, proxy, arguments.settings)
    choose_options(service)
    return service
