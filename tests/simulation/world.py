"""One world of the simulation: an engine, its disk and clock, and the models that could be true.

Mostly that is one model. After a crash there is one for everything that may have become of the calls
in flight, whole or absent; what the engine shows from then on must always be what one of them shows.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections import Counter, deque
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.broker.clock import Clock
from mq9_mcp.domain.commands import Command
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.park import Unpark, wish_in
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.registry import Match
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.embedded.engine import EmbeddedEngine
from mq9_mcp.engine.embedded.folder_process import FolderProcess
from tests.simulation.callers import DAY_MS, Call, edges
from tests.simulation.faults import BadDisk, Phase, StepFolder
from tests.simulation.model import Model
from tests.simulation.parkers import Parkers
from tests.simulation.parking import fits_in
from tests.simulation.sessions import Refusal
from tests.simulation.shelf import Shape
from tests.simulation.workers import Workers

START_MS = 1_800_000_000_000
LOOK_AT_TASKS = 0.3
MODELS_MAX = 500  # a long leap of time makes a change in every mailbox
NOT_COMPARED = {
    "fence",
    "lease",
    "fetched_at",
    "unsettled_bytes",
    "settled_bytes",
    "routed",  # in words; who got the message stands beside it
}
ERROR = {"message", "hint", "details"}  # beside its code
PHASES: tuple[Phase, ...] = ("before", "torn", "torn", "after")
READS = (
    "agent_discover",
    "mailbox_query",
    "mailbox_get",
    "mailbox_list",
    "group_list",
    "session_get",
    "session_list",
    "task_get",
    "task_list",
)

Fate = Literal["answered", "failed", "lost"]


class Difference(Exception):
    """The engine and every model disagree."""


class Answer(NamedTuple):
    """What became of a call: a reply, or a code; how sure the caller can be of it."""

    fate: Fate
    reply: Shape
    code: str


class SteppedEngine(EmbeddedEngine):
    """The embedded engine, folding when the simulation says so."""

    rng: Random

    def new_folder(self, folded: int) -> FolderProcess:
        """A folder that is stepped."""
        folder = StepFolder(self.path, self._memory_limit, folded, self._folded, False)
        folder.rng = self.rng
        return folder


class World:
    """Everything that a seed drives."""

    def __init__(self, rng: Random, root: Path, done: Counter[str], parks: bool = False) -> None:
        self.rng = rng
        self.root = root
        self.done = done
        self.callers = Parkers(rng) if parks else Workers(rng)
        self.models = [Model()]
        self.log: deque[str] = deque(maxlen=40)
        self.wall = self.boot = START_MS
        self.lives = 0
        self.alive = False
        self.crashed = False
        self.sick = 0  # the disk fails for so many more steps
        self.disk: BadDisk
        self.engine: SteppedEngine
        self.clock: Clock

    @property
    def path(self) -> Path:
        """The data directory of this life."""
        return self.root / f"life-{self.lives}"

    # -- lives

    async def begin(self) -> None:
        """The first life, and the mailboxes in it."""
        await self._open()
        for call in self.callers.start():
            await self.call(call)

    async def _open(self) -> None:
        self.disk = BadDisk(self._crash)
        self.engine = SteppedEngine(
            self.path, segment_bytes=64 * 1024, journal_bytes=self.rng.choice((0, 2**40)), disk=self.disk
        )
        self.engine.rng = self.rng
        self.alive = False
        await self.engine.open()
        self.alive = True
        self.folder.tables.strike = self._strike
        now = max(self.engine.time, self.wall)
        self.wall += max(model.clear_of(now) for model in self.models) - now
        self.clock = Clock(self.engine.time, wall=lambda: self.wall, boot=lambda: self.boot)
        now = self.clock.now()
        for model in self.models:
            model.restart(now)
        await self.engine.begin(self.ask())

    @property
    def folder(self) -> StepFolder:
        """Who folds."""
        folder = self.engine.folder
        assert isinstance(folder, StepFolder)
        return folder

    def _crash(self) -> None:
        """The data directory as it lies at this moment is all that will be left."""
        if not self.crashed:
            self.crashed = True
            shutil.copytree(self.path, self.root / f"life-{self.lives + 1}")

    async def abandon(self) -> None:
        """End the engine; what it still does, nobody sees."""
        if not self.alive:
            return
        self.alive = False
        self.disk.heal()
        self.folder.tables.left = -1
        self.done["events"] += self.folder.events
        await self.engine.close()

    async def _next_life(self) -> None:
        await self.abandon()
        shutil.rmtree(self.path)
        self.lives += 1
        self.crashed = False
        self.log.append(f"-- crash: life {self.lives}, {len(self.models)} models")
        self.done["crashes"] += 1
        await self._open()
        await self.look()

    async def end(self) -> None:
        """A last look, at what a clean stop leaves."""
        await self._heal()
        await self.look()
        await self.abandon()
        await self._open()
        await self.look()
        await self.abandon()

    # -- steps

    async def step(self) -> None:
        """One thing after another: commands, time, faults, looks."""
        rng = self.rng
        self.done["steps"] += 1
        self.models = _distinct(self.models)
        dice = rng.random()
        if dice < 0.16:
            await self.pass_time()
        elif dice < 0.20:
            self._fold()
        elif dice < 0.215:
            await self.look(0.3)
        elif dice < 0.24 and not self.sick:
            self._arm()
        elif dice < 0.244:
            self._set_clock()
        elif dice < 0.28:
            await self._together()
        elif dice < 0.29:
            await self._meet_window()
        else:
            await self.call(self.callers.draw(self.models[0]))
        if self.disk.failed and not self.crashed and rng.random() < 0.4:
            self._crash()  # while nothing was written over what failed
        if self.crashed:
            await self._next_life()
        elif self.sick:
            self.sick -= 1
            if not self.sick:
                await self._heal()

    def _arm(self) -> None:
        """Something will break soon."""
        rng = self.rng
        dice = rng.random()
        if dice < 0.1:
            self.log.append("-- crash between two calls")
            self._crash()
        elif dice < 0.5:
            phase: Phase = rng.choice(PHASES)
            self.disk.plan(rng.choice((0, 0, 0, 1, 1, 2, 4)), phase, rng.random())
            self.log.append(f"-- crash at call {self.disk.left}, {phase}")
        else:
            error = rng.choice((errno.ENOSPC, errno.EIO))
            self.disk.plan(rng.choice((0, 1, 1)), "torn", rng.random(), error, rng.choice((1, 1, 6)))
            self.sick = rng.choice((1, 3, 8))
            self.log.append(f"-- the disk fails with {errno.errorcode[error]} at call {self.disk.left}")

    async def _heal(self) -> None:
        """The disk works again; the engine gets over it without a restart."""
        self.disk.heal()
        self.disk.failed = 0
        self.sick = 0
        while self.engine.broken is not None:
            await asyncio.sleep(0)
        await self.look()

    def _fold(self) -> None:
        """Some records are folded, or break off in the middle; now and then the process with them."""
        rng = self.rng
        if rng.random() < 0.3:
            self.folder.tables.left = rng.randint(0, 12)
        self.folder.step(rng.choice((1, 4, 30)))
        self.folder.tables.left = -1

    def _strike(self) -> None:
        """A fold breaks: alone, or with the whole process."""
        if self.rng.random() < 0.3:
            self.log.append("-- crash in a fold")
            self._crash()
        else:
            self.folder.broken()

    def _set_clock(self) -> None:
        """Somebody sets the machine's clock."""
        step = self.rng.choice((-1, 1)) * self.rng.choice((1, 1_000, 60_000, 3_600_000))
        self.wall += step
        self.log.append(f"-- the clock is set by {step} ms")

    async def pass_time(self) -> None:
        """To just before, at or just after an edge; the engine notices by itself, or at the next call."""
        rng, now = self.rng, self.clock.now()
        near = edges(self.models[0])
        if near and rng.random() < 0.8:
            to = rng.choice(near[: rng.choice((1, 3, 10))]) + rng.choice((-1, 0, 0, 1))
        else:
            to = now + rng.choice((0, 1, 1_000, 10_000, 60_000))
        if rng.random() < 0.01:
            to += rng.choice((8, 8, 30, 61)) * DAY_MS
        self._pass_to(to)
        if rng.random() < 0.5:
            await self.tick()

    async def _meet_window(self) -> None:
        """A dedup key again, just before, at or just after the end of its window."""
        known = [
            (box.address, name, key[1] + box.settings["dedup_window_s"] * 1000, key[2])
            for box in self.models[0].boxes.values()
            for name, key in box.keys.items()
        ]
        if known:
            address, name, end, parts = self.rng.choice(known[-6:])
            self._pass_to(end + self.rng.choice((-1, 0, 0, 1)))
            message = {"to": address, "dedup_key": name, "parts": parts}
            await self.call(Call(self.callers.local(), "mailbox_send", message))

    def _pass_to(self, to: int) -> None:
        now = self.clock.now()
        to = max(model.clear_of(to) for model in self.models)
        while (left := to - self.clock.now()) > 0:
            self.wall += left
            self.boot += left
            assert self.clock.now() >= now, "broker time went back"
        self.log.append(f"-- {self.clock.now() - START_MS}")

    async def tick(self) -> None:
        """The engine does what is due, retention too."""
        ask, state = self.ask(), self.engine.state
        await self.engine.tick(ask)
        try:
            await self.engine.durable()
        except Mq9Error:
            if not self.disk.failed:
                raise
            await self._repaired(state)
        self._take_over([(None, ask, Answer(self._fate(), {}, ""))])
        if self.engine.broken is None and not self.crashed:
            await self._pruned(ask)

    async def _pruned(self, ask: Ask) -> None:
        """Learn which of the settled messages that are old enough are gone."""
        for model in self.models:
            for address, box in model.boxes.items():
                spent = model.spent(box, ask.now)  # its own time may lag: what time did may be lost
                while spent:
                    asked = {"mailbox": address, "ids": spent[:100], "limit": 100}
                    reply = await self._execute(Call((box.owner, "ann"), "mailbox_query", asked), ask)
                    there = {message["id"] for message in reply.reply.get("messages", ())}
                    model.forget(box, [id for id in spent[:100] if id not in there])
                    spent = spent[100:]

    # -- calls

    def ask(self) -> Ask:
        """Time, secret and chance, all from the seed."""
        return Ask(self.clock.now(), f"{self.rng.getrandbits(64):016x}", self.rng.choice((0.0, 0.5, 1.0)))

    async def call(self, call: Call) -> None:
        """One command."""
        await self._calls([call])

    async def _together(self) -> None:
        """Several commands at once: decided in this order, written in one commit."""
        await self.tick()
        if not self.crashed and not self.sick:
            await self._calls(self.callers.draw_together(self.models[0], self.rng.randint(2, 6)))

    async def _calls(self, calls: list[Call]) -> None:
        asks = [self.ask() for _ in calls]
        answers = await asyncio.gather(*map(self._execute, calls, asks))
        self.done["commands"] += len(calls)
        for call, answer in zip(calls, answers, strict=True):
            self.log.append(f"{call.who[1]} {call.name} {call.asked} -> {answer.code or answer.fate}"[:600])
        self._take_over(list(zip(calls, asks, answers, strict=True)))
        for answer in answers:
            if answer.fate == "answered":
                self.callers.tokens += [message["lease"] for message in _messages(answer.reply, "lease")]
        del self.callers.tokens[:-200]

    def _fate(self) -> Fate:
        return "lost" if self.crashed or self.sick else "answered"

    async def _execute(self, call: Call, ask: Ask) -> Answer:
        caller = Caller(*call.who)
        state = self.engine.state
        try:
            if call.name == "unpark":
                command: Command = Unpark(**call.asked)
            else:
                command = read_arguments(call.name, call.asked)
            ask.intents = self._rankings(call)
            reply = await self.engine.execute(caller, command, ask)
        except Mq9Error as error:
            if error.code == "STORAGE_UNAVAILABLE":
                if not self.disk.failed:
                    raise
                await self._repaired(state)
                return Answer("lost" if self.crashed else "failed", {}, error.code)
            return Answer(self._fate(), {}, error.code)
        return Answer(self._fate() if call.name in READS or self.crashed else "answered", reply, "")

    def _rankings(self, call: Call) -> dict[str, dict[str, Match]]:
        """What a broker finds out before a call: how well agents fit the texts of intents."""
        if call.name == "unpark":
            texts = {wish_in(mail).text for mail in self.engine.state.parked.values()}
        else:
            sends = [call.asked, *call.asked.get("messages", ())]
            texts = {one["intent"]["text"] for one in sends if "intent" in one}
        return {
            text: {one.name: Match(one.score, "is far", None, one.fits) for one in fits_in(text)}
            for text in texts
        }

    async def _repaired(self, state: Any) -> None:
        """Wait until the engine has rebuilt its state from what is on disk."""
        while self.engine.broken is not None:
            await asyncio.sleep(0)
        if self.engine.state is not state:
            for model in self.models:
                model.restart(None)

    # -- models

    def _take_over(self, made: list[tuple[Call | None, Ask, Answer]]) -> None:
        """Let every model answer too, and keep those that answer the same."""
        for call, ask, answer in made:
            why: list[str] = []
            found = [one for model in self.models for one in _follow(model, call, ask, answer, why)]
            if not found:
                raise Difference("\n".join(why) or f"nothing fits {answer}")
            self.models = found if answer.fate == "answered" else _distinct(found)
            assert len(self.models) <= MODELS_MAX, "too many models could be true"

    async def look(self, share: float = 1) -> None:
        """Compare everything that can be seen, or a share of the mailboxes."""
        await self.tick()
        for principal in ("local", "guest"):
            await self.call(Call((principal, "ann"), "mailbox_list", {"limit": 100}))
            await self.call(Call((principal, "eve"), "session_list", {"limit": 100}))
            await self.call(Call((principal, "ann"), "task_list", {"limit": 100}))
        await self.call(Call(("local", "ann"), "agent_discover", {"limit": 100}))
        for task in [one for model in self.models for one in model.tasks.values()]:
            if self.rng.random() < share * LOOK_AT_TASKS:
                asked = {"task": self.models[0].names.get(task.name, "task-gone"), "history": 100}
                await self.call(Call((task.principal, "ann"), "task_get", asked))
        boxes = {(address, box.owner) for model in self.models for address, box in model.boxes.items()}
        for address, owner in sorted(boxes):
            if self.rng.random() > share:
                continue
            await self.call(Call((owner, "ann"), "group_list", {"mailbox": address}))
            await self.call(Call((owner, "ann"), "mailbox_query", {"mailbox": address, "limit": 100}))


