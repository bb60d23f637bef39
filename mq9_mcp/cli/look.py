"""``mq9 commands | limits | errors``: the tables that the broker itself reads."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from mq9_mcp.broker.catalogue import CATALOGUE, Entry
from mq9_mcp.cli.connect import add_json, wants_json
from mq9_mcp.cli.exits import OK, exit_code
from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.printing import print_json, print_rows
from mq9_mcp.domain.errors import CODES
from mq9_mcp.domain.limits import LIMITS


def add_commands(parser: Parser) -> Run:
    """The options of ``mq9 commands``."""
    parser.add_argument(
        "name", nargs="?", default=None, choices=list(CATALOGUE), metavar="NAME", help="one command"
    )
    add_json(parser)
    return _commands


def add_limits(parser: Parser) -> Run:
    """The options of ``mq9 limits``."""
    add_json(parser)
    return _limits


def add_errors(parser: Parser) -> Run:
    """The options of ``mq9 errors``."""
    add_json(parser)
    return _errors


def _commands(chosen: argparse.Namespace) -> int:
    entries = [CATALOGUE[chosen.name]] if chosen.name else list(CATALOGUE.values())
    if wants_json(chosen):
        described = [_described(entry) for entry in entries]
        print_json(described[0] if chosen.name else described)
    elif chosen.name:
        _print_command(entries[0])
    else:
        print_rows([(entry.name, entry.help) for entry in entries])
        print("\nmq9 commands NAME shows the arguments of one.")
    return OK


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "help": entry.help,
        "operators": entry.operators,
        "arguments": msgspec.json.schema(entry.arguments),
        "reply": entry.reply,
        "errors": list(entry.errors),
        "examples": [{"says": one.says, "arguments": one.arguments} for one in entry.examples],
    }


def _print_command(entry: Entry) -> None:
    print(f"{entry.name}: {entry.help}\n\narguments")
    print_rows([(f"  {name}", text) for name, text in _argument_help(entry)])
    print("\nreply")
    print_rows([(f"  {name}", text) for name, text in entry.reply.items()])
    print(f"\nerrors\n  {', '.join(entry.errors)}")
    for example in entry.examples:
        print(f"\n{example.says}\n  {json.dumps(example.arguments)}")


def _argument_help(entry: Entry) -> Iterator[tuple[str, str]]:
    schema = msgspec.json.schema(entry.arguments)
    properties = schema["$defs"][entry.arguments.__name__]["properties"]
    for name, field in properties.items():
        choices = [field, *field.get("anyOf", ())]
        yield name, next((one["description"] for one in choices if "description" in one), "")


def _limits(chosen: argparse.Namespace) -> int:
    if wants_json(chosen):
        print_json({name: one._asdict() for name, one in LIMITS.items()})
        return OK
    rows = []
    for name, one in LIMITS.items():
        settable = " A mailbox may be told otherwise." if one.per_mailbox else ""
        rows.append((name, f"{one.value} {one.unit}", one.reason + settable))
    print_rows(rows)
    return OK


def _errors(chosen: argparse.Namespace) -> int:
    if wants_json(chosen):
        print_json({name: {**code._asdict(), "exit_code": exit_code(name)} for name, code in CODES.items()})
    else:
        print_rows(
            [(name, str(code.status), str(exit_code(name)), code.meaning) for name, code in CODES.items()]
        )
    return OK
