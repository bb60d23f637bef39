"""Waiting for a task, and following one: a snapshot first, then every later entry in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

from msgspec import structs

from mq9_mcp.broker.bell import Bell
from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.state import Caller
from mq9_mcp.domain.task_commands import TaskGet
from mq9_mcp.engine.base import Engine

OVER = ("completed", "failed", "canceled", "rejected")


class Desk(Protocol):
    """What this room needs of the broker."""

    engine: Engine
    bell: Bell
    stopping: bool

    def ask(self) -> Ask:
        """Time, a fresh secret and chance for one command."""

    def busy(self) -> AbstractContextManager[None]:
        """While it lasts, a broker that stops keeps its engine open."""


async def wait_for_task(desk: Desk, caller: Caller, command: TaskGet) -> dict[str, Any]:
    """A look that stays until the task is newer than ``after_version``, over, or time is up."""
    deadline = asyncio.get_running_loop().time() + command.wait_s
    look = structs.replace(command, history=0)
    moved = desk.bell.follow(command.task)
    after = command.after_version
    try:
        while True:
            moved.clear()
            reply = await desk.engine.execute(caller, look, desk.ask())
            task = reply["task"]
            after = task["version"] if after is None else after
            left = deadline - asyncio.get_running_loop().time()
            if task["version"] > after or task["state"] in OVER or left <= 0 or desk.stopping:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await moved.wait()
    finally:
        desk.bell.unfollow(command.task, moved)
    return await desk.engine.execute(caller, command, desk.ask()) if command.history else reply


async def follow_task(
    desk: Desk, caller: Caller, task: str, after: int | None = None
) -> AsyncGenerator[dict[str, Any]]:
    """``{task}``, the snapshot, then ``{entry}`` for each later entry; ends with the task or the broker.

    With ``after`` a follower goes on behind the entry of that number, without another snapshot.
    """
    moved = desk.bell.follow(task)
    moved.set()
    try:
        while True:
            with desk.busy():  # a stop lets it look once more, and does not wait for a slow reader
                await moved.wait()
                moved.clear()
                known = (await desk.engine.execute(caller, TaskGet(task=task), desk.ask()))["task"]
            version, over = known["version"], known["state"] in OVER
            if after is None:
                yield {"task": known}
                after = version
            del known  # a slow reader does not hold it
            while after < version:
                with desk.busy():
                    entries = await desk.engine.task_events(task, after, version)
                if not entries:
                    return  # its history is no longer kept
                for entry in entries:
                    after = entry["number"]
                    yield {"entry": entry}
            if over or desk.stopping:
                return
    except Unavailable:
        if not desk.stopping:
            raise
    finally:
        desk.bell.unfollow(task, moved)
