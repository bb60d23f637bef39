"""``GET /v1/openapi.json``: REST as OpenAPI 3.1, made from the catalogue, the replies and the error codes.

Nothing is said here a second time: names, bounds, examples and errors come from where the broker reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec

from mq9_mcp import __version__
from mq9_mcp.broker.catalogue import CATALOGUE, Entry
from mq9_mcp.broker.replies import REPLIES
from mq9_mcp.broker.shapes import ErrorReply
from mq9_mcp.domain.errors import CODES
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import ADDRESS_PATTERN, NAME_PATTERN, TEXT_PATTERN
from mq9_mcp.doors.answer import JSON
from mq9_mcp.doors.rest.headers import COMMAND, HEADERS

Schema = dict[str, Any]
VERSION = "3.1.0"
REF = "#/components/schemas/{name}"
# Any request may be refused so, whatever the command.
EVERYWHERE = ("UNAUTHENTICATED", "POLICY_VIOLATION", "BATCH_TOO_LARGE", "INTERNAL")
STREAMED = ("UNAUTHENTICATED", "POLICY_VIOLATION", "RATE_LIMITED", "INTERNAL", "SHUTTING_DOWN")
# The patterns of the domain without look-arounds and surrogates, which many languages lack.
PORTABLE = {
    ADDRESS_PATTERN: r"^[a-z0-9]((\.?[a-z0-9_-])*\.?[a-z0-9])?$",
    NAME_PATTERN: r"^[^\u0000-\u001f\u007f]+$",
    TEXT_PATTERN: None,
}
DESCRIPTION = (
    "A durable mailbox for every AI agent. Every command is one path: the body is its arguments, the answer "
    "its reply. On loopback without keys every caller is the principal local, acting as the agent that "
    "Mq9-Agent names."
)


@cache
def document() -> bytes:
    """The document, encoded once."""
    return msgspec.json.encode(as_dict())


def as_dict() -> dict[str, Any]:
    """The document."""
    arguments = [entry.arguments for entry in CATALOGUE.values()]
    replies = [REPLIES[name] for name in CATALOGUE]
    _, schemas = msgspec.json.schema_components([*arguments, *replies, ErrorReply], ref_template=REF)
    _refine(schemas)
    return {
        "openapi": VERSION,
        "info": {
            "title": "mq9-mcp",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name} for name in dict.fromkeys(one.name.partition("_")[0] for one in CATALOGUE.values())
        ]
        + [{"name": "reading"}],
        "paths": {
            **{f"/v1/{name}": {"post": _command(entry, schemas)} for name, entry in CATALOGUE.items()},
            "/v1/events": {"get": _events()},
            "/v1/tasks/{task}/events": {"get": _task_events()},
            "/v1/openapi.json": {"get": _openapi()},
        },
        "components": {"schemas": schemas, "parameters": {"Agent": _agent()}},
    }


def _refine(schemas: dict[str, Schema]) -> None:
    """What the types cannot say: a part holds one content, patterns that every language reads.

    ``null`` is taken for an argument that is left out, and not offered.
    """
    for schema in _below(schemas):
        _tidy(schema)
    schemas["Part"]["oneOf"] = [{"required": [name]} for name in ("text", "data", "raw", "url")]
    schemas["Part"]["additionalProperties"] = False
    for owner in ("MessageArguments", "MailboxSend"):
        parts = schemas[owner]["properties"]["parts"]
        parts |= {"items": {"$ref": REF.format(name="Part")}, "minItems": 1, "maxItems": limit("parts_max")}


def _tidy(schema: Schema) -> None:
    if schema.get("pattern") in PORTABLE:
        portable = PORTABLE[schema.pop("pattern")]
        if portable is not None:
            schema["pattern"] = portable
    if "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one != {"type": "null"}]
        if len(kinds) == 1:
            del schema["anyOf"]
            schema |= kinds[0]
            _tidy(schema)
        else:
            schema["anyOf"] = kinds
    if schema.get("default", ...) is None:
        del schema["default"]
    if isinstance(schema.get("title"), str):
        del schema["title"]
    if isinstance(schema.get("description"), str):
        schema["description"] = schema["description"].replace("``", "`")


def _below(value: Any) -> Iterator[Schema]:
    """Every object in a schema."""
    if isinstance(value, dict):
        yield value
        for child in list(value.values()):
            yield from _below(child)
    elif isinstance(value, list):
        for child in value:
            yield from _below(child)


def _agent() -> Schema:
    return {
        "name": "Mq9-Agent",
        "in": "header",
        "description": "The agent that the caller acts as. Its mailbox is made at its first send or fetch.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": limit("address_characters_max"),
            "pattern": PORTABLE[ADDRESS_PATTERN],
        },
    }


def _command(entry: Entry, schemas: dict[str, Schema]) -> Schema:
    parameters: list[Schema] = [{"$ref": "#/components/parameters/Agent"}]
    if entry.name == COMMAND:
        parameters += _headers(schemas[entry.arguments.__name__])
    body: Schema = {"schema": {"$ref": REF.format(name=entry.arguments.__name__)}}
    if entry.examples:
        body["examples"] = {
            f"example_{number}": {"summary": one.says, "value": one.arguments}
            for number, one in enumerate(entry.examples, 1)
        }
    needed = bool(schemas[entry.arguments.__name__].get("required"))
    return {
        "operationId": entry.name,
        "summary": entry.help,
        "description": f"Right: `{entry.action}` on the {entry.resource}.",
        "tags": [entry.name.partition("_")[0]],
        "parameters": parameters,
        "requestBody": {"required": needed, "content": {JSON: body}},
        "responses": {
            "200": {
                "description": "; ".join(f"{name}: {text}" for name, text in entry.reply.items()),
                "content": {JSON: {"schema": {"$ref": REF.format(name=REPLIES[entry.name].__name__)}}},
            },
            **_refusals((*entry.errors, *EVERYWHERE)),
        },
    }


def _headers(arguments: Schema) -> Iterator[Schema]:
    """mq9's headers, bounded as the arguments that they stand for."""
    for name, header in HEADERS.items():
        known = arguments["properties"][header.argument]
        schema = {name: value for name, value in known.items() if name not in ("description", "default")}
        if known.get("type") == "array":
            schema = {"type": "string", "minLength": 1}
        yield {
            "name": name,
            "in": "header",
            "description": f"{header.help} Stands for {header.argument}, beside one message only.",
            "schema": schema,
        }


