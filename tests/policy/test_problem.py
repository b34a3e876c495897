"""Problems and their order."""

from __future__ import annotations

from policy.problem import PolicyError, Problem


def test_a_problem_is_one_line():
    """What a file holds cannot break the report's line, nor move a terminal's cursor."""
    problem = Problem("f", 1, 2, "a.\x1b[2J", "is\nbad \u202e")
    assert str(problem) == "f:1:2: a.\\x1b[2J: is\\nbad \\u202e"


def test_problems_come_in_the_order_of_the_file():
    """However they were found, they are told from top to bottom."""
    late, early = Problem("f", 9, 1, "b", "x"), Problem("f", 2, 5, "a", "y")
    assert PolicyError([late, early]).problems == [early, late]
    assert str(PolicyError([late, early])) == "f:2:5: a: y\nf:9:1: b: x"
