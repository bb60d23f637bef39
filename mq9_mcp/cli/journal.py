"""``mq9 journal DIR``: what a data directory recorded, without bodies and secrets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mq9_mcp.cli.connect import add_json, wants_json
from mq9_mcp.cli.exits import OK
from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.saying import fail
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.engine.embedded.frame import Damaged
from mq9_mcp.engine.embedded.look import Seen, read_journal

SHOWN_OF_A_LIST = 4


def add(parser: Parser) -> Run:
    """The options of ``mq9 journal``."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="the data directory")
    add_json(parser)
    return _run


def _run(chosen: argparse.Namespace) -> int:
    line = _json_line if wants_json(chosen) else _text_line
    try:
        for seen in read_journal(chosen.folder):
            print(line(seen))
    except FileNotFoundError as error:
        return fail(str(error), "name the directory that a broker was opened with")
    except Damaged as error:
        return fail(f"the journal is damaged: {error}", f"run: mq9 doctor {chosen.folder}")
    except PermissionError as error:
        return fail(f"{error.filename}: {error.strerror}", "call as the user who owns the data directory")
    return OK


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
