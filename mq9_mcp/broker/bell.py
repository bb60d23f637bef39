"""Bells: waiting fetches and watched messages, woken at once by what the engine reports."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple


class Move(NamedTuple):
    """A watched message got to a rung; ``reply`` is the id of the message that answers it."""

    message: int
    rung: str
    reply: int


class Waiter:
    """One waiting call; rung at most once, then it looks and waits anew."""

    __slots__ = ("addresses", "future")

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Bell:
    """Who waits for mail where, first come first served, and who watches which message."""

    def __init__(self, watched: set[int]) -> None:
        self._queues: dict[str, deque[Waiter]] = {}
        self._watched = watched
        self._rungs: dict[int, list[asyncio.Queue[Move]]] = {}

    def arrived(self, address: str, count: int) -> None:
        """Wake as many waiters of the mailbox as there are new messages."""
        queue = self._queues.get(address)
        while queue and count > 0:
            waiter = queue.popleft()
            if not waiter.future.done():
                waiter.future.set_result(None)
                count -= 1

    def wait(self, addresses: tuple[str, ...]) -> Waiter:
        """Stand in line for mail in any of ``addresses``; ``leave`` when done, rung or not."""
        waiter = Waiter(addresses)
        for address in addresses:
            self._queues.setdefault(address, deque()).append(waiter)
        return waiter

    def leave(self, waiter: Waiter, passed_on: bool) -> None:
        """Leave the line. ``passed_on``: it was rung but took nothing, so the next one may look."""
        rung = waiter.future.done() and not waiter.future.cancelled()
        for address in waiter.addresses:
            queue = self._queues.get(address)
            if queue is None:
                continue
            if waiter in queue:
                queue.remove(waiter)
            if passed_on and rung:
                self.arrived(address, 1)
            if not queue:
                self._queues.pop(address, None)

    def ring_all(self) -> None:
        """Wake everybody: the broker is stopping."""
        for queue in list(self._queues.values()):
            for waiter in list(queue):
                if not waiter.future.done():
                    waiter.future.set_result(None)

    def moved(self, message: int, rung: str, reply: int = 0) -> None:
        """Tell those who watch ``message`` how far it has come."""
        for queue in self._rungs.get(message, ()):
            queue.put_nowait(Move(message, rung, reply))

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
