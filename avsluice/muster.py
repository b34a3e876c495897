"""Which gateways run, and in which processes.

Rules of this file: mitmproxy has state of the whole process, so each http-proxy has one of its own; all other gateways
share one; what cannot be run is refused by name, before anything is started.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from addons.service import Service, choose_options
from avsluice.hosting import HOSTED
from avsluice.worker import Worker
from inspection.host import CannotServe, show_address
from inspection.listening import names, reserve
from policy.address import Address
from policy.model import HttpProxy, Policy
from policy.model.policy import AnyGateway
from policy.scalars import parse_duration

_PATIENCE = "30s"


@dataclass(frozen=True, slots=True)
class Task:
    """What one process runs."""

    labels: tuple[str, ...]
    is_http: bool


def choose_gateways(policy: Policy, only: Sequence[str]) -> dict[str, AnyGateway]:
    """The gateways to run, by label. Raises CannotServe where one of them cannot be."""
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
    return chosen


def _refuse_unbuilt(chosen: Mapping[str, AnyGateway]) -> None:
    kinds = ("http-proxy", *HOSTED)
    unbuilt = [label for label, gateway in chosen.items() if gateway.kind not in kinds]
    if unbuilt:
        built = " ".join(label for label in chosen if label not in unbuilt)
        hint = f"run the others with --only {built}" if built else f"only {', '.join(kinds)} can be run"
        raise CannotServe(f"{', '.join(unbuilt)}: enabled, but not built yet in this version; {hint}")


class Muster:
    """The chosen gateways, divided among processes. Raises CannotServe for what cannot be."""

    def __init__(
        self, file: Path, chosen: Mapping[str, AnyGateway], settings: Sequence[str], *, allow_root: bool = False
    ) -> None:
        self.file = file
        self.patience = _patience(settings)  # seconds
        self._chosen = chosen
        self._settings = settings
        self._allow_root = allow_root
        self.tasks = tuple(_divide(chosen))
        for task in self.tasks:
            if task.is_http:
                choose_options(self.service(task))
        self._refuse_settings()
        self._refuse_users()
        self._refuse_root()

    @property
    def user(self) -> str | None:
        """Of all processes; None where they have several, or none."""
        users = {gateway.user for gateway in self._chosen.values()}
        return users.pop() if len(users) == 1 else None

    def service(self, task: Task, at: Address | None = None) -> Service:
        """What the process of an http-proxy serves."""
        (label,) = task.labels
        proxy = self._chosen[label]
        if not isinstance(proxy, HttpProxy):
            raise TypeError(label)
        return Service(self.file, label.partition(".")[2], proxy, self._settings, at)

    @contextmanager
    def reserve_addresses(self, count: int) -> Iterator[dict[str, Address]]:
        """By label, where several workers listen: the policy's address, with a real port. Held meanwhile."""
        with ExitStack() as stack:
            at: dict[str, Address] = {}
            for label, gateway in self._chosen.items() if count > 1 else ():
                if gateway.listen is None:
                    raise CannotServe(f"{label}: has no listen")
                try:
                    sockets = reserve(gateway.listen)
                except CannotServe as why:
                    raise CannotServe(f"{label}: {why}") from why
                for one in sockets:
                    stack.enter_context(one)
                at[label] = Address(host=gateway.listen.host, port=names(sockets)[0][1])
            yield at

    def make_workers(self, count: int, at: Mapping[str, Address]) -> list[Worker]:
        """Not started yet."""
        return [Worker(task.labels, self._words(task, at)) for task in self.tasks for _ in range(count)]

    def _words(self, task: Task, at: Mapping[str, Address]) -> list[str]:
        words = [str(self.file), "--only", *task.labels]
        if self._allow_root:
            words.append("--allow-root")
        settings = self._settings if task.is_http else [one for one in self._settings if one.startswith("av_drain=")]
        words += [word for one in settings for word in ("--set", one)]
        shared = [f"{label}={show_address(at[label].host, at[label].port)}" for label in task.labels if label in at]
        return words + [word for one in shared for word in ("--at", one)]

    def _refuse_settings(self) -> None:
        names = [one.partition("=")[0] for one in self._settings]
        if any(task.is_http for task in self.tasks):
            return
        for name in names:
            if name != "av_drain":
                raise CannotServe(f"--set {name}: is for an http-proxy, and none is run")

    def _refuse_users(self) -> None:
        """One process has one user."""
        for task in self.tasks:
            users = {label: self._chosen[label].user for label in task.labels}
            if len(set(users.values())) > 1:
                told = ", ".join(f"{label}: {user or 'none'}" for label, user in users.items())
                raise CannotServe(
                    f"these run in one process and name different users ({told}); write the same, or start each by "
                    "itself with --only"
                )
            for label, user in users.items():
                _look_up(label, user)

    def _refuse_root(self) -> None:
        for label, gateway in self._chosen.items():
            if os.geteuid() == 0 and gateway.user is None and not self._allow_root:
                raise CannotServe(f"{label} would run as root; name a `user` in the policy, or say --allow-root")


def _divide(chosen: Mapping[str, AnyGateway]) -> Iterator[Task]:
    others = []
    for label, gateway in chosen.items():
        if isinstance(gateway, HttpProxy):
            yield Task((label,), is_http=True)
        else:
            others.append(label)
    if others:
        yield Task(tuple(others), is_http=False)


def _look_up(label: str, user: str | None) -> None:
    if user is not None:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise CannotServe(f"{label}: user {user}: there is no such user") from None


def _patience(settings: Sequence[str]) -> float:
    given = [value for name, _, value in (one.partition("=") for one in settings) if name == "av_drain"]
    try:
        return parse_duration(given[-1] if given else _PATIENCE)
    except ValueError as why:
        raise CannotServe(f"--set av_drain: {why}") from why
