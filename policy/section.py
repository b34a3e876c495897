"""One mapping of the policy file, and how it says what is wrong with it.

Rules of this file: a section is frozen and knows every key it may hold; all that is wrong with it is said at
once, its own rules included; pydantic's words are replaced by ours here, where the section still knows its
keys.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

type Loc = tuple[int | str, ...]
type Problems = Iterator[tuple[Loc, str]]

HUMAN = "sluice"  # the type of an error that carries our own words already


def kebab(name: str) -> str:
    """The policy file's spelling of a Python name."""
    return name.replace("_", "-")


class Section(BaseModel):
    """A frozen mapping with known keys only, written in kebab-case."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=kebab, hide_input_in_errors=True)

    refused: ClassVar[Mapping[str, str]] = {}
    """Keys that stand elsewhere on purpose, and why not here."""

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        """What is wrong between the keys of one mapping, not validated yet: expect any type."""
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _gather(cls, raw: object, make: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(raw, cls):
            return raw
        if not isinstance(raw, Mapping):
            text = f"must be a mapping of `key: value`, not {_shown(raw)}"
            raise ValidationError.from_exception_data(cls.__name__, [_problem((), text)])
        empty = [key for key, value in raw.items() if value is None]
        ours: list[tuple[Loc, str]] = [((key,), "has no value; write one, or take the key out") for key in empty]
        ours += ((loc, text) for loc, text in cls.rules(raw) if not loc or loc[0] not in empty)
        made = None
        try:
            made = make({key: value for key, value in raw.items() if value is not None})
        except ValidationError as bad:
            theirs = bad.errors(include_url=False)
            ours += [(e["loc"], _human(cls, e)) for e in _worth_saying(theirs, {loc for loc, _ in ours})]
        if ours or made is None:
            raise ValidationError.from_exception_data(cls.__name__, [_problem(*o) for o in ours])
        return made


def _worth_saying(errors: list[ErrorDetails], said: set[Loc]) -> Iterator[ErrorDetails]:
    """Not twice about one place, and a list is not `empty` because its items are wrong."""
    places = [e["loc"] for e in errors]
    for error in errors:
        loc = error["loc"]
        emptied = error["type"] == "too_short" and any(p != loc and p[: len(loc)] == loc for p in places)
        if not emptied and loc not in said:
            yield error


def _problem(loc: Loc, text: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError(HUMAN, "{text}", {"text": text}), loc=loc, input=None)


def _human(section: type[Section], error: ErrorDetails) -> str:
    loc = error["loc"]
    if error["type"] == HUMAN:
        return str(error["ctx"]["text"])
    if error["type"] == "extra_forbidden" and len(loc) == 1:
        return _unknown_key(section, str(loc[0]))
    return _WORDS.get(error["type"], _as_it_is)(error)


def _unknown_key(section: type[Section], key: str) -> str:
    if why := section.refused.get(key):
        return why
    known = [field.alias or name for name, field in section.model_fields.items()]
    return f"is no key here; {suggest(key, known)}"


def suggest(word: str, known: list[str]) -> str:
    """`did you mean X?` where one is near, else the whole list."""
    spelled = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(kebab(word).casefold(), spelled, n=1, cutoff=0.6)
    if near:
        return f"did you mean {spelled[near[0]]}?"
    return f"write one of {', '.join(known)}" if known else "nothing of that kind is defined"


def _as_it_is(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _choice(error: ErrorDetails) -> str:
    words = [w.strip().strip("'") for w in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
    return f"{_shown(error['input'])} is not possible here; {suggest(str(error['input']), words)}"


def _tag(error: ErrorDetails) -> str:
    words = [w.strip().strip("'") for w in error["ctx"]["expected_tags"].split(",")]
    return f"{_shown(error['ctx']['tag'])} is not possible here; {suggest(error['ctx']['tag'], words)}"


def _shown(value: object) -> str:
    """Shortened; of a URL without what may be a login, for it may stand in a wrong place, or be spelt wrong."""
    return "nothing" if value is None else f"{_LOGIN.sub('://***@', repr(value)):.80}"


_LOGIN = re.compile(r"://.*@", re.DOTALL)


_EXAMPLES: dict[int | str, str] = {
    "action": "accept",
    "address": "127.0.0.1:3310",
    "doc-acl": "[{name: DOCUMENTS, antivirus: [ENGINE]}]",
    "documents": "[{virus-status: found}]",
    "expect": "{action: deny}",
    "listen": "127.0.0.1:8080",
    "name": "DOCUMENTS",
    "proxy": "http-proxy.HTTP",
    "server": "127.0.0.1:25",
    "uri": "/av/respmod",
}

_WORDS: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda e: f"is missing; write for example `{e['loc'][-1]}: {_EXAMPLES.get(e['loc'][-1], '...')}`",
    "extra_forbidden": lambda e: "is no key here",
    "bool_type": lambda e: f"must be true or false, not {_shown(e['input'])}",
    "int_type": lambda e: f"must be a whole number, not {_shown(e['input'])}",
    "string_type": lambda e: f"must be text, not {_shown(e['input'])}; put it in quotes",
    "string_pattern_mismatch": lambda e: f"{_shown(e['input'])} does not have the form {e['ctx']['pattern']}",
    "greater_than_equal": lambda e: f"must be at least {e['ctx']['ge']}, not {_shown(e['input'])}",
    "less_than_equal": lambda e: f"must be at most {e['ctx']['le']}, not {_shown(e['input'])}",
    "literal_error": _choice,
    "enum": _choice,
    "tuple_type": lambda e: f"must be a list, not {_shown(e['input'])}",
    "list_type": lambda e: f"must be a list, not {_shown(e['input'])}",
    "too_short": lambda e: "is empty; write at least one, or take the key out",
    "too_long": lambda e: f"is too long; at most {e['ctx'].get('max_length')} are read",
    "model_type": lambda e: f"must be a mapping of `key: value`, not {_shown(e['input'])}",
    "mapping_type": lambda e: f"must be a mapping of `name: value`, not {_shown(e['input'])}",
    "dict_type": lambda e: f"must be a mapping of `name: value`, not {_shown(e['input'])}",
    "model_attributes_type": lambda e: f"must be a mapping of `key: value`, not {_shown(e['input'])}",
    "union_tag_invalid": _tag,
    "union_tag_not_found": lambda e: "lacks its protocol; write for example `protocol: clamav-net`",
}
