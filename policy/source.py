"""A YAML file as plain data that remembers where everything stands.

Rules of this file: only mappings, lists and plain scalars come out (no tag is ever followed, no object made);
size, depth and the number of nodes after following aliases are bounded before anything is built; what is
found wrong is collected, and reading goes on where it can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from policy.plain_scalar import resolve_scalar
from policy.problem import PolicyError, Problem
from policy.section import Loc

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
MAX_NODES = 20_000


@dataclass(slots=True)
class Node:
    """A value and where it begins, and each key of a mapping. Lines and columns count from 1."""

    value: Any
    line: int
    col: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read: its root node and what was wrong with it so far."""

    file: str
    root: Node
    problems: tuple[Problem, ...]

    @property
    def data(self) -> Any:  # noqa: ANN401 - whatever the file holds
        """Dictionaries, lists and scalars."""
        return _plain(self.root)

    def problem(self, loc: Loc, text: str) -> Problem:
        """A problem at the deepest place on the way to `loc` that the file has."""
        line, col, path = _locate(self.root, loc)
        return Problem(self.file, line, col, path, text)


def read_source(path: Path) -> Source:
    """The file's content; PolicyError where it cannot be read as one YAML document within the bounds."""
    name = str(path)
    text = _read_text(path, name)
    reader = _Reader(name)
    try:
        root = reader.read(YAML(typ="safe", pure=True).parse(text))
    except _Stop as stop:
        raise PolicyError([*reader.problems, stop.problem]) from None
    except MarkedYAMLError as bad:
        raise PolicyError([*reader.problems, _syntax(name, text, bad)]) from None
    except (YAMLError, ValueError) as bad:
        raise PolicyError([*reader.problems, Problem(name, 1, 1, "yaml", f"is no YAML: {bad}")]) from None
    if root is None:
        raise PolicyError([Problem(name, 1, 1, "yaml", "the file is empty; write a policy")])
    return Source(name, root, tuple(reader.problems))


