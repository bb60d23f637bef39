"""Followers of a task: what happens is read and encoded once, however many listen.

A follower that listens to a task others listen to too shares what one reader reads; one that comes back
after an event reads what it missed by itself. What all have heard is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from mq9_a2a.words import TERMINAL, View, event_of, numbered, task_of
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.state import Caller
from mq9_mcp.domain.task_commands import TaskGet, TaskPage

HISTORY_MAX = 100
_encode = msgspec.json.Encoder().encode


class Event:
    """One thing that a follower is told: a ``StreamResponse``, its number, and its bytes.

    Each leads to the ``next`` one of its channel, so that an event lives as long as somebody is behind it.
    """

    __slots__ = ("__weakref__", "_numbered", "_plain", "next", "number", "response")

    def __init__(self, number: int, response: View) -> None:
        self.number = number
        self.response = response
        self.next: Event | None = None
        self._plain: bytes | None = None
        self._numbered: bytes | None = None

    def encoded(self, with_number: bool) -> bytes:
        """The bytes, made once for all who take them in this form."""
        if with_number:
            if self._numbered is None:
                self._numbered = _encode(numbered(self.response, self.number))
            return self._numbered
        if self._plain is None:
            self._plain = _encode(self.response)
        return self._plain


class _Snapshot(NamedTuple):
    event: Event
    over: bool


class _Channel:
    """One task that somebody listens to."""

    def __init__(self, broker: Broker, caller: Caller, task: View) -> None:
        self.broker = broker
        self.task = _about(task)
        self.last = Event(task["version"], {})  # what is told comes behind this entry
        self.ended = False
        self.error: Mq9Error | None = None
        self.listeners: dict[int, asyncio.Event] = {}
        self._snapshot: asyncio.Future[_Snapshot] | None = None
        self._snapshot_version = 0
        self.reading = asyncio.create_task(self._read(caller), name="mq9-a2a-follow")

    async def _read(self, caller: Caller) -> None:
        try:
            async with aclosing(self.broker.follow_task(caller, self.task["id"], self.last.number)) as told:
                async for one in told:
                    response = event_of(self.task, one["entry"])
                    if response is not None:
                        event = self.last.next = Event(one["entry"]["number"], response)
                        self.last = event
                        self._ring()
        except Mq9Error as error:
            self.error = error
        finally:
            self.ended = True
            self._ring()

    def _ring(self) -> None:
        for listener in self.listeners.values():
            listener.set()

    async def snapshot(self, caller: Caller, version: int) -> _Snapshot:
        """The task as it is at ``version`` or later, looked up once for all who come now."""
        if self._snapshot is None or self._snapshot_version < version:
            self._snapshot_version = version
            self._snapshot = asyncio.ensure_future(snapshot(self.broker, caller, self.task))
        return await asyncio.shield(self._snapshot)


async def snapshot(broker: Broker, caller: Caller, task: View) -> _Snapshot:
    """A task as the first event of a stream."""
    command = TaskPage(mailbox=task["mailbox"], task=task["id"], said=HISTORY_MAX)
    [view] = (await broker.execute(caller, command))["tasks"]
    response = {"task": task_of(view, view["said"], None)}
    return _Snapshot(Event(view["version"], response), view["state"] in TERMINAL)


class Follows:
    """The tasks that are followed now."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._channels: dict[str, _Channel] = {}
        self._numbers = 0

    async def follow(self, caller: Caller, task: str, new: View | None = None) -> AsyncGenerator[Event]:
        """The task first, then what happens; ``new`` is a task that was just opened, as it was then."""
        known: View = (await self.broker.execute(caller, TaskGet(task=task)))["task"]
        channel = self._channels.get(task)
        if channel is None or channel.ended:
            base = {**known, "version": 1} if new is not None else known
            channel = self._channels[task] = _Channel(self.broker, caller, base)
        self._numbers += 1
        number, moved = self._numbers, asyncio.Event()
        channel.listeners[number] = moved
        heard = channel.last
        try:
            if new is not None and heard.number == 1:
                first = _Snapshot(Event(1, {"task": new}), False)
            else:
                first = await channel.snapshot(caller, max(known["version"], heard.number))
            over, later = first.over, _later(channel, moved, heard, first.event.number)
            yield first.event
            del known, new, first, heard  # a stream is long, and holds what is to come
            if not over:
                async for event in later:
                    yield event
        finally:
            del channel.listeners[number]
            if not channel.listeners:
                channel.reading.cancel()
                if self._channels.get(task) is channel:
                    del self._channels[task]

    async def resume(self, caller: Caller, task: View, after: int) -> AsyncGenerator[Event]:
        """What came after the event numbered ``after``, and what happens from now on."""
        task = _about(task)
        async with aclosing(self.broker.follow_task(caller, task["id"], after)) as told:
            async for one in told:
                response = event_of(task, one["entry"])
                if response is not None:
                    yield Event(one["entry"]["number"], response)


def _about(task: View) -> View:
    """What events say of their task: a follower that reads slowly does not hold the rest."""
    return {name: task[name] for name in ("id", "session", "mailbox", "asker")}


async def _later(channel: _Channel, moved: asyncio.Event, heard: Event, after: int) -> AsyncGenerator[Event]:
    """What a channel tells behind ``heard``, of that what is newer than ``after``."""
    while True:
        moved.clear()
        while heard.next is not None:
            heard = heard.next
            if heard.number > after:
                yield heard
        if channel.ended:
            if channel.error is not None:
                raise channel.error
            return
        await moved.wait()
