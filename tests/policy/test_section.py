"""How a section says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from policy.fields import Count, Flag, OneOrMany
from policy.section import Problems, Section, suggest
from policy.verdict import Status


class Inner(Section):
    """A section inside another."""

    deep_key: Count = 1


class Outer(Section):
    """A section with everything that can go wrong."""

    refused: ClassVar[Mapping[str, str]] = {"old-name": "is called new-name now"}

    needed: str
    some_flag: Flag = False
    statuses: OneOrMany[Status] = ()
    inner: Inner = Inner()

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Problems:
        if raw.get("some-flag") is True and "inner" not in raw:
            yield ("inner",), "is missing beside some-flag"


def complain(data: object) -> dict[str, str]:
    """Every problem, by its place."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def test_all_problems_come_at_once_with_the_rules_own():
    """Unknown keys, wrong types, missing keys and rules between keys are told together."""
    assert complain({"some-flag": True, "statuses": ["fre"], "neded": 1}) == {
        "needed": "is missing; write for example `needed: ...`",
        "neded": "is no key here; did you mean needed?",
        "statuses.0": "'fre' is not possible here; did you mean free?",
        "inner": "is missing beside some-flag",
    }


def test_inner_sections_keep_their_words():
    """What an inner section says comes out unchanged, under its place."""
    said = complain({"needed": "x", "inner": {"deep_key": 3, "deep-key": 0}})
    assert said == {
        "inner.deep_key": "is no key here; did you mean deep-key?",
        "inner.deep-key": "must be at least 1, not 0",
    }


def test_an_empty_value_is_told_once():
    """A key without a value is neither missing nor taken for its default."""
    assert complain({"needed": None, "inner": None}) == {
        "needed": "has no value; write one, or take the key out",
        "inner": "has no value; write one, or take the key out",
    }


def test_a_list_is_not_called_empty_because_its_items_are_wrong():
    """An empty list and a list of mistakes are different complaints."""
    assert complain({"needed": "x", "statuses": []}) == {
        "statuses": "is empty; write at least one, or take the key out"
    }
    assert list(complain({"needed": "x", "statuses": ["bad", 5]})) == ["statuses.0", "statuses.1"]


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        ({"needed": 5}, "needed", "must be text, not 5; put it in quotes"),
        ({"needed": "x", "some-flag": "yes"}, "some-flag", "must be true or false, not 'yes'"),
        ({"needed": "x", "inner": {"deep-key": "9"}}, "inner.deep-key", "must be a whole number, not '9'"),
        ({"needed": "x", "inner": {"deep-key": True}}, "inner.deep-key", "must be a whole number, not True"),
        ({"needed": "x", "inner": []}, "inner", "must be a mapping of `key: value`, not []"),
        ({"needed": "x", "old-name": 1}, "old-name", "is called new-name now"),
        ("words", "", "must be a mapping of `key: value`, not 'words'"),
    ],
)
def test_our_words_stand_for_pydantics(data: object, place: str, words: str):
    """Wrong types and misplaced keys are told in words for people."""
    assert complain(data) == {place: words}


def test_suggestions():
    """The nearest word is suggested in any spelling, else all there are, else that there is none."""
    assert suggest("max_chekced_size", ["max-checked-size", "timeout"]) == "did you mean max-checked-size?"
    assert suggest("xyzzy", ["a", "b"]) == "write one of a, b"
    assert suggest("x", []) == "nothing of that kind is defined"


def test_sections_are_frozen():
    """What was read stays as it was read."""
    made = Outer.model_validate({"needed": "x"})
    assert Outer.model_validate(made) is made
    with pytest.raises(ValidationError):
        made.needed = "y"  # type: ignore[misc]  # the point of the test
