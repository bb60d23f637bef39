"""Posts the events of tasks to the targets that their askers set: at least once, in order, from the journal.

A target costs nothing while there is nothing to post. What it has acknowledged is journaled, so a restart
goes on behind that; one that fails is tried again later, and given up when it failed for too long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable
from heapq import heappop, heappush

import msgspec

from mq9_a2a.follow import snapshot
from mq9_a2a.words import TERMINAL, View, event_of, task_of
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.errors import Mq9Error, Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.push_commands import PushReport
from mq9_mcp.domain.push_target import AS_IT_STANDS, Push, PushTarget, read_url
from mq9_mcp.domain.state import Caller
from mq9_mcp.domain.task_commands import TaskGet
from mq9_mcp.peers.posts import Headers, NotPosted, Posts

FIRST_MS = limit("push_backoff_first_s") * 1000
MOST_MS = limit("push_backoff_max_s") * 1000
FAILING_MS = limit("push_failing_s") * 1000
TRIES_MIN = limit("push_tries_min")
GONE = 410
SOME = 16  # events that are read and posted in one turn
BROKER = Caller("mq9", "mq9.broker", True)
Key = tuple[str, str, int]  # task, name, and the record that set it
_encode = msgspec.json.Encoder().encode
log = logging.getLogger("mq9.push")


class _Failed(Exception):
    """A post that was not acknowledged. ``last``: another one is of no use; ``again_s``: not before then."""

    def __init__(self, why: str, last: bool = False, again_s: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.last = last
        self.again_ms = min(MOST_MS, (again_s or 0) * 1000)


class Sender:
    """Posts for one broker; ``chance`` spreads the tries of those that fail together."""

    def __init__(self, broker: Broker, posts: Posts, chance: Callable[[], float] = random.random) -> None:
        self.broker = broker
        self.posts = posts
        self.chance = chance
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()  # something happened while they ran
        self._tries: dict[Key, int] = {}  # failed ones in a row
        self._waiting: dict[Key, int] = {}  # until when
        self._due: list[tuple[int, Key]] = []
        self._early = asyncio.Event()
        self._resting = asyncio.Event()
        self._resting.set()
        self._clock: asyncio.Task[None] | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Post what is left to post, and what comes from now on."""
        self.broker.bell.pushing = self._moved
        self._clock = asyncio.create_task(self._wait(), name="mq9-push-clock")
        self._resting.clear()
        self._beginning = asyncio.create_task(self._catch_up(), name="mq9-push-start")
        self._beginning.add_done_callback(lambda _: self._rest())

    def stop(self) -> None:
        """Post nothing more; what was not acknowledged is posted after the next start."""
        self._closed = True
        self.broker.bell.pushing = None
        for task in self._tasks():
            task.cancel()

    async def close(self) -> None:
        """Stop, and end the connections."""
        self.stop()
        await asyncio.gather(*self._tasks(), return_exceptions=True)
        await self.posts.close()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [one for one in (*self._running.values(), self._clock, self._beginning) if one is not None]

    async def rest(self) -> None:
        """Return when everything is posted or waits for another try."""
        await self._resting.wait()

    def look(self) -> None:
        """Look at the clock: somebody moved it."""
        self._early.set()

    # -- when

    def _moved(self, task: str) -> None:
        for push in self.broker.engine.pushes(task):
            key = _key(push)
            if key in self._running:
                self._again.add(key)
            elif key not in self._waiting:
                self._begin(key)

    def _begin(self, key: Key) -> None:
        self._waiting.pop(key, None)
        self._resting.clear()
        running = self._running[key] = asyncio.create_task(self._run(key), name="mq9-push")
        running.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: Key) -> None:
        del self._running[key]
        again = key in self._again
        self._again.discard(key)
        if again and key not in self._waiting and not self._closed:
            self._begin(key)
        else:
            self._rest()

    def _rest(self) -> None:
        if not self._running and (self._beginning is None or self._beginning.done()):
            self._resting.set()

    async def _catch_up(self) -> None:
        """After a start, look at one target after the other: most have nothing left to post."""
        for push in self.broker.engine.pushes():
            key = _key(push)
            with contextlib.suppress(Mq9Error):  # it is told again where it is posted
                known = await self._task(Caller(push.principal), push.task)
                if push.number >= known["version"] and known["state"] not in TERMINAL:
                    continue
            if key not in self._running and key not in self._waiting:
                self._begin(key)

    async def _wait(self) -> None:
        """Begin again what waited long enough."""
        while True:
            self._early.clear()
            now = self.broker.clock.now()
            while self._due and self._due[0][0] <= now:
                due, key = heappop(self._due)
                if self._waiting.get(key) == due and key not in self._running:
                    self._begin(key)
            left = (self._due[0][0] - now) / 1000 if self._due else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._early.wait()

    def _later(self, key: Key, asked_ms: int = 0) -> None:
        """Wait before the next try: a random part of a time that doubles, so that tries do not meet.

        What the receiver asked for comes first; all together is never more than the longest backoff.
        """
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        delay = round(min(MOST_MS, FIRST_MS * 2 ** min(tries - 1, 30)) * self.chance())
        due = self._waiting[key] = self.broker.clock.now() + max(1, min(MOST_MS, asked_ms + delay))
        heappush(self._due, (due, key))
        self._early.set()

    # -- what

    async def _run(self, key: Key) -> None:
        """Everything that is to be posted to one target now."""
        try:
            push = self._find(key)
            if push is None:
                self._tries.pop(key, None)
                return
            try:
                await self._post_all(push)
            except _Failed as failure:
                await self._fail(push, failure)
        except Mq9Error as error:  # the broker's own trouble, such as a full disk: none of the receiver's
            if not self.broker.stopping:
                log.warning("push waits: %s", error.code, extra={"event": "push_waits"})
                self._later(key)
        except Exception:
            log.exception("push failed", extra={"event": "push_fault"})
            self._later(key)

    def _find(self, key: Key) -> Push | None:
        found = [push for push in self.broker.engine.pushes(key[0]) if _key(push) == key]
        return found[0] if found else None

    async def _post_all(self, push: Push) -> None:
        left: Push | None = push
        while left is not None and await self._post_some(left):
            left = self._find(_key(push))

    async def _post_some(self, push: Push) -> bool:
        """A few events in one turn, so that nobody's backlog keeps others waiting; True if more are left."""
        async with self.posts.turn(push.target.url):
            if self._find(_key(push)) is None:
                return False
            reader = Caller(push.principal)
            try:
                known = await self._task(reader, push.task)
            except Refused:  # it ended so long ago that nobody knows it any more
                return await self._report(push, done=True)
            over, reached, told = known["state"] in TERMINAL, push.number, False
            async for number, response in self._left(reader, known, push):
                reached, told = number, response is not None
                if response is not None:
                    await self._post(push, response)
                    self._tries.pop(_key(push), None)
                    done = over and number >= known["version"]
                    if not await self._report(push, number=number, done=done):
                        return False
            if reached == push.number:  # nothing is left, or nothing is kept of it
                reached = known["version"]
            done = over and reached >= known["version"]
            if not told and (done or reached > push.number):
                return await self._report(push, number=reached, done=done) and reached < known["version"]
            return bool(reached < known["version"])

    async def _task(self, reader: Caller, task: str) -> View:
        with self.broker.busy():
            reply = await self.broker.engine.execute(reader, TaskGet(task=task), self.broker.ask())
        known: View = reply["task"]
        return known

    async def _left(self, reader: Caller, known: View, push: Push) -> AsyncGenerator[tuple[int, View | None]]:
        """What the receiver has not acknowledged: numbers, and what is to be posted for each."""
        after: int = push.number
        if after == AS_IT_STANDS or push.target.version != "1.0":
            if after < known["version"]:
                found = await snapshot(self.broker, reader, known)
                yield found.event.number, found.event.response
            return
        through = min(after + SOME, known["version"])
        while after < through:
            with self.broker.busy():
                entries = await self.broker.engine.task_events(push.task, after, through)
            if not entries:
                return
            for entry in entries:
                after = entry["number"]
                yield after, _opening(known, entry) if after == 1 else event_of(known, entry)

    async def _post(self, push: Push, response: View) -> None:
        body = _encode(response) if push.target.version == "1.0" else _older(response)
        try:
            status, again_s = await self.posts.post(push.target.url, headers_of(push.target), body)
        except NotPosted as error:
            self.broker.tally.posts["failed"] += 1
            raise _Failed(str(error)) from None
        well = 200 <= status < 300
        self.broker.tally.posts["ok" if well else "failed"] += 1
        if not well:
            raise _Failed(f"HTTP status {status}", last=status == GONE, again_s=again_s)

    # -- what became of it

    async def _report(
        self,
        push: Push,
        number: int | None = None,
        done: bool = False,
        trouble: str | None = None,
        disable: bool = False,
    ) -> bool:
        """Keep it in the journal; False if nothing more is to be posted there."""
        command = PushReport(
            task=push.task,
            id=push.id,
            made=push.made,
            number=number,
            done=done,
            trouble=trouble,
            disable=disable,
        )
        with self.broker.busy():
            reply = await self.broker.engine.execute(BROKER, command, self.broker.ask())
        live: bool = reply["live"]
        return live

    async def _fail(self, push: Push, failure: _Failed) -> None:
        key = _key(push)
        known = self._find(key)
        if known is None:
            return
        since, now, tries = known.failing_since, self.broker.clock.now(), self._tries.get(key, 0) + 1
        lasting = since is not None and now - since >= FAILING_MS and tries >= TRIES_MIN
        disable = failure.last or lasting
        if since is None or disable:
            await self._report(push, trouble=failure.why, disable=disable)
            told = "push_disabled" if disable else "push_failing"
            host = read_url(push.target.url).host
            log.warning("%s: task %s, host %s: %s", told, push.task, host, failure.why, extra={"event": told})
        if disable:
            self._tries.pop(key, None)
        else:
            self._later(key, failure.again_ms)


def _key(push: Push) -> Key:
    return push.task, push.id, push.made


def headers_of(target: PushTarget) -> Headers:
    """The headers of a post."""
    kind = b"application/a2a+json" if target.version == "1.0" else b"application/json"
    headers = [(b"content-type", kind), (b"a2a-version", target.version.encode())]
    if target.token is not None:
        headers.append((b"x-a2a-notification-token", target.token.encode()))
    if target.credentials is not None:
        headers.append((b"authorization", f"{target.scheme} {target.credentials}".encode()))
    return headers


def _opening(known: View, entry: View) -> View:
    """The task as it was opened."""
    then = {"state": "submitted", "updated_at": entry["at"], "artifacts": []}
    view = {name: known[name] for name in ("id", "session", "mailbox", "asker")} | then
    return {"task": task_of(view, [entry], None)}


def _older(response: View) -> bytes:
    """A task as clients of 0.3 know it."""
    from mq9_a2a.older import older_task  # slow to import, seldom needed

    return older_task(response["task"])
