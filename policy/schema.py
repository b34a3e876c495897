"""The JSON Schema of the policy file, for editors and for checks without us.

Rules of this file: it is generated from the model and never edited; an empty value is refused by the loader,
so no `null` is allowed here either; rules between keys, names and files are the loader's alone.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from policy.model import Policy


class _WithoutNull(GenerateJsonSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        # Our defaults are Python's (seconds, bytes, None); in the file's spelling they stand in docs/policy.md.
        made.pop("default", None)
        return made


def build_schema() -> dict[str, Any]:
    """The schema of the whole file, JSON Schema 2020-12."""
    made = Policy.model_json_schema(by_alias=True, schema_generator=_WithoutNull)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "Sluice policy",
        "description": "What Sluice does with what it checks. See docs/policy.md.",
    }


def spell_schema() -> str:
    """The schema as the committed `policy.schema.json` has it."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
