"""Resources, and what fits into a gap: read like a tool, with the same rights and the same fences."""

from __future__ import annotations

from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.state import Caller
from mq9_mcp.doors.mcp_tools.calling import COMPLETE, Context, Result, caller
from mq9_mcp.doors.mcp_tools.prompts import fits
from mq9_mcp.doors.mcp_tools.text import shown
from mq9_mcp.doors.mcp_tools.uris import NOUNS, Place, place_of, template

PLAIN = "text/plain"
HISTORY = 20  # entries of a task's history, messages of a mailbox: a page
PAGE = 100
PAGES_MAX = 100  # of agents, until the one is found


class Reading:
    """Answers everything about resources, but for subscriptions."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def list(self, ctx: Context, params: types.PaginatedRequestParams) -> Result:
        """The caller's mailboxes, a page at a time."""
        arguments = {"limit": PAGE} | ({"cursor": params.cursor} if params.cursor else {})
        try:
            reply = await self.broker.call(caller(ctx), "mailbox_list", arguments)
        except Mq9Error as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from None
        found = [Place("mailboxes", one["address"]) for one in reply["mailboxes"]]
        resources = [{"uri": one.uri, "name": one.name, "mimeType": PLAIN} for one in found]
        more = {"nextCursor": reply["next_cursor"]} if "next_cursor" in reply else {}
        return COMPLETE | {"resources": resources, **more}

    async def templates(self, ctx: Context, params: types.PaginatedRequestParams) -> Result:  # noqa: ARG002
        """The kinds of resources."""
        found = [
            {
                "uriTemplate": template(name),
                "name": name,
                "title": noun.title,
                "description": noun.says,
                "mimeType": PLAIN,
            }
            for name, noun in NOUNS.items()
        ]
        return COMPLETE | {"resourceTemplates": found}

    async def read(self, ctx: Context, params: types.ReadResourceRequestParams) -> Result:
        """One resource as text, fenced like a tool's."""
        reply = await self.look(caller(ctx), str(params.uri))
        content = {"uri": str(params.uri), "mimeType": PLAIN, "text": shown(reply, True)}
        return COMPLETE | {"contents": [content]}

    async def look(self, who: Caller, uri: str) -> dict[str, Any]:
        """What ``who`` may see at ``uri``; a protocol error if there is nothing."""
        place = place_of(uri)
        if place is None:
            accepted = ", ".join(template(name) for name in NOUNS)
            raise not_found(uri, f"no such resource; accepted: {accepted}")
        try:
            return await self._reply(who, place)
        except Mq9Error as error:
            raise not_found(uri, str(error)) from None

    async def _reply(self, who: Caller, place: Place) -> dict[str, Any]:
        call = self.broker.call
        if place.noun == "mailboxes":
            one = await call(who, "mailbox_get", {"address": place.name})
            newest = {"mailbox": place.name, "order": "desc", "limit": HISTORY}
            return one | await call(who, "mailbox_query", newest)
        if place.noun == "sessions":
            return await call(who, "session_get", {"session": place.name})
        if place.noun == "tasks":
            return await call(who, "task_get", {"task": place.name, "history": HISTORY})
        for agent in await agents(self.broker, who):
            if agent["name"] == place.name:
                return {"agent": agent}
        raise not_found(place.uri, "no agent of that name is registered")

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> Result:
        """Addresses and agents that begin as what was typed."""
        start, who = params.argument.value, caller(ctx)
        kind = _asked(params)
        found: list[str] = []
        more = 0
        try:
            if kind == "mailboxes":
                reply = await self.broker.call(who, "mailbox_list", {"prefix": start, "limit": PAGE})
                found, more = [one["address"] for one in reply["mailboxes"]], reply["remaining"]
            elif kind == "agents":
                named = [one["name"] for one in await agents(self.broker, who)]
                found = [name for name in named if name.startswith(start)]
                found, more = found[:PAGE], max(0, len(found) - PAGE)
        except Mq9Error:  # what was typed can be no name
            found = []
        return COMPLETE | {"completion": {"values": found, "total": len(found) + more, "hasMore": more > 0}}


def _asked(params: types.CompleteRequestParams) -> str | None:
    """The kind of thing that a gap is for."""
    ref, gap = params.ref, params.argument.name
    if isinstance(ref, types.ResourceTemplateReference):
        kinds = [name for name, noun in NOUNS.items() if template(name) == ref.uri and noun.place == gap]
        return kinds[0] if kinds else None
    return fits(ref.name, gap)


async def agents(broker: Broker, who: Caller) -> list[dict[str, Any]]:
    """The registered agents by name, as far as a person could look through them."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    for _ in range(PAGES_MAX):
        reply = await broker.call(who, "agent_discover", {"limit": PAGE, **cursor})
        found += reply["agents"]
        if "next_cursor" not in reply:
            break
        cursor = {"cursor": reply["next_cursor"]}
    return found


def not_found(uri: str, why: str) -> MCPError:
    """The protocol's word for a resource that is not there, or that the caller may not know of."""
    return MCPError(types.INVALID_PARAMS, f"Resource not found: {uri[:200]}: {why}", {"uri": uri[:200]})
