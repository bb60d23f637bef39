"""``mq9``: the demo, what the broker can do and refuses, and a look into a data directory."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mq9_mcp import __version__
from mq9_mcp.broker.catalogue import CATALOGUE, Entry
from mq9_mcp.demo import run_demo
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.errors import CODES, Unavailable
from mq9_mcp.domain.limits import LIMITS
from mq9_mcp.engine.embedded.doctor import examine
from mq9_mcp.engine.embedded.frame import Damaged, Newer
from mq9_mcp.engine.embedded.look import Seen, read_journal
from mq9_mcp.engine.embedded.prescription import written
from mq9_mcp.engine.embedded.repair import Repaired, repair

OK, FAILED, USAGE, DAMAGED = 0, 1, 2, 3
SHOWN_OF_A_LIST = 4

Rows = Sequence[tuple[str, ...]]


def main(arguments: list[str] | None = None) -> int:
    """Run ``mq9``; 0 is success, 1 a failure, 2 a call that makes no sense."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] | None = chosen.run
    if run is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        code = run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mq9",
        description="Durable mailboxes for AI agents. This version has the core only: no server, no MCP, "
        "no A2A yet; use it from Python (docs/tutorial/first-mailbox.md).",
    )
    parser.add_argument("--version", action="version", version=f"mq9 {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    demo = add(
        "demo", _demo, "A broker's life in plain lines, with a kill -9 in it; every promise is checked."
    )
    demo.add_argument("--keep", metavar="DIR", type=Path, help="keep the data in DIR, which must be new")
    what = add("commands", _commands, "What a broker can do: every command, or one with its arguments.")
    what.add_argument("name", nargs="?", choices=list(CATALOGUE), metavar="NAME", help="one command")
    limits = add("limits", _limits, "Every bound and default, with its unit and reason.")
    errors = add("errors", _errors, "Every error code, with its HTTP status and meaning.")
    journal = add("journal", _journal, "What a data directory's journal records, without bodies and secrets.")
    journal.add_argument("folder", metavar="DIR", type=Path, help="the data directory")
    doctor = add(
        "doctor",
        _doctor,
        "What is damaged in a data directory, what it means and what to do; --repair mends it. "
        f"Ends with {OK} if all is sound, {DAMAGED} if not, {FAILED} if it could not look.",
    )
    doctor.add_argument("folder", metavar="DIR", type=Path, help="the data directory; no broker may have it")
    doctor.add_argument(
        "--repair", action="store_true", help="mend it; what is replaced is kept in DIR/damaged-<time>"
    )
    doctor.add_argument(
        "--owner", default="local", metavar="NAME", help="who gets mailboxes whose owner is lost (local)"
    )
    for command in (what, limits, errors, journal, doctor):
        command.add_argument("--json", action="store_true", help="for programs")
    return parser


def _demo(chosen: argparse.Namespace) -> int:
    keep: Path | None = chosen.keep
    if keep is not None and keep.exists():
        return _fail(f"{keep} exists; the demo begins with a new data directory", "name another one")
    return run_demo(keep)


def _commands(chosen: argparse.Namespace) -> int:
    entries = [CATALOGUE[chosen.name]] if chosen.name else list(CATALOGUE.values())
    if chosen.json:
        described = [_described(entry) for entry in entries]
        _print_json(described[0] if chosen.name else described)
    elif chosen.name:
        _print_command(entries[0])
    else:
        _print_rows([(entry.name, entry.help) for entry in entries])
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
    _print_rows([(f"  {name}", text) for name, text in _argument_help(entry)])
    print("\nreply")
    _print_rows([(f"  {name}", text) for name, text in entry.reply.items()])
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
    if chosen.json:
        _print_json({name: one._asdict() for name, one in LIMITS.items()})
        return OK
    rows = []
    for name, one in LIMITS.items():
        settable = " A mailbox may be told otherwise." if one.per_mailbox else ""
        rows.append((name, f"{one.value} {one.unit}", one.reason + settable))
    _print_rows(rows)
    return OK


def _errors(chosen: argparse.Namespace) -> int:
    if chosen.json:
        _print_json({name: code._asdict() for name, code in CODES.items()})
    else:
        _print_rows([(name, str(code.status), code.meaning) for name, code in CODES.items()])
    return OK


def _journal(chosen: argparse.Namespace) -> int:
    line = _json_line if chosen.json else _text_line
    try:
        for seen in read_journal(chosen.folder):
            print(line(seen))
    except FileNotFoundError as error:
        return _fail(str(error), "name the directory that a broker was opened with")
    except Damaged as error:
        return _fail(f"the journal is damaged: {error}", f"run: mq9 doctor {chosen.folder}")
    except PermissionError as error:
        return _fail(f"{error.filename}: {error.strerror}", "call as the user who owns the data directory")
    return OK


def _doctor(chosen: argparse.Namespace) -> int:
    repaired: Repaired | None = None
    try:
        if chosen.repair:
            repaired = repair(chosen.folder, chosen.owner)
        report = repaired.after if repaired is not None else examine(chosen.folder)
    except FileNotFoundError as error:
        return _fail(str(error), "name the directory that a broker was opened with")
    except Newer as error:
        return _fail(str(error), "use that version's doctor")
    except Damaged as error:
        _fail("nothing was changed", str(error))
        return DAMAGED
    except Unavailable as error:
        return _fail(error.message, error.hint)
    except OSError as error:
        return _fail(f"{error.filename or chosen.folder}: {error.strerror}", "nothing more was done")
    if chosen.json:
        _print_json(report.as_dict() | (repaired.as_dict() if repaired is not None else {}))
    else:
        print("\n".join(written(report, repaired)))
    return OK if report.sound else DAMAGED


def _json_line(seen: Seen) -> str:
    return json.dumps({"seq": seen.seq, "at": wire_time(seen.at), "events": seen.events})


def _text_line(seen: Seen) -> str:
    events = [
        " ".join([event["event"], *(f"{k}={_text(v)}" for k, v in event.items() if k != "event")])
        for event in seen.events
    ]
    return f"{seen.seq} {wire_time(seen.at)} {'; '.join(events)}"


def _text(value: Any) -> str:
    """A value on a line: short, and without line feeds or control characters from the outside."""
    if isinstance(value, list):
        shown = ",".join(_text(one) for one in value[:SHOWN_OF_A_LIST])
        return f"[{shown}{f',+{len(value) - SHOWN_OF_A_LIST}' * (len(value) > SHOWN_OF_A_LIST)}]"
    if isinstance(value, dict):
        return "{" + " ".join(f"{name}={_text(one)}" for name, one in value.items()) + "}"
    plain = isinstance(value, str) and value.isprintable() and value.isascii() and " " not in value
    return str(value) if plain else json.dumps(value)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _print_rows(rows: Rows) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _fail(what: str, hint: str) -> int:
    print(f"mq9: {what}; {hint}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
