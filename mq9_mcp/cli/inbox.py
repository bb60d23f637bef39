"""``mq9 inbox`` and ``mq9 reply``: a person's own mail. Looking takes nothing, ``--take`` leases one."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mq9_mcp.cli import held
from mq9_mcp.cli.connect import Connection, add_connection, add_json, connected, wants_json
from mq9_mcp.cli.exits import OK
from mq9_mcp.cli.parser import Misuse, Parser, Run
from mq9_mcp.cli.printing import print_json
from mq9_mcp.cli.shown import INBOX, show, show_message, show_table
from mq9_mcp.cli.values import STDIN, text_value
from mq9_mcp.domain.errors import Refused

TAKEN_S = 3_600  # a person reads, thinks and types


def add_inbox(parser: Parser) -> Run:
    """The options of ``mq9 inbox``."""
    parser.add_argument(
        "--take", action="store_true", default=False, help="take the next message: it is yours for an hour"
    )
    parser.add_argument("--limit", type=int, default=20, metavar="INTEGER", help="at most so many (20)")
    add_connection(parser)
    add_json(parser)
    return _inbox


def add_reply(parser: Parser) -> Run:
    """The options of ``mq9 reply``."""
    parser.epilog = "A message that you took with 'mq9 inbox --take' is settled in the same moment."
    parser.add_argument("id", type=int, metavar="ID", help="the message to answer")
    parser.add_argument(
        "text", nargs="*", default=[], metavar="TEXT", help="the answer; without it, standard input"
    )
    parser.add_argument("--lease", default=None, help="settle this lease, which a fetch gave")
    add_connection(parser)
    add_json(parser)
    parser.set_defaults(takes_rest=True)
    return _reply


def _inbox(chosen: argparse.Namespace) -> int:
    with connected(chosen) as broker:
        if chosen.take:
            return _take(broker, wants_json(chosen))
        try:
            reply = broker("mailbox_query", state="waiting", limit=chosen.limit)
        except Refused as error:
            if error.code != "MAILBOX_NOT_FOUND":
                raise
            reply = {"messages": [], "remaining": 0}  # an agent's mailbox is made at its first send or fetch
    if wants_json(chosen):
        print_json(reply)
        return OK
    waiting = len(reply["messages"]) + reply["remaining"]
    print(f"{_named(broker)}: {waiting or 'nothing'} waiting")
    if reply["messages"]:
        show_table("messages", reply["messages"], INBOX)
        print("mq9 inbox --take takes the next one, mq9 reply ID TEXT answers one.")
    return OK


def _named(broker: Connection) -> str:
    return f"inbox of {broker.agent}" if broker.agent else "inbox"


def _take(broker: Connection, as_json: bool) -> int:
    reply = broker("mailbox_fetch", max=1, lease_s=TAKEN_S)
    for message in reply["messages"]:
        held.remember(broker.url, message)
    if as_json:
        print_json(reply)
        return OK
    for message in reply["messages"]:
        show_message(message)
        print(f"answer: mq9 reply {message['id']} TEXT")
        print(f"done:   {_done(message)}")
    if not reply["messages"]:
        print(f"{_named(broker)}: nothing waiting")
    return OK


def _done(message: dict[str, Any]) -> str:
    """The command that settles ``message`` without an answer; an ack does not say how a task ended."""
    if message.get("task_state") == "working":
        return f"mq9 task update {message['task']} {message['lease']} --state completed"
    return f"mq9 mailbox ack {message['lease']}"


def _reply(chosen: argparse.Namespace) -> int:
    send = {"in_reply_to": chosen.id, "text": _text([*chosen.text, *chosen.rest])}
    with connected(chosen) as broker:
        lease = chosen.lease or held.lease_of(broker.url, chosen.id)
        reply = _settle(broker, chosen.id, lease, send) if lease else broker("mailbox_send", **send)
    if wants_json(chosen):
        print_json(reply)
    else:
        show(reply)
    return OK


def _settle(broker: Connection, message: int, lease: str, send: dict[str, Any]) -> dict[str, Any]:
    """Answer and settle in one commit, or neither."""
    try:
        reply = broker("mailbox_ack", items=[{"lease": lease}], send=send)
    except Refused as error:
        if error.code != "LEASE_LOST":
            raise
        held.forget(broker.url, message)
        hint = f"answer without it: mq9 reply {message} TEXT"
        raise Refused(error.code, f"{error.message}; nothing was sent", hint, **error.details) from None
    held.forget(broker.url, message)
    return reply


def _text(words: list[str]) -> str:
    if words and words != [STDIN]:
        return " ".join(words)
    if sys.stdin.isatty():
        print("the answer, then Ctrl-D:", file=sys.stderr)
    text = text_value(STDIN)
    if not text.strip():
        raise Misuse("the answer is empty", "mq9 reply ID TEXT, or pipe it in")
    return text.rstrip("\n")
