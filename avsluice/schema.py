"""`avsluice schema`: the JSON Schema of the policy file, for editors."""

from __future__ import annotations

import argparse

from policy.schema import spell_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(arguments: argparse.Namespace) -> int:
    """Prints the schema; always 0."""
    print(spell_schema(), end="")
    return 0
