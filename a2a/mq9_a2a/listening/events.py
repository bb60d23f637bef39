"""What an executor says, from its mouth to the broker: in order, and no faster than the broker stores it."""

from __future__ import annotations

import asyncio
from collections import deque

from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb

Event = pb.Message | pb.Task | pb.TaskStatusUpdateEvent | pb.TaskArtifactUpdateEvent
WAITING_MAX = 256  # events that the broker has not stored yet; then the executor waits
PARTS_MAX = 64


class Events(EventQueue):
    """The queue that an executor is given."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._moved = asyncio.Event()
        self._room = asyncio.Event()
        self._stored = asyncio.Event()
        self._stored.set()
        self.closed = False  # the task is over: what is said now counts no more

    async def enqueue_event(self, event: Event) -> None:
        """Say something; waits while too much is not stored yet."""
        while len(self._waiting) >= WAITING_MAX and not self.closed:
            self._room.clear()
            await self._room.wait()
        if not self.closed:
            self._waiting.append(event)
            self._stored.clear()
            self.ring()

    def ring(self, *_: object) -> None:
        """Wake who waits for an event."""
        self._moved.set()

    def close(self) -> None:
        """Take no more, and forget what waits."""
        self.closed = True
        self._waiting.clear()
        self._room.set()
        self._stored.set()

    def taken(self) -> None:
        """What was taken last is stored."""
        if not self._waiting:
            self._stored.set()

    async def stored(self) -> None:
        """Return when all that was said is stored."""
        await self._stored.wait()

    def take(self) -> Event | None:
        """The next event; pieces that are added to one artifact without a pause are one piece."""
        if not self._waiting:
            return None
        event = self._waiting.popleft()
        while self._waiting and _goes_on(event, self._waiting[0]):
            event = _joined(event, self._waiting.popleft())
        self._room.set()
        return event

    @property
    def ready(self) -> bool:
        """True if something is said and not taken."""
        return bool(self._waiting)

    async def moved(self, ended: asyncio.Future[None], wait_s: float | None = None) -> None:
        """Return when there is an event, when ``ended`` is done, or when time is over."""
        ended.add_done_callback(self.ring)
        try:
            async with asyncio.timeout(wait_s):
                while not (self._waiting or ended.done()):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            pass
        finally:
            ended.remove_done_callback(self.ring)


def _goes_on(event: Event, following: Event) -> bool:
    if not isinstance(event, pb.TaskArtifactUpdateEvent):
        return False
    if not isinstance(following, pb.TaskArtifactUpdateEvent):
        return False
    return (
        following.append
        and not event.last_chunk
        and event.task_id == following.task_id
        and event.context_id == following.context_id
        and event.artifact.artifact_id == following.artifact.artifact_id
        and len(event.artifact.parts) + len(following.artifact.parts) <= PARTS_MAX
    )


def _joined(event: Event, following: Event) -> Event:
    assert isinstance(event, pb.TaskArtifactUpdateEvent)
    assert isinstance(following, pb.TaskArtifactUpdateEvent)
    joined = pb.TaskArtifactUpdateEvent()
    joined.CopyFrom(event)
    joined.artifact.parts.extend(following.artifact.parts)
    joined.last_chunk = following.last_chunk
    return joined
