"""Who is told that a resource has changed: streams of 2026-07-28, sessions of the versions before.

What is told comes from the journal as the caller may see it, so nobody hears of what it may not read. A
program that listens reads on from what it is told; a model waits with ``mailbox_fetch``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Container
from contextlib import aclosing
from typing import Any

import anyio
import mcp_types as types
from mcp.server.mcpserver import require_client_extension
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from pydantic import ConfigDict

from mq9_mcp.broker.broker import Broker
from mq9_mcp.broker.stream import Stream
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.state import Caller
from mq9_mcp.doors.mcp_tools.calling import COMPLETE, Context, Result, caller
from mq9_mcp.doors.mcp_tools.handles import TASKS, TaskHandles
from mq9_mcp.doors.mcp_tools.reading import Reading
from mq9_mcp.doors.mcp_tools.uris import Place, place_of, touched

LISTENERS_MAX = 256  # each reads the journal for itself
WATCHED_MAX = 1_000  # resources of one listener
SESSION_HEADER = "mcp-session-id"


class TaskStatus(types.NotificationParams):
    """A task as ``tasks/get`` shows it."""

    model_config = ConfigDict(extra="allow")


class TaskNotification(types.Notification[TaskStatus, str]):
    """The extension's word that a task has changed."""

    method: str = "notifications/tasks"
    params: TaskStatus


class Watch:
    """What one session of the handshake versions wants to hear of."""

    def __init__(self, session: ServerSession, stream: Stream) -> None:
        self.session = session
        self.stream = stream
        self.uris: dict[Place, str] = {}
        self.telling: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Tell nothing any more."""
        if self.telling is not None:
            self.telling.cancel()
            self.telling = None


class Listening:
    """Subscriptions of both eras."""

    def __init__(self, broker: Broker, reading: Reading, handles: TaskHandles) -> None:
        self.broker = broker
        self.reading = reading
        self.handles = handles
        self.streams = 0  # listeners of 2026-07-28
        self._watches: dict[str, Watch] = {}
        self._open: set[str] = set()  # sessions that hold their stream of notifications open

    # --- 2026-07-28

    async def listen(self, ctx: Context, params: types.SubscriptionsListenRequestParams) -> Result:
        """One stream, until its caller hangs up or the broker stops."""
        if self.streams + len(self._watches) >= LISTENERS_MAX:
            raise _too_many()
        id = ctx.request_id
        meta = {SUBSCRIPTION_ID_META_KEY: id}
        self.streams += 1
        try:
            who, asked = caller(ctx), params.notifications
            stream = self._stream(who)
            uris = await self.visible(who, asked.resource_subscriptions or [])
            ids = await self._tasks(ctx, who, (asked.model_extra or {}).get("taskIds"))
            honored = asked.model_copy(
                update={"resource_subscriptions": list(uris.values()) or None, "taskIds": ids or None}
            )
            first = types.SubscriptionsAcknowledgedNotificationParams(notifications=honored, _meta=meta)
            await ctx.session.send_notification(
                types.SubscriptionsAcknowledgedNotification(params=first), related_request_id=id
            )
            followed = {Place("tasks", task) for task in ids}
            async with aclosing(_changes(stream, {*uris, *followed})) as changes:
                async for place in changes:
                    if place in uris:
                        told = types.ResourceUpdatedNotificationParams(uri=uris[place], _meta=meta)
                        await ctx.session.send_notification(
                            types.ResourceUpdatedNotification(params=told), related_request_id=id
                        )
                    if place in followed:
                        status = await self.handles.told(who, place.name)
                        await ctx.session.send_notification(
                            TaskNotification(params=TaskStatus(**status, _meta=meta)),  # type: ignore[arg-type]
                            related_request_id=id,
                        )
        finally:
            self.streams -= 1
        return COMPLETE | {"_meta": meta}

    async def _tasks(self, ctx: Context, who: Caller, ids: Any) -> list[str]:
        """Those of the tasks that the caller may hear of, by the extension for tasks."""
        if not ids:
            return []
        require_client_extension(ctx, TASKS)
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise MCPError(types.INVALID_PARAMS, "taskIds: must be a list of strings")
        return await self.handles.seen(who, ids[:WATCHED_MAX])

    def _stream(self, who: Caller) -> Stream:
        try:
            return self.broker.stream(who, None)
        except Mq9Error as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from None

    async def visible(self, who: Caller, uris: list[str]) -> dict[Place, str]:
        """Those that the caller may read; of the others it is told nothing, not even that they are there."""
        found: dict[Place, str] = {}
        for uri in uris[:WATCHED_MAX]:
            place = place_of(uri)
            with contextlib.suppress(MCPError):
                await self.reading.look(who, uri)
                assert place is not None
                found[place] = uri
        return found

    # --- the handshake versions

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> Result:
        """Tell the session when the resource changes, as long as its stream is open."""
        uri, who, name = str(params.uri), caller(ctx), _session(ctx)
        await self.reading.look(who, uri)
        place = place_of(uri)
        assert place is not None
        watch = self._watches.get(name)
        if watch is None:
            self._forget_idle()
            if self.streams + len(self._watches) >= LISTENERS_MAX:
                raise _too_many()
            watch = self._watches[name] = Watch(ctx.session, self._stream(who))
        if len(watch.uris) >= WATCHED_MAX:
            raise _too_many()
        watch.uris[place] = uri
        self._match(name)
        return {}

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> Result:
        """Tell it no more."""
        name, place = _session(ctx), place_of(str(params.uri))
        watch = self._watches.get(name)
        if watch is not None and place is not None:
            watch.uris.pop(place, None)
            if not watch.uris:
                self.forget(name)
        return {}

    def opened(self, session: str) -> None:
        """A session holds its stream of notifications open from now on; it hears what it missed."""
        self._open.add(session)
        self._match(session)

    def closed(self, session: str) -> None:
        """It does so no more."""
        self._open.discard(session)
        self._match(session)

    def forget(self, session: str) -> None:
        """The session has ended, or wants to hear of nothing."""
        watch = self._watches.pop(session, None)
        if watch is not None:
            watch.stop()

    def _forget_idle(self) -> None:
        """Sessions without a stream are not told anything: when there are many, they may subscribe anew."""
        if self.streams + len(self._watches) >= LISTENERS_MAX:
            for name in [name for name in self._watches if name not in self._open]:
                self.forget(name)

    def _match(self, session: str) -> None:
        """Tell a session if it listens, and only then."""
        watch = self._watches.get(session)
        if watch is None:
            return
        if session not in self._open:
            watch.stop()
        elif watch.telling is None or watch.telling.done():
            watch.telling = asyncio.get_running_loop().create_task(self._tell(watch))

    async def _tell(self, watch: Watch) -> None:
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, MCPError):
            async with aclosing(_changes(watch.stream, watch.uris)) as changes:
                async for place in changes:
                    await watch.session.send_resource_updated(watch.uris[place])


async def _changes(stream: Stream, places: Container[Place]) -> AsyncGenerator[Place]:
    """Those among ``places`` that change, each once a record; ends with the broker."""
    with contextlib.suppress(Mq9Error):
        async with aclosing(stream.records()) as records:
            async for record in records:
                for place in dict.fromkeys(touched(record["events"])):
                    if place in places:
                        yield place


def _session(ctx: Context) -> str:
    name: Any = None if ctx.request is None else ctx.request.headers.get(SESSION_HEADER)
    if not isinstance(name, str):
        raise MCPError(types.INVALID_REQUEST, "subscriptions need a session")
    return name


def _too_many() -> MCPError:
    return MCPError(types.INTERNAL_ERROR, "Subscription limit reached")
