"""One entry condition as a function of the facts.

Rules of this file: a test answers None when the condition holds, else why it does not, in words for people;
what is not known does not hold; no test parses anything twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any
from urllib.parse import unquote, urlsplit

from policy.comparison import Comparison
from policy.globs import compile_globs
from policy.hours import Hours
from policy.magic import recognise
from policy.networks import compile_networks, compile_servers
from policy.section import kebab
from policy.verdict import Status

type Why = str | None
type Facts = Any  # of any layer: a layer offers only conditions that its facts can answer
type Test = Callable[[Facts], Why]

WAIT = "magic: the first bytes have not come yet"
"""The one answer that is none: ask again once the facts have a `head`. Compare by identity."""


def compile_test(key: str, values: tuple[Any, ...]) -> Test:
    """The test of one condition, by its Python name."""
    return _COMPILERS[key](key, values)


def _test(
    key: str,
    values: Iterable[object],
    read: Callable[[Any], Any],
    fits: Callable[[Any], bool],
    show: Callable[[Any], str] = str,
) -> Test:
    name, wanted = kebab(key), _cut(", ".join(str(v) for v in values))

    def test(facts: object) -> Why:
        value = read(facts)
        if value is None:
            return f"{name} is not known"
        return None if fits(value) else f"{name} is {_cut(show(value))}, not {wanted}"

    return test


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _by_glob(read: Callable[[Any], str | None]) -> Callable[[str, tuple[str, ...]], Test]:
    return lambda key, values: _test(key, values, read, compile_globs(values))


def _url(key: str, values: tuple[str, ...]) -> Test:
    """Matches the whole URL; its query, which may hold a secret, is not told."""
    return _test(key, values, attrgetter("url"), compile_globs(values), _without_query)


def _without_query(url: str) -> str:
    shown, mark, _ = url.partition("?")
    return f"{shown}?..." if mark else shown


def _client(key: str, values: tuple[Any, ...]) -> Test:
    return _test(key, values, attrgetter("client"), compile_networks(values))


def _server(key: str, values: tuple[Any, ...]) -> Test:
    return _test(key, values, attrgetter("server"), compile_servers(values))


def _time(key: str, values: tuple[Hours, ...]) -> Test:
    def test(facts: Facts) -> Why:
        if facts.at is None:
            return f"{key} is not known"
        return None if any(h.holds(facts.at) for h in values) else f"{key} is {facts.at:%a %H:%M}, outside"

    return test


def _direction(key: str, values: tuple[str, ...]) -> Test:
    return _test(key, values, attrgetter("direction"), frozenset(values).__contains__)


def _size(key: str, values: tuple[Comparison, ...]) -> Test:
    return _test(key, values, attrgetter("size"), lambda size: any(c.holds(size) for c in values))


def _status(key: str, values: tuple[Status, ...]) -> Test:
    return _test(key, values, attrgetter("status"), frozenset(values).__contains__)


def _virus_name(key: str, values: tuple[str, ...]) -> Test:
    match = compile_globs(values)
    return _test(key, values, lambda facts: facts.viruses or None, lambda names: any(map(match, names)))


def _recipient(key: str, values: tuple[str, ...]) -> Test:
    match = compile_globs(values)
    wanted = _cut(", ".join(values))

    def test(facts: Facts) -> Why:
        if not facts.recipients:
            return f"{key} is not known"
        other = next((r for r in facts.recipients if not match(r)), None)
        return None if other is None else f"{key} {_cut(other)} is not {wanted}"

    return test


def _sender(key: str, values: tuple[str, ...]) -> Test:
    return _test(key, values, _read_sender, compile_globs(values))


def _magic(key: str, values: tuple[str, ...]) -> Test:
    decided = _test(key, values, _read_magic, compile_globs(values))

    def test(facts: Facts) -> Why:
        return WAIT if facts.head is None and facts.magic is None else decided(facts)

    return test


def _extension(key: str, values: tuple[str, ...]) -> Test:
    match = compile_globs(v.removeprefix(".") for v in values)
    return _test(key, values, _read_name, lambda name: any(map(match, _extensions(name))))


def _extensions(name: str) -> list[str]:
    # Windows opens `a.exe.` and `a.exe ` as `a.exe`.
    parts = name.rstrip(". ").split(".")[1:]
    return [".".join(parts[n:]) for n in range(len(parts))]


def _read_sender(facts: Facts) -> str | None:
    sender: str | None = facts.sender
    return "<>" if sender == "" else sender


def _read_magic(facts: Facts) -> str:
    return str(facts.magic) if facts.magic is not None else recognise(facts.head)


def _read_type(facts: Facts) -> str | None:
    declared = facts.content_type
    return None if declared is None else str(declared).partition(";")[0].strip()


def _read_host(facts: Facts) -> str | None:
    host = facts.host if facts.host is not None or facts.url is None else _split(facts.url)[0]
    return None if host is None else str(host).rstrip(".")


def _read_name(facts: Facts) -> str | None:
    if facts.filename is not None:
        return str(facts.filename)
    url = getattr(facts, "url", None)
    return None if url is None else _split(url)[1]


def _split(url: str) -> tuple[str | None, str | None]:
    """Host and file name of a URL; None where it has none or cannot be split."""
    try:
        parts = urlsplit(url)
        return parts.hostname, unquote(parts.path).rpartition("/")[2] or None
    except ValueError:
        return None, None


_COMPILERS: dict[str, Callable[[str, Any], Test]] = {
    "client": _client,
    "server": _server,
    "time": _time,
    "user": _by_glob(attrgetter("user")),
    "direction": _direction,
    "method": _by_glob(attrgetter("method")),
    "url": _url,
    "host": _by_glob(_read_host),
    "content_type": _by_glob(_read_type),
    "extension": _extension,
    "filename": _by_glob(_read_name),
    "magic": _magic,
    "size": _size,
    "sender": _sender,
    "recipient": _recipient,
    "virus_status": _status,
    "virus_name": _virus_name,
}
