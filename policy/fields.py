"""The types of the model's fields: a parser each, and the JSON Schema of what it reads.

Rules of this file: nothing is parsed here; relative file names become absolute against the policy file's
directory, which the loader hands in as the validation context `base`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from policy.address import Address
from policy.scalars import (
    NAME,
    parse_canary,
    parse_duration,
    parse_line,
    parse_name,
    parse_positive_duration,
    parse_positive_size,
)
from policy.valkey_url import ValkeyUrl


def resolve(value: object, info: ValidationInfo) -> Path:
    """Relative file names are relative to the policy file, whose directory the loader hands in."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(f"{value!r} is not a file name; put it in quotes")
    return Path((info.context or {}).get("base", "."), value)


class _OneOrMany:
    """A list in which a single item may stand without its brackets."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_as_list, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        array = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [array["items"], array]}


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def _none_word(value: object) -> object:
    return None if value == "none" else value


_AS_TEXT = PlainSerializer(str)
_ADDRESS_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "description": "host:port, [::1]:port or a socket"})
_VALKEY_SCHEMA = WithJsonSchema(
    {
        "type": "string",
        "minLength": 1,
        "maxLength": 4096,
        "description": "valkey://[user:password@]host:port[/db], valkeys:// (TLS), unix:///path, host:port or a socket",
    }
)
_DURATION: dict[str, Any] = {
    "type": ["string", "number"],
    "pattern": r"^\s*\d{1,12}(\.\d{1,6})?(ms|s|m|h|d)\s*$",
    "minimum": 0,
    "description": "500ms, 5s, 2m, 1h, 30d, or a number of seconds",
}
_SIZE: dict[str, Any] = {
    "type": ["string", "integer"],
    "pattern": r"^\s*\d{1,18}(\.\d{1,6})? ?([kKmMgGtT][iI]?)?[bB]?\s*$",
    "minimum": 1,
    "description": "2000 (bytes), 64KiB (1024), 1MB (1000)",
}

type Duration = Annotated[float, BeforeValidator(parse_positive_duration), WithJsonSchema(_DURATION)]
type DurationOrZero = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION)]
type Canary = Annotated[
    float | None, BeforeValidator(parse_canary), WithJsonSchema({"anyOf": [{"const": "off"}, _DURATION]})
]
type Size = Annotated[int, BeforeValidator(parse_positive_size), WithJsonSchema(_SIZE)]
type Endpoint = Annotated[Address, BeforeValidator(Address.parse), _AS_TEXT, _ADDRESS_SCHEMA]
type ClamdEndpoint = Annotated[
    Address, BeforeValidator(partial(Address.parse, default_port=3310)), _AS_TEXT, _ADDRESS_SCHEMA
]
type IcapEndpoint = Annotated[
    Address, BeforeValidator(partial(Address.parse, default_port=1344)), _AS_TEXT, _ADDRESS_SCHEMA
]
type DrwebEndpoint = Annotated[
    Address, BeforeValidator(partial(Address.parse, default_port=3000)), _AS_TEXT, _ADDRESS_SCHEMA
]
type Valkey = Annotated[ValkeyUrl, BeforeValidator(ValkeyUrl.parse), _AS_TEXT, _VALKEY_SCHEMA]
type Name = Annotated[str, BeforeValidator(parse_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})]
type Line = Annotated[
    str, BeforeValidator(parse_line), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 400})
]
type FileName = Annotated[Path, BeforeValidator(resolve), WithJsonSchema({"type": "string", "minLength": 1})]
type Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
type Flag = Annotated[bool, Field(strict=True)]
type AnyNumber[T] = Annotated[tuple[T, ...], _OneOrMany()]
type OneOrMany[T] = Annotated[tuple[T, ...], Field(min_length=1), _OneOrMany()]
type OrNone[T] = Annotated[T | None, BeforeValidator(_none_word)]
type Glob = Annotated[str, Field(strict=True, min_length=1, max_length=1024)]
type Words = OneOrMany[Glob]
