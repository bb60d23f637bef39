"""Mail that is no task: the tool is called for whoever can be answered, and what it gave is the reply."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mq9_mcp.client import Mq9Message, Refused, Reject
from mq9_mcp.domain.intent import SKILL
from mq9_mcp.domain.names import BROKER_PREFIX
from mq9_mcp.hosted.inside import Inside
from mq9_mcp.hosted.tools.errand import CALLS_MAX, MAY_HAVE_RUN
from mq9_mcp.hosted.tools.link import Link, tools_of
from mq9_mcp.hosted.tools.results import PARTS_MAX, parts_of
from mq9_mcp.hosted.tools.wanted import Call, Draft, Question
from mq9_mcp.peers.mcp_servers.session import Lost, Refusal


async def deliver(inside: Inside, link: Link, name: str, message: Mq9Message) -> None:
    """Call what the message asks for, and reply."""
    sender: str = message.get("reply_to") or message["from"]
    if sender == name or sender.startswith(BROKER_PREFIX) or ":" in sender:
        raise Reject("no-reply-to", "a tool's result has nowhere to go: give reply_to, or open a task")
    if "in_reply_to" in message:
        raise Reject("no-task", "a reply is no work for a tool: open a task, whose questions can be answered")
    draft = Draft(tools_of(await link.session()))
    draft.take(message["parts"], message.get("metadata", {}).get(SKILL))
    found = draft.judge()
    if isinstance(found, Question):
        await _reply(inside, message, found.parts)
        return
    if message["fence"] > 1 and not found.tool.repeatable:
        raise Reject("may-have-run", MAY_HAVE_RUN.format(tool=found.tool.name))
    parts = await _called(link, found)
    await _reply(inside, message, parts[:PARTS_MAX] or [{"text": "The tool gave nothing back."}])


async def _called(link: Link, call: Call) -> list[dict[str, Any]]:
    """What the tool gives back; a call that did not begin is made when the server is there again."""
    for _ in range(CALLS_MAX):
        session = await link.session()
        try:
            return parts_of(await session.call(call.tool.name, call.arguments, _unheard))
        except Lost as lost:
            if lost.sent and not call.tool.repeatable:
                raise Reject("may-have-run", MAY_HAVE_RUN.format(tool=call.tool.name)) from lost
            await session.ended.wait()
        except Refusal as error:
            return [{"text": f"The server refused the call: {error}"}]
    raise Reject("server-broke", f"the server broke {CALLS_MAX} times while it worked on the call")


async def _reply(inside: Inside, message: Mq9Message, parts: list[dict[str, Any]]) -> None:
    reply = {"in_reply_to": message["id"], "parts": parts, "dedup_key": f"mq9-reply-{message['id']}"}
    with suppress(Refused):  # the sender has no mailbox any more
        await inside.call("mailbox_send", reply)


async def _unheard(progress: float, total: float | None, message: str | None) -> None:
    """Nobody follows mail."""
