"""``mq9 mailbox peek`` and ``tail``: look at mail without taking it, now or as it arrives."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from mq9_mcp.cli.connect import Connection, add_connection, add_json, connected, wants_json
from mq9_mcp.cli.exits import OK
from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.printing import clean, print_json, print_json_line, reader_gone
from mq9_mcp.cli.shown import first_words, show, show_message
from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.domain.limits import limit

PAGE = limit("query_limit_max")
LOOK_S = 0.5  # between two looks
PATIENCE_S = 5  # between two looks while the broker is gone
TAIL_WIDTH = 200


def add_peek(parser: Parser) -> Run:
    """The options of ``mq9 mailbox peek``."""
    parser.add_argument("mailbox", nargs="?", default=None, metavar="ADDRESS", help="one's own if left out")
    parser.add_argument("--group", default=None, metavar="NAME", help="what waits for this group (default)")
    parser.add_argument("--limit", type=int, default=10, metavar="INTEGER", help="at most so many (10)")
    add_connection(parser)
    add_json(parser)
    return _peek


def add_tail(parser: Parser) -> Run:
    """The options of ``mq9 mailbox tail``."""
    parser.epilog = "Takes nothing, so no worker misses a message. Ends at Ctrl-C."
    parser.add_argument("mailbox", nargs="?", default=None, metavar="ADDRESS", help="one's own if left out")
    parser.add_argument(
        "--last", type=int, default=10, metavar="INTEGER", help="begin with so many that are there (10)"
    )
    add_connection(parser)
    add_json(parser)
    return _tail


def _peek(chosen: argparse.Namespace) -> int:
    wish = {"mailbox": chosen.mailbox, "group": chosen.group, "limit": chosen.limit, "state": "waiting"}
    with connected(chosen) as broker:
        reply = broker("mailbox_query", **_given(wish))
    if wants_json(chosen):
        print_json(reply)
        return OK
    for message in reply["messages"]:
        show_message(message)
    show({**reply, "messages": []} if not reply["messages"] else {"remaining": reply["remaining"]})
    return OK


def _tail(chosen: argparse.Namespace) -> int:
    where = _given({"mailbox": chosen.mailbox})
    with connected(chosen) as broker:
        for message in _arriving(broker, where, min(chosen.last, PAGE)):
            if wants_json(chosen):
                print_json_line(message)
            else:
                text = f"{message['id']} {message['created_at']} {message['from']}: "
                print(clean(text) + first_words(message, TAIL_WIDTH), flush=True)
    return OK


def _arriving(broker: Connection, where: dict[str, Any], last: int) -> Iterator[dict[str, Any]]:
    """The last messages of a mailbox, then each that arrives, in store order, while anybody reads."""
    newest = broker("mailbox_query", **where, order="desc", limit=max(1, last))["messages"]
    yield from reversed(newest[:last])
    seen = newest[0]["id"] if newest else 0
    since = newest[0]["created_at"] if newest else None
    while not reader_gone():
        try:
            for message in _since(broker, where, since):
                if message["id"] > seen:
                    seen, since = message["id"], message["created_at"]
                    yield message
            time.sleep(LOOK_S)
        except Unavailable as error:
            print(f"mq9: {error.code}: {clean(error.message)}; looking again", file=sys.stderr)
            time.sleep(PATIENCE_S)


def _since(broker: Connection, where: dict[str, Any], since: str | None) -> Iterator[dict[str, Any]]:
    """Every message from a time on, page by page."""
    wish = _given({**where, "since": since, "limit": PAGE})
    while True:
        reply = broker("mailbox_query", **wish)
        yield from reply["messages"]
        if "next_cursor" not in reply:
            return
        wish["cursor"] = reply["next_cursor"]


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
