"""``mq9 task follow ID``: a task as it stands, then every later entry of its history, until it is over."""

from __future__ import annotations

import argparse
from typing import Any

from mq9_mcp.cli.connect import add_connection, add_json, connected, wants_json
from mq9_mcp.cli.exits import FAILED, OK
from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.printing import clean, print_json_line, reader_gone
from mq9_mcp.cli.shown import entry_words, first_words, progress_words

WIDTH = 200
COMPLETED = "completed"


def add_follow(parser: Parser) -> Run:
    """The options of ``mq9 task follow``."""
    parser.epilog = (
        "Ends with the task: 0 if it is completed, 1 if not. Goes on over restarts of the broker. Ctrl-C "
        "ends it earlier."
    )
    parser.add_argument("task", metavar="ID", help="the task")
    parser.add_argument(
        "--after",
        type=int,
        default=None,
        metavar="INTEGER",
        help="begin behind this entry; 0: with the first",
    )
    add_connection(parser)
    add_json(parser)
    return _follow


def _follow(chosen: argparse.Namespace) -> int:
    state = ""
    with connected(chosen) as broker:
        for told in broker.task_follow(chosen.task, chosen.after):
            state = (told["task"] if "task" in told else told["entry"])["state"]
            if wants_json(chosen):
                print_json_line(told)
            else:
                print(clean(_task(told["task"]) if "task" in told else _entry(told["entry"])), flush=True)
            if reader_gone():
                return OK
        if not state:  # nothing came behind that entry: it is over
            state = broker("task_get", task=chosen.task)["task"]["state"]
    return OK if state == COMPLETED else FAILED


def _task(task: dict[str, Any]) -> str:
    """As the first entry's line, with what is known of the task."""
    words = [str(task["version"]), task["updated_at"], task["state"]]
    words += [f"worker {task['worker']}"] if "worker" in task else []
    words += [progress_words(task["progress"], WIDTH)] if "progress" in task else []
    words += [f"{len(task['artifacts'])} artifacts"] if task["artifacts"] else []
    words += [first_words(task["status_message"], WIDTH)] if "status_message" in task else []
    return " ".join(words)


def _entry(entry: dict[str, Any]) -> str:
    """One entry on a line: its number, time, state, what happened, who, and the words."""
    words = [str(entry["number"]), entry["at"], entry["state"], entry["kind"], entry["from"] + ":"]
    return " ".join([*words, entry_words(entry, WIDTH)]).rstrip().removesuffix(":")