def _read_text(path: Path, name: str) -> str:
    def refuse(text: str, line: int = 1, col: int = 1) -> PolicyError:
        return PolicyError([Problem(name, line, col, "file", text)])

    try:
        if not path.is_file():
            raise refuse("is no regular file" if path.exists() else "does not exist")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as bad:
        raise refuse(f"cannot be read: {bad.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise refuse(f"is larger than {MAX_BYTES // 1024} KiB; no policy needs that")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = raw.count(b"\n", 0, bad.start) + 1
        raise refuse(f"is not UTF-8 (byte {raw[bad.start]:#04x}); save it as UTF-8", line) from None
    for bad_char in ("\0", "\x85", "\u2028", "\u2029"):
        if (at := text.find(bad_char)) >= 0:
            raise refuse(f"holds a {bad_char!a} character; take it out", text.count("\n", 0, at) + 1)
    return text


class _Stop(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class _Reader:
    """Builds nodes from events, one pass."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}
        self.path: list[int | str] = []

    def read(self, events: Iterator[Event]) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in events:
            documents += isinstance(event, DocumentStartEvent)
            if documents > 1:
                raise self._stop(event, "a second document begins here; keep one, without `---` lines")
            if isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent | AliasEvent):
                root = self._node(event, events)
        return root

    def _node(self, event: Event, events: Iterator[Event]) -> Node:
        if len(self.path) > MAX_DEPTH:
            raise self._stop(event, f"is nested deeper than {MAX_DEPTH} levels; no policy needs that")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        node = Node(None, event.start_mark.line + 1, event.start_mark.column + 1)
        self._refuse_tag(event)
        anchor: str | None = getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = None  # until it is complete an alias to it would never end
        if isinstance(event, ScalarEvent):
            node.value = resolve_scalar(event.value, plain=event.style is None and event.implicit[0])
        elif isinstance(event, SequenceStartEvent):
            node.value = self._items(node, events)
        else:
            node.value = self._pairs(node, events)
        if anchor:
            self.anchors[anchor] = node
        return node

    def _items(self, node: Node, events: Iterator[Event]) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            self.path.append(len(items))
            items.append(self._weigh(node, event, self._node(event, events)))
            self.path.pop()
        return items

    def _pairs(self, node: Node, events: Iterator[Event]) -> dict[str, Node]:
        pairs: dict[str, Node] = {}
        while not isinstance(key := next(events), MappingEndEvent):
            if not isinstance(key, ScalarEvent):
                raise self._stop(key, "is no key; a key is one word")
            name = str(key.value)
            self.path.append(name)
            value = self._weigh(node, key, self._node(next(events), events))
            if name in pairs:
                self._note(key, f"stands twice in this mapping, first in line {node.keys[name][0]}; keep one")
            elif name == "<<":
                self._note(key, "merge keys are not understood; write the keys out")
            else:
                node.keys[name] = (key.start_mark.line + 1, key.start_mark.column + 1)
                pairs[name] = value
            self.path.pop()
        return pairs

    def _alias(self, event: AliasEvent) -> Node:
        if event.anchor not in self.anchors:
            raise self._stop(event, f"*{event.anchor} names no anchor above it")
        node = self.anchors[event.anchor]
        if node is None:
            raise self._stop(event, f"*{event.anchor} contains itself")
        return node

    def _weigh(self, holder: Node, event: Event, child: Node) -> Node:
        holder.weight += child.weight
        if holder.weight > MAX_NODES:
            raise self._stop(event, f"holds more than {MAX_NODES} values, aliases followed; no policy needs that")
        return child

    def _refuse_tag(self, event: Event) -> None:
        tag = getattr(event, "tag", None) or getattr(event, "ctag", None)
        if tag and str(tag) != "!":
            self._note(event, f"the tag {str(tag)[:80]} is not allowed; write plain values")

    def _note(self, event: Event, text: str) -> None:
        self.problems.append(self._stop(event, text).problem)

    def _stop(self, event: Event, text: str) -> _Stop:
        mark = event.start_mark
        return _Stop(Problem(self.name, mark.line + 1, mark.column + 1, spell(self.path) or "yaml", text))


def _syntax(name: str, text: str, bad: MarkedYAMLError) -> Problem:
    mark: StringMark | None = bad.problem_mark or bad.context_mark
    line, col = (mark.line, mark.column) if mark else (0, 0)
    lines = text.split("\n")
    here = lines[line] if line < len(lines) else ""
    indent = here[: len(here) - len(here.lstrip())]
    if "\t" in indent or here[col : col + 1] == "\t":
        return Problem(name, line + 1, here.index("\t") + 1, "yaml", "a tab stands here; YAML is indented with spaces")
    words = " ".join(f"{bad.problem or bad.context or 'is no YAML'}".split())
    return Problem(name, line + 1, col + 1, "yaml", f"{words}; check indentation, colons and quotes")


def _plain(node: Node) -> Any:  # noqa: ANN401 - as above
    if isinstance(node.value, dict):
        return {key: _plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(value) for value in node.value]
    return node.value


def _locate(root: Node, loc: Loc) -> tuple[int, int, str]:
    node, place, path = root, (root.line, root.col), list[int | str]()
    for n, step in enumerate(loc):
        last = n == len(loc) - 1
        if isinstance(node.value, dict) and step in node.value:
            child = node.value[str(step)]
            place = node.keys[str(step)] if last or isinstance(child.value, dict | list) else (child.line, child.col)
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            child = node.value[step]
            place = (child.line, child.col)
        elif isinstance(node.value, dict) and step != "[key]" and not _is_branch(node, step):
            path += loc[n:]
            break
        else:
            continue  # pydantic's word for a union's branch or a key, or the index of a single item
        node = child
        path.append(_label(child, step))
    return (*place, spell(path) or "policy")


def _is_branch(node: Node, step: int | str) -> bool:
    """Whether the step is pydantic's name of a discriminated union's branch, not a key."""
    tag = node.value.get("protocol")
    return isinstance(step, int) or (tag is not None and tag.value == step)


def _label(node: Node, step: int | str) -> int | str:
    """An ACL is called by its name where it has one, other items of a list by their number."""
    name = node.value.get("name") if isinstance(node.value, dict) and isinstance(step, int) else None
    return str(name.value) if name is not None and isinstance(name.value, str) and name.value else step


def spell(path: list[int | str]) -> str:
    """`http-proxy.HTTP.doc-acl.DOCUMENTS.chunk`, `address[1]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
