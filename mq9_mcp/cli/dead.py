"""``mq9 dead list`` and ``redrive``: the dead letters of a mailbox, and the way back for them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from mq9_mcp.cli.command import code_of
from mq9_mcp.cli.connect import Connection, add_connection, add_json, connected, wants_json
from mq9_mcp.cli.exits import OK
from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.printing import print_json
from mq9_mcp.cli.shown import LETTER, MAILBOX, show, show_table
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import DEAD_SUFFIX

PAGE = limit("query_limit_max")


def add_list(parser: Parser) -> Run:
    """The options of ``mq9 dead list``."""
    parser.add_argument(
        "mailbox",
        nargs="?",
        default=None,
        metavar="ADDRESS",
        help="the mailbox whose mail died; without it, every mailbox of dead letters that holds some",
    )
    parser.add_argument("--limit", type=int, default=20, metavar="INTEGER", help="at most so many (20)")
    parser.add_argument("--cursor", default=None, metavar="TEXT", help="next_cursor of the page before")
    add_connection(parser)
    add_json(parser)
    return _list


def add_redrive(parser: Parser) -> Run:
    """The options of ``mq9 dead redrive``."""
    parser.add_argument("mailbox", metavar="ADDRESS", help="the mailbox whose mail died")
    parser.add_argument("ids", nargs="*", type=int, default=[], metavar="ID", help="only these letters")
    parser.add_argument("--limit", type=int, default=None, metavar="INTEGER", help="at most so many (100)")
    parser.add_argument("--rate", type=int, default=None, metavar="INTEGER", help="letters a second")
    add_connection(parser)
    add_json(parser)
    return _redrive


def _list(chosen: argparse.Namespace) -> int:
    with connected(chosen) as broker:
        if chosen.mailbox is None:
            return _overview(list(_dead_mailboxes(broker)), wants_json(chosen))
        arguments = {"mailbox": letters_of(broker, chosen.mailbox), "state": "waiting", "limit": chosen.limit}
        if chosen.cursor is not None:
            arguments["cursor"] = chosen.cursor
        reply = _letters(broker, arguments)
    if wants_json(chosen):
        print_json(reply)
        return OK
    show_table("dead letters", reply["messages"], LETTER)
    show({name: value for name, value in reply.items() if name != "messages"})
    return OK


def _redrive(chosen: argparse.Namespace) -> int:
    wish = {"ids": chosen.ids or None, "limit": chosen.limit, "rate": chosen.rate}
    with connected(chosen) as broker:
        reply = broker(
            "mailbox_redrive",
            mailbox=letters_of(broker, chosen.mailbox),
            **{name: value for name, value in wish.items() if value is not None},
        )
    if wants_json(chosen):
        print_json(reply)
    else:
        show(reply)
    return code_of(reply)


def letters_of(broker: Connection, address: str) -> str:
    """Where the dead letters of ``address`` lie; ``address`` itself if it is such a mailbox."""
    if address.endswith(DEAD_SUFFIX):
        return address
    settings = broker("mailbox_get", address=address)["mailbox"]["settings"]
    return str(settings["dead_letter"])


def _overview(mailboxes: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        print_json({"mailboxes": mailboxes})
    else:
        show_table("dead letters", mailboxes, MAILBOX)
    return OK


def _dead_mailboxes(broker: Connection) -> Iterator[dict[str, Any]]:
    """The caller's mailboxes of dead letters that hold some."""
    found, dead = [], set()
    wish: dict[str, Any] = {"limit": PAGE}
    while True:
        reply = broker("mailbox_list", **wish)
        found += reply["mailboxes"]
        dead |= {one["settings"]["dead_letter"] for one in reply["mailboxes"]}
        if "next_cursor" not in reply:
            break
        wish["cursor"] = reply["next_cursor"]
    for one in found:
        is_dead = one["address"] in dead or one["address"].endswith(DEAD_SUFFIX)
        if is_dead and one["counts"]["unsettled"]:
            yield one


def _letters(broker: Connection, arguments: dict[str, Any]) -> dict[str, Any]:
    """The letters; none where nothing died yet, as their mailbox is made by the first."""
    try:
        return broker("mailbox_query", **arguments)
    except Refused as error:
        if error.code != "MAILBOX_NOT_FOUND":
            raise
        return {"messages": [], "remaining": 0}
