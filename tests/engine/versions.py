"""What a data directory of any version is asked, and how its answers are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mq9_mcp.domain.errors import Mq9Error
from tests.support import START_MS, Desk, Reply

FOLDER = Path(__file__).parents[1] / "data" / "versions"
DATA = "data"
ANSWERS = "answers.json"
OPENED_MS = START_MS + 60_000  # when the data of the archive is opened again

# Made anew at each fetch; everything else in an answer is the same for ever.
FRESH = ("lease", "fence", "leased_until", "fetched_at")

Call = tuple[str, dict[str, Any]]


def calls(tokens: dict[str, str]) -> list[Call]:
    """The calls, in order; ``tokens`` are leases that were given before the directory was closed."""
    boxes = ("box", "box.dead", "sessions", "once", "brief", "alice")
    asked: list[Call] = []
    for box in boxes:
        asked += [("mailbox_get", {"address": box}), ("group_list", {"mailbox": box})]
        asked.append(("mailbox_query", {"mailbox": box, "limit": 100}))
    asked.append(("mailbox_get", {"address": "gone"}))
    asked.append(("agent_discover", {}))
    asked += [("agent_report", {"name": name, "status": "busy"}) for name in ("robot", "box", "brief")]
    asked.append(("mailbox_send", {"to": "box", "text": "known", "dedup_key": "key"}))
    asked.append(("mailbox_send", {"to": "box", "text": "other", "dedup_key": "key"}))
    asked.append(("mailbox_send", {"to": "once", "text": "exactly", "dedup_key": "once-1"}))
    asked.append(("mailbox_send", {"to": "alice", "text": "an answer", "dedup_key": "answer"}))
    asked += [("mailbox_ack", {"items": [{"lease": tokens[name]}]}) for name in sorted(tokens)]
    asked.append(("mailbox_ack", {"items": [{"lease": tokens["nacked"], "outcome": "nack"}]}))
    for box in boxes:
        asked.append(("mailbox_fetch", {"mailbox": box, "max": 50}))
    asked += [("mailbox_fetch", {"mailbox": "box", "group": group, "max": 50}) for group in ("audit", "late")]
    asked.append(("mailbox_fetch", {"mailbox": "box", "group": "new", "max": 50}))
    asked.append(("mailbox_send", {"to": "box", "text": "the next"}))
    asked += [("session_get", {"session": name}) for name in ("talk", "s1", "mq9.1", "none")]
    asked.append(("mailbox_query", {"mailbox": "mq9.parked"}))
    asked.append(
        ("mailbox_send", {"intent": {"text": "zither lessons"}, "park": True, "dedup_key": "parked"})
    )
    asked += [("session_list", {}), ("push_list", {})]
    asked += [("mailbox_send", {"to": "box", "text": "no more", "session": "closed"})]
    return asked


async def ask_all(folder: Path, asked: list[Call]) -> list[Reply]:
    """The answers of the data directory ``folder``."""
    desk = Desk(folder)
    desk.time.now = OPENED_MS
    await desk.open()
    try:
        return [await _ask(desk, name, arguments) for name, arguments in asked]
    finally:
        await desk.broker.close()


async def _ask(desk: Desk, name: str, arguments: dict[str, Any]) -> Reply:
    try:
        reply: Reply = _without_fresh(await desk.call(name, "bob", **arguments))
        return reply
    except Mq9Error as error:
        return {"error": error.code}


def _without_fresh(value: Any) -> Any:
    """The answer without what is made anew, and errors by their code alone: their words may change."""
    if isinstance(value, dict):
        if value.keys() >= {"code", "message"}:
            return {"code": value["code"]}
        return {name: _without_fresh(one) for name, one in value.items() if name not in FRESH}
    return [_without_fresh(one) for one in value] if isinstance(value, list) else value
