"""mitmproxy's own ways of small things that it does dozens of times a request, made shorter.

Rules of this file: each gives what mitmproxy's own gives, for every argument; all are installed together and removed
together, and only in a mitmproxy that they were compared with.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields
from functools import cache
from typing import Any

from mitmproxy import hooks, http
from mitmproxy.utils import asyncio_utils

_CODEC = ("utf-8", "surrogateescape")


def get_all(self: http.Headers, name: str | bytes) -> list[str]:
    """Headers.get_all, which asks three functions for each field."""
    wanted = name if isinstance(name, bytes) else name.encode(*_CODEC)
    length, wanted = len(wanted), wanted.lower()
    return [value.decode(*_CODEC) for key, value in self.fields if len(key) == length and key.lower() == wanted]


def get[T](self: http.Headers, key: str | bytes, default: T | None = None) -> str | T | None:
    """Mapping.get, which raises and catches a KeyError for each header that is not there."""
    values = get_all(self, key)
    return ", ".join(values) if values else default


def contains(self: http.Headers, key: object) -> bool:
    """Mapping.__contains__, as above."""
    return bool(get_all(self, key))  # type: ignore[arg-type]  # a mapping may be asked for anything; only names are there


def check_nothing(self: http.MessageData) -> None:
    """MessageData.__post_init__, a check of mitmproxy's own code, which `python -O` leaves out as well."""


def name_task(task: asyncio.Task[Any], *, name: str, client: tuple[Any, ...] | None = None) -> None:
    """asyncio_utils.set_task_debug_info, which asks the environment whether pytest is there."""
    task.created = time.time()  # type: ignore[attr-defined]  # mitmproxy's own attributes
    task.set_name(name)
    if client:
        task.client = client  # type: ignore[attr-defined]


def list_args(self: hooks.Hook) -> list[Any]:
    """Hook.args, which looks the fields of its class up at each event."""
    return [getattr(self, name) for name in _find_names(type(self))]  # type: ignore[arg-type]  # classes can be hashed


@cache
def _find_names(kind: type[hooks.Hook]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]  # every hook is a dataclass


_REPLACED: tuple[tuple[Any, str, Any], ...] = (
    (http.Headers, "get_all", get_all),
    (http.Headers, "get", get),
    (http.Headers, "__contains__", contains),
    (http.MessageData, "__post_init__", check_nothing),
    (asyncio_utils, "set_task_debug_info", name_task),
    (hooks.Hook, "args", list_args),
)
_MISSING = object()
_OWN = tuple(vars(owner).get(name, _MISSING) for owner, name, _short in _REPLACED)


def install() -> None:
    """Take the shorter ways from now on. May be called twice."""
    for owner, name, short in _REPLACED:
        setattr(owner, name, short)


def remove() -> None:
    """Give mitmproxy its own ways back. May be called twice."""
    for (owner, name, short), own in zip(_REPLACED, _OWN, strict=True):
        if own is not _MISSING:
            setattr(owner, name, own)
        elif vars(owner).get(name) is short:
            delattr(owner, name)