def _follow(model: Model, call: Call | None, ask: Ask, answer: Answer, why: list[str]) -> list[Model]:
    """What ``model`` may be after a call with that answer; none if it would have answered otherwise."""
    before = model.save() if answer.fate != "answered" else b""
    model.trail = [] if answer.fate != "answered" else None
    told, code = _answer(model, call, ask)
    trail, model.trail = model.trail, None
    if trail is not None:
        last = [model.save()] if answer.fate == "lost" else []
        models = [Model().loaded(one) for one in {before: 0, **dict.fromkeys(trail[:-1] + last)}]
        if call is not None:  # it was heard, whatever is stored of it
            for one in models:
                one.now = model.now
                one.hear(call.who)
        return models
    told = model.meet(told, answer.reply)
    found = differences(told, answer.reply, call.name if call else "") if code == answer.code else []
    if code != answer.code:
        found = [f"the code is {answer.code or 'none'!r}, not {code or 'none'!r}"]
    if found:
        why += [f"the engine: {answer.reply}"[:3000], f"the model: {told}"[:3000], *found[:10]]
        return []
    if call is not None and call.name == "mailbox_fetch" and not code:
        model.adopt(told["messages"], answer.reply["messages"])
    return [model]


def _answer(model: Model, call: Call | None, ask: Ask) -> tuple[Shape, str]:
    if call is None:
        model.pass_time(ask.now)
        return {}, ""
    try:
        return model.execute(call.who, call.name, call.asked, ask.now, ask.chance), ""
    except Refusal as refusal:
        return {}, refusal.code


def _distinct(models: list[Model]) -> list[Model]:
    if len(models) == 1:
        return models
    found: list[tuple[list[Any], Model]] = []
    for model in models:
        plain = model.plain()
        if all(plain != other for other, _ in found):
            found.append((plain, model))
    return [model for _, model in found]


def _messages(reply: Shape, having: str) -> list[Shape]:
    return [message for message in reply.get("messages", ()) if having in message]


def differences(told: Any, seen: Any, where: str) -> list[str]:
    """Where the engine's reply is not the model's, one line each; opaque and free values aside."""
    if isinstance(told, dict) and isinstance(seen, dict):
        names = (told.keys() | seen.keys()) - NOT_COMPARED - (ERROR if "code" in told else set())
        return [
            line
            for name in sorted(names)
            for line in differences(told.get(name, "nothing"), seen.get(name, "nothing"), f"{where}.{name}")
        ]
    if isinstance(told, list) and isinstance(seen, list) and len(told) == len(seen):
        pairs = enumerate(zip(told, seen, strict=True))
        return [line for at, (one, other) in pairs for line in differences(one, other, f"{where}[{at}]")]
    return [] if told == seen else [f"{where}: the engine has {seen!r}, the model {told!r}"[:400]]
