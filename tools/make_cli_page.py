"""The page docs/reference/cli.md: every command line of mq9, from the parsers that read it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.cli import exits
from mq9_mcp.cli.connect import ENVIRONMENT, add_connection, add_json
from mq9_mcp.cli.parser import Parser, Verb
from mq9_mcp.cli.start import make_parser, nouns
from mq9_mcp.settings import CONFIG, SETTINGS, flag

SERVERS = ("mq9 serve", "mq9 daemon start")
Table = Callable[[Sequence[str], Iterable[Sequence[str]]], Iterable[str]]


def cli_page(table: Table, linked: Callable[[str], str]) -> Iterable[str]:
    """The page; ``table`` makes a table, ``linked`` the link of an error code."""
    yield "# Command line\n"
    yield (
        "`mq9 NOUN VERB` for every [command](commands.md) of the broker, and some more for people. Options "
        "and bare words stand in any order; what follows `--` is never an option. `--json` prints what the "
        "broker answered, as one JSON document, or as JSON lines where things follow one another. Without it "
        "people read: tables on a terminal, aligned text in a pipe, no control characters of anybody's mail. "
        "[How to use it](../how-to/from-the-command-line.md)\n"
    )
    yield (
        "An option's value is text, a number or a time (RFC 3339). Lists are several words, up to "
        "the next option: `--tags a b`; bare words come before them. "
        "Where an argument has a form of its own it is JSON, in place, from a file (`@FILE`) or from "
        "standard input (`-`); an object may be `name=value` words. `-` as a text is standard input too.\n"
    )
    everywhere = Parser(add_help=False)
    add_connection(everywhere)
    add_json(everywhere)
    shared = _options(everywhere)
    yield "## Exit codes\n"
    yield (
        "A failure is told on standard error: `mq9: CODE: message` and a `hint`; with `--json` as the broker "
        'tells it, `{"error": {code, message, hint?, details?}}`. Standard output has nothing then.\n'
    )
    rows = (
        (str(code), one.meaning, ", ".join(map(linked, exits.error_codes(code))))
        for code, one in exits.EXITS.items()
    )
    yield from table(("code", "meaning", "errors"), rows)
    yield "## Environment\n"
    yield from table(("variable", "what"), ((f"`{name}`", text) for name, text in ENVIRONMENT.items()))
    yield (
        "An option counts before a variable. Without either the agent is your login name, written as an "
        "address, so that others can answer you and `mq9 inbox` is yours; with a credential it is nobody, as "
        "the credential decides.\n"
    )
    yield "## Options of every command that calls a broker\n"
    yield from table(("option", "what"), shared)
    verbs = [verb for noun in nouns().values() for verb in noun]
    yield "## Commands\n"
    yield from table(("command", "what it does"), ((_verb_link(verb), verb.help) for verb in verbs))
    parser = make_parser()
    for verb in verbs:
        own = _parser_of(parser, verb.words)
        yield from _verb(verb, own)
        if options := [row for row in _options(own) if row not in shared]:
            yield from table(("option", "what"), options)


def _verb_link(verb: Verb) -> str:
    name = " ".join(("mq9", *verb.words))
    return f"[`{name}`](#{name.replace(' ', '-')})"


def _parser_of(parser: Parser, words: Sequence[str]) -> Parser:
    for word in words:
        parser.fill()
        assert parser.verbs is not None
        parser = parser.verbs.choices[word]
    parser.fill()
    return parser


def _verb(verb: Verb, parser: Parser) -> Iterable[str]:
    yield f"### mq9 {' '.join(verb.words)}\n"
    yield verb.help + "\n"
    yield f"```text\n{parser.usage}\n```\n"
    if parser.prog in SERVERS:
        yield "Its options are the [server settings](settings.md#server-settings).\n"
    if parser.epilog:
        yield f"```text\n{parser.epilog}\n```\n" if "\n" in parser.epilog else parser.epilog + "\n"
    name = "_".join(verb.words).replace("-", "_")
    if name in CATALOGUE:
        yield f"It is the command [`{name}`](commands.md#{name}).\n"


def _options(parser: Parser) -> list[tuple[str, str]]:
    """The options and bare words of a parser, but the server's settings, which have a page of their own."""
    settings = {flag(name) for name in (CONFIG, *SETTINGS)} if parser.prog in SERVERS else set()
    return [
        (f"`{_spelled(one)}`", (one.help or "").replace("%%", "%"))
        for one in parser._actions
        if one.help != argparse.SUPPRESS and not {*one.option_strings} & {"--help", *settings}
    ]


def _spelled(action: argparse.Action) -> str:
    value = (
        "|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest.upper())
    )
    if not action.option_strings:
        return str(action.metavar)
    takes = action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction)
    return ", ".join(action.option_strings) + (f" {value}" if takes else "") + "..." * (action.nargs == "+")