def _refusals(codes: Iterable[str]) -> dict[str, Schema]:
    """The answers that are refusals, by status."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {str(status): _refusal(status, found) for status, found in sorted(by_status.items())}


def _refusal(status: int, codes: list[str]) -> Schema:
    words = " ".join(f"`{code}`: {CODES[code].meaning}" for code in codes)
    answer: Schema = {
        "description": words,
        "content": {JSON: {"schema": {"$ref": REF.format(name=ErrorReply.__name__)}}},
    }
    if status in (429, 503):
        answer["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
        }
    return answer


def _events() -> Schema:
    return _stream(
        "events",
        "What happens in the caller's mailboxes, and what it sends, as server-sent events.",
        "Each event is one record of the journal: its id is the sequence, its data a JSON "
        "object `{seq, at, events}`. A heartbeat comes every 3 seconds. No bodies, no leases.",
        "Begin after this record; from now on if left out.",
        "A stream that ends when the broker stops.",
    )


def _task_events() -> Schema:
    """As ``_events``, of one task."""
    made = _stream(
        "task_events",
        "A task as it stands, then each later entry of its history, as server-sent events.",
        "The data of the first event is `{task}`, as task_get shows it; of each later one `{entry}`. Its id "
        "is the number of the last entry told. A heartbeat comes every 3 seconds. Right: `task_get`.",
        "Begin after this entry of the history, without the task; with the task as it stands if left out.",
        "A stream that ends after the entry that ends the task, and when the broker stops.",
        "TASK_NOT_FOUND",
    )
    made["parameters"].insert(
        0, {"name": "task", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 128}}
    )
    made["responses"]["204"] = {"description": "The task is over, and nothing comes after that entry."}
    return made


def _stream(name: str, summary: str, description: str, after: str, ends: str, *codes: str) -> Schema:
    number: Schema = {"type": "integer", "minimum": 0}
    again = "What a reader sends that comes again; counts before after."
    return {
        "operationId": name,
        "summary": summary,
        "description": description,
        "tags": ["reading"],
        "parameters": [
            {"$ref": "#/components/parameters/Agent"},
            {"name": "after", "in": "query", "description": after, "schema": number},
            {"name": "Last-Event-ID", "in": "header", "description": again, "schema": number},
        ],
        "responses": {
            "200": {
                "description": ends,
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **_refusals((*codes, "INVALID_ARGUMENT", *STREAMED)),
        },
    }


def _openapi() -> Schema:
    return {
        "operationId": "openapi",
        "summary": "This document.",
        "tags": ["reading"],
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "content": {JSON: {"schema": {"type": "object"}}},
            },
            **_refusals(("POLICY_VIOLATION", "RATE_LIMITED", "INTERNAL")),
        },
    }
