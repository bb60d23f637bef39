"""Where ``mq9`` begins: the command line is read, the command runs, its failure becomes words and a code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from mq9_mcp import __version__
from mq9_mcp.cli.connect import add_connection, add_json
from mq9_mcp.cli.exits import EXITS, INTERRUPTED, OK, exit_code_of
from mq9_mcp.cli.parser import Misuse, Parser, Verb, add_verb, room, split
from mq9_mcp.cli.printing import clean
from mq9_mcp.domain.errors import Mq9Error

DESCRIPTION = "Durable mailboxes for AI agents."

# The hosts that mq9 config knows, as people call them.
HOSTS = {
    "claude-code": "Claude Code",
    "claude-desktop": "Claude Desktop",
    "cursor": "Cursor",
    "vscode": "VS Code",
    "codex": "Codex",
}

# What is there beside the commands of the broker, which come from its catalogue.
VERBS: tuple[Verb, ...] = (
    Verb(
        ("inbox",), "What waits in one's own mailbox; --take takes the next message.", room("inbox:add_inbox")
    ),
    Verb(("reply",), "Answer a message, and settle it if you hold it.", room("inbox:add_reply")),
    Verb(
        ("mailbox", "peek"), "Look at what waits in a mailbox, without taking it.", room("mailbox:add_peek")
    ),
    Verb(
        ("mailbox", "tail"), "Follow what arrives in a mailbox, without taking it.", room("mailbox:add_tail")
    ),
    Verb(("task", "follow"), "Follow a task entry by entry, until it is over.", room("task:add_follow")),
    Verb(("dead", "list"), "The dead letters of a mailbox, and why they are dead.", room("dead:add_list")),
    Verb(("dead", "redrive"), "Give dead letters back to where they came from.", room("dead:add_redrive")),
    Verb(("on-mail",), "Run a command for every message of a mailbox.", room("on_mail:add")),
    Verb(("serve",), "Run the broker in this process.", room("service:add_serve")),
    Verb(("daemon", "start"), "Run the broker in the background, unless it runs.", room("service:add_start")),
    Verb(("daemon", "stop"), "Stop the broker in the background, in order.", room("service:add_stop")),
    Verb(("daemon", "status"), "Whether a broker runs, and where.", room("service:add_status")),
    *(
        Verb(
            ("config", host),
            f"What {name} must be told to use mq9; printed only.",
            room(f"config:add_{host.replace('-', '_')}"),
        )
        for host, name in HOSTS.items()
    ),
    Verb(("bench",), "Measure a broker: calls a second, and how long one takes.", room("bench:add")),
    Verb(
        ("demo",),
        "A workday of agents in plain lines, with real kills; every promise is checked.",
        room("demo:add"),
    ),
    Verb(
        ("commands",),
        "What a broker can do: every command, or one with its arguments.",
        room("look:add_commands"),
    ),
    Verb(("limits",), "Every bound and default, with its unit and reason.", room("look:add_limits")),
    Verb(
        ("errors",), "Every error code, with its HTTP status, exit code and meaning.", room("look:add_errors")
    ),
    Verb(
        ("journal",),
        "What a data directory's journal records, without bodies and secrets.",
        room("journal:add"),
    ),
    Verb(
        ("doctor",),
        "What is damaged in a data directory, and what to do; --repair mends it.",
        room("doctor:add"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``mq9``; returns its exit code, see ``mq9_mcp.cli.exits``."""
    words, rest = split(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words, rest)
        sys.stdout.flush()
    except Mq9Error as error:
        return _tell(error, as_json="--json" in words)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # argparse: --help, --version
        return end.code if isinstance(end.code, int) else OK
    return code


def _run(words: list[str], rest: list[str]) -> int:
    if words == ["--version"]:
        print(f"mq9 {__version__}")
        return OK
    parser = make_parser()
    chosen = parser.parse_args(words)
    if "run" not in chosen:
        raise Misuse("a command is missing", "run: mq9 --help", _help_of(parser, words))
    chosen.rest = rest
    if rest and "takes_rest" not in chosen:
        raise Misuse(f"unexpected word {rest[0][:80]!r} after --", "leave out -- and what follows")
    code: int = chosen.run(chosen)
    return code


def make_parser() -> Parser:
    """The parser of ``mq9``. What is below a noun is made when it is asked for."""
    parser = Parser(prog="mq9", description=DESCRIPTION, epilog=_epilog())
    parser.add_argument("--version", action="version", version=f"mq9 {__version__}")
    add_connection(parser)
    add_json(parser)
    for noun, verbs in nouns().items():
        if verbs[0].words == (noun,):
            add_verb(parser, verbs[0])
        else:
            _add_noun(parser, noun, verbs)
    return parser


def nouns() -> dict[str, list[Verb]]:
    """Every command by its first word: those of the broker's catalogue, then mq9's own."""
    from mq9_mcp.cli.command import catalogue_verbs

    found: dict[str, list[Verb]] = {}
    for verb in (*catalogue_verbs(), *VERBS):
        found.setdefault(verb.words[0], []).append(verb)
    return found


def _add_noun(parser: Parser, noun: str, verbs: Sequence[Verb]) -> None:
    def fill(own: Parser) -> None:
        for verb in verbs:
            add_verb(own, verb)

    names = ", ".join(verb.words[1] for verb in verbs)
    parser.nested("commands").add_parser(noun, help=names, description=f"{noun}: {names}.", fill=fill)


def _help_of(parser: Parser, words: Sequence[str]) -> str:
    """The help of the deepest parser that the words reach."""
    for word in words:
        parser.fill()
        if parser.verbs is not None and word in parser.verbs.choices:
            parser = parser.verbs.choices[word]
    parser.fill()
    return parser.format_help()


def _epilog() -> str:
    codes = "\n".join(f"  {code:<4} {one.meaning}" for code, one in EXITS.items())
    return f"exit codes:\n{codes}\n\nA noun alone, such as 'mq9 mailbox', lists its verbs."


def _tell(error: Mq9Error, as_json: bool) -> int:
    """The failure on standard error: as people read it, or in the wire's shape."""
    if as_json:
        print(json.dumps({"error": error.as_dict()}), file=sys.stderr)
        return exit_code_of(error)
    if isinstance(error, Misuse) and error.usage:
        print(error.usage.rstrip(), file=sys.stderr)
    print(f"mq9: {error.code}: {clean(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {clean(error.hint)}", file=sys.stderr)
    return exit_code_of(error)
