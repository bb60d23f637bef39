"""Schemas of arguments and replies for models: what a model must know to call well, and no word more.

They are made from the types that the broker itself reads, which stay stricter: lengths and patterns are left
to its refusals, which say what is accepted.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

import msgspec

from mq9_mcp.broker.catalogue import CATALOGUE, Entry
from mq9_mcp.broker.replies import REPLIES
from mq9_mcp.domain.commands import MessageArguments

Schema = dict[str, Any]
KEPT = ("type", "enum", "const", "format", "minimum", "maximum", "exclusiveMinimum")
SINGLE = ("string", "integer", "number", "boolean")
WIDE = 1_000_000  # a bound above it tells a model nothing
FIELDS_SHOWN = 6  # of an object within an argument; of a larger one only the names
DETAIL = "detail"
DETAILS = ("concise", "full")
DETAIL_SCHEMA: Schema = {
    "type": "string",
    "enum": list(DETAILS),
    "default": DETAILS[0],
    "description": "How much text",
}


@cache
def _components(kind: type[Any]) -> tuple[Schema, dict[str, Schema]]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template="{name}")
    return components[schema["$ref"]], components


def shown_arguments(entry: Entry) -> tuple[str, ...]:
    """The names of the arguments that models are shown."""
    named: tuple[str, ...] = entry.arguments.__struct_encode_fields__
    return tuple(name for name in named if name not in entry.hidden)


def hidden_in(entry: Entry) -> frozenset[str]:
    """What models are not shown of a call, in a message within it neither."""
    return frozenset(entry.hidden) | frozenset(CATALOGUE["mailbox_send"].hidden)


def shows_much(entry: Entry) -> bool:
    """A reply so rich that a model may want less, or all, of it."""
    return entry.action == "read" and "results" not in entry.reply


def input_schema(entry: Entry) -> Schema:
    """The schema of a tool's arguments."""
    whole, components = _components(entry.arguments)
    properties = {
        name: _short(whole["properties"][name], components, hidden_in(entry), top=True)
        for name in shown_arguments(entry)
    }
    if shows_much(entry):
        properties[DETAIL] = DETAIL_SCHEMA
    schema: Schema = {"type": "object", "properties": properties}
    required = [name for name in whole.get("required", ()) if name in properties]
    if required:
        schema["required"] = required
    return {**schema, "additionalProperties": False}


def output_schema(entry: Entry) -> Schema:
    """The schema of a tool's reply: its names, and the types of single values. What is within a list or an
    object is left open, for a model reads the text, and a program has ``docs/reference/commands.md``.
    """
    whole, components = _components(REPLIES[entry.name])
    properties = {name: _outer(schema, components) for name, schema in whole["properties"].items()}
    return {"type": "object", "properties": properties}


def _outer(schema: Schema, components: dict[str, Schema]) -> Schema:
    kind = _resolved(schema, components).get("type")
    return {"type": kind} if kind in SINGLE else {}


def _resolved(schema: Schema, components: dict[str, Schema]) -> Schema:
    """``schema`` without the null that stands for an argument left out, and as what it refers to."""
    if "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one != {"type": "null"}]
        if len(kinds) == 1:
            rest = {name: value for name, value in schema.items() if name != "anyOf"}
            return _resolved(kinds[0] | rest, components)
    if "$ref" in schema:
        return components[schema["$ref"]] | {k: v for k, v in schema.items() if k == "description"}
    return schema


def _short(schema: Schema, components: dict[str, Schema], hidden: Collection[str], top: bool) -> Schema:
    """A schema of few words; ``top`` level arguments keep their description and default."""
    schema = _resolved(schema, components)
    short = {name: schema[name] for name in KEPT if name in schema and not _says_nothing(schema[name])}
    if top and "description" in schema:
        short["description"] = schema["description"].rstrip(".")
    if top and schema.get("default") not in (None, [], {}):
        short["default"] = schema["default"]
    if "enum" in short and all(isinstance(one, str) for one in short["enum"]):
        short = {"type": "string", **short}
    if "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one != {"type": "null"}]
        short["anyOf"] = [_short(one, components, hidden, False) for one in kinds]
        _once(short["anyOf"])
        _any_value(short)
    if "items" in schema:
        short["items"] = _short(schema["items"], components, hidden, False)
    if "properties" in schema:
        inner = _object(schema, components, hidden)
        if "description" in short and "description" in inner:
            inner["description"] = f"{short['description'].partition(';')[0]}: {inner['description']}"
        short |= inner
    return short


def _once(kinds: list[Schema]) -> None:
    """One thing or a list of them: what it is stands at the one thing."""
    for one in kinds:
        if one.get("items") in kinds and "description" in one["items"]:
            one["items"] = {"type": "object"}


def _any_value(short: Schema) -> None:
    """A number is a number, and what may be anything says nothing of its kind."""
    kinds = short["anyOf"]
    if {"type": "number"} in [{"type": one.get("type")} for one in kinds]:
        kinds[:] = [one for one in kinds if one.get("type") != "integer"]
    if {one.get("type") for one in kinds} >= {*SINGLE, "object", "array"} - {"integer"}:
        del short["anyOf"]
    elif len(kinds) == 1:
        short |= short.pop("anyOf")[0]


def _says_nothing(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= WIDE


def _object(schema: Schema, components: dict[str, Schema], hidden: Collection[str]) -> Schema:
    if schema["title"] == MessageArguments.__name__:
        return {"description": "As for mailbox_send"}
    shown = {name: one for name, one in schema["properties"].items() if name not in hidden}
    if len(shown) > FIELDS_SHOWN:
        return {"description": ", ".join(shown)}
    short: Schema = {"properties": {n: _short(one, components, hidden, False) for n, one in shown.items()}}
    required = [name for name in schema.get("required", ()) if name in shown]
    return short | ({"required": required} if required else {})
