"""The broker's commands as noun and verb: ``mailbox_send`` is ``mq9 mailbox send``, from the catalogue."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Any

from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.broker.catalogue import CATALOGUE, Entry
from mq9_mcp.cli.connect import add_connection, add_json, connected, wants_json
from mq9_mcp.cli.exits import OK, exit_code
from mq9_mcp.cli.flags import Flag, add_flags, assign, flags_of, given, usage_of
from mq9_mcp.cli.parser import Parser, Run, Verb
from mq9_mcp.cli.printing import print_json
from mq9_mcp.cli.shorthands import SHORTHANDS, WORDS
from mq9_mcp.cli.shown import show


def words_of(name: str) -> tuple[str, str]:
    """Noun and verb of a command's name."""
    noun, _, verb = name.partition("_")
    return noun, verb.replace("_", "-")


def catalogue_verbs() -> Iterator[Verb]:
    """Every command of the broker."""
    return (Verb(words_of(name), entry.help, partial(_add, entry)) for name, entry in CATALOGUE.items())


def _add(entry: Entry, parser: Parser) -> Run:
    flags = flags_of(entry.arguments)
    names = WORDS.get(entry.name) or [one.name for one in flags.values() if one.required and not one.many]
    shorthand = SHORTHANDS.get(entry.name)
    known = {**flags, **(shorthand.flags() if shorthand else {})}
    if shorthand:
        flags[shorthand.instead] = flags[shorthand.instead]._replace(required=False)
    parser.usage = " ".join(filter(None, (parser.prog, usage_of(names, known), "[OPTION...]")))
    parser.add_argument("words", nargs="*", default=[], help=argparse.SUPPRESS)
    group = parser.add_argument_group("arguments")
    if shorthand:
        shorthand.add(group)
    add_flags(group, list(flags.values()))
    add_connection(parser)
    add_json(parser)
    parser.set_defaults(takes_rest=True)
    return lambda chosen: _run(chosen, entry, known, list(names))


def arguments_of(
    chosen: argparse.Namespace, entry: Entry, flags: dict[str, Flag], names: list[str]
) -> dict[str, Any]:
    """The arguments of a call as the wire has them, checked before any broker is asked."""
    found = given(chosen, flags)
    assign([*chosen.words, *chosen.rest], names, flags, found)
    shorthand = SHORTHANDS.get(entry.name)
    if shorthand:
        shorthand.expand(chosen, found)
    read_arguments(entry.name, found)
    return found


def _run(chosen: argparse.Namespace, entry: Entry, flags: dict[str, Flag], names: list[str]) -> int:
    arguments = arguments_of(chosen, entry, flags, names)
    with connected(chosen) as call:
        reply = call(entry.name, **arguments)
    if wants_json(chosen):
        print_json(reply)
    else:
        show(reply)
    return code_of(reply)


def code_of(reply: dict[str, Any]) -> int:
    """OK, or the exit code of the first item that was refused: a call of many items may half succeed."""
    for name in ("results", "skipped"):
        for item in reply.get(name, ()):
            if "error" in item:
                return exit_code(item["error"]["code"])
    return OK
