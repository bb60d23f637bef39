"""Bells: waiting fetches and watched messages, woken at once by what the engine reports."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple


class Move(NamedTuple):
    """A watched message got to a rung; ``reply`` is the id of the message that answers it."""

    message: int
    rung: str
    reply: int


class Ring(NamedTuple):
    """A bell for one waiter of a group. Whoever takes nothing passes it on to those before ``number``."""

    address: str
    group: str
    number: int


class Waiter:
    """One waiting call; rung at most once, then it looks and waits anew."""

    __slots__ = ("addresses", "answered", "future", "group", "since", "worker")

    def __init__(self, addresses: tuple[str, ...], group: str, since: int, worker: str) -> None:
        self.worker = worker
        self.addresses = addresses
        self.group = group
        self.since = since  # it looks after every bell up to this one anyway
        self.answered = False
        self.future: asyncio.Future[Ring | None] = asyncio.get_running_loop().create_future()

    def answer(self) -> Ring | None:
        """The bell that rang, if one did; from here on the caller answers for it."""
        if not self.future.done() or self.future.cancelled():
            return None
        self.answered = True
        return self.future.result()


class Bell:
    """Who waits for mail where, first come first served in each group, and who watches which message."""

    def __init__(self, watched: set[int], followed: set[str]) -> None:
        self._lines: dict[str, dict[str, deque[Waiter]]] = {}  # by address, by group
        self.waits: Collection[str] = self._lines
        self._rung = 0
        self._watched = watched
        self._rungs: dict[int, list[asyncio.Queue[Move]]] = {}
        self._followed = followed
        self._followers: dict[str, list[asyncio.Event]] = {}
        self.pushing: Callable[[str], None] | None = None  # told of every task that moves
        self.storing: Callable[[], None] | None = None  # told of every commit

    def stored(self) -> None:
        """Tell the broker that changes are on disk."""
        if self.storing is not None:
            self.storing()

    def arrived(self, address: str, count: int, group: str | None = None) -> None:
        """Wake as many waiters as there are new messages, in ``group`` or in every group."""
        lines = self._lines.get(address)
        if lines is None:
            return
        self._rung += 1
        for name in list(lines) if group is None else (group,):
            self._ring(Ring(address, name, self._rung), count)

    def _ring(self, ring: Ring, count: int) -> None:
        queue = self._lines.get(ring.address, {}).get(ring.group)
        # Those who stood in line after the bell looked after it: they have seen what there is.
        while queue and count > 0 and queue[0].since < ring.number:
            waiter = queue.popleft()
            if not waiter.future.done():
                waiter.future.set_result(ring)
                count -= 1

    def wait(self, addresses: tuple[str, ...], group: str, worker: str = "") -> Waiter:
        """Stand in line for mail in any of ``addresses``; ``leave`` when done, rung or not."""
        waiter = Waiter(addresses, group, self._rung, worker)
        for address in addresses:
            self._lines.setdefault(address, {}).setdefault(group, deque()).append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Leave the line; a bell that the caller did not answer goes to the next one."""
        for address in waiter.addresses:
            lines = self._lines.get(address, {})
            queue = lines.get(waiter.group, deque())
            if waiter in queue:
                queue.remove(waiter)
            if not queue and lines.pop(waiter.group, None) is not None and not lines:
                del self._lines[address]
        if not waiter.answered:
            self.pass_on(waiter.answer())

    def pass_on(self, ring: Ring | None) -> None:
        """Whoever answered this bell took nothing: the next one may look."""
        if ring is not None:
            self._ring(ring, 1)

    def ring_all(self) -> None:
        """Wake everybody: the broker is stopping."""
        for lines in self._lines.values():
            for queue in lines.values():
                for waiter in queue:
                    if not waiter.future.done():
                        waiter.future.set_result(None)
        for followers in self._followers.values():
            for moved in followers:
                moved.set()

    def moved(self, message: int, rung: str, reply: int = 0) -> None:
        """Tell those who watch ``message`` how far it has come."""
        for queue in self._rungs.get(message, ()):
            queue.put_nowait(Move(message, rung, reply))

    def task_moved(self, task: str, worker: str | None) -> None:
        """Wake those who follow ``task``, and the waits of a worker that has something to be told."""
        for moved in self._followers.get(task, ()):
            moved.set()
        if self.pushing is not None:
            self.pushing(task)
        if worker is None:
            return
        for lines in self._lines.values():
            for queue in lines.values():
                for waiter in queue:
                    if waiter.worker == worker and not waiter.future.done():
                        waiter.future.set_result(None)

    def follow(self, task: str) -> asyncio.Event:
        """Set whenever ``task`` moves from now on."""
        moved = asyncio.Event()
        self._followers.setdefault(task, []).append(moved)
        self._followed.add(task)
        return moved

    def unfollow(self, task: str, moved: asyncio.Event) -> None:
        """Stop following."""
        followers = self._followers[task]
        followers.remove(moved)
        if not followers:
            del self._followers[task]
            self._followed.discard(task)

    def watch(self, message: int, queue: asyncio.Queue[Move]) -> None:
        """Put the rungs that ``message`` reaches from now on into ``queue``."""
        self._rungs.setdefault(message, []).append(queue)
        self._watched.add(message)

    def unwatch(self, message: int, queue: asyncio.Queue[Move]) -> None:
        """Stop watching."""
        queues = self._rungs[message]
        queues.remove(queue)
        if not queues:
            del self._rungs[message]
            self._watched.discard(message)
