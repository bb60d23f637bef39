"""The hotel desk of ``toolbox.py`` behind a mailbox of a real broker."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mq9_mcp.client import Mq9Client
from tests.client.serving import Server
from tests.client.test_work import submit

TOOLBOX = str(Path(__file__).with_name("toolbox.py"))
ALLOWED = {"mcp_commands": [shlex.join([sys.executable, TOOLBOX]) + " *"]}


def stdio(folder: Path) -> dict[str, Any]:
    """The server as a program."""
    folder.mkdir(exist_ok=True)
    return {"command": sys.executable, "args": [TOOLBOX, str(folder)]}


@asynccontextmanager
async def asking(server: Server, name: str = "boss") -> AsyncIterator[Mq9Client]:
    """A client with a mailbox."""
    async with asyncio.timeout(60), Mq9Client(server.url, agent=name) as boss:
        await boss.mailbox_create(address=name)
        yield boss


def calls(folder: Path) -> list[str]:
    """What the tools did."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def alive(folder: Path) -> list[int]:
    """The process ids of the programs that are there."""
    found = []
    for one in folder.glob("pid-*"):
        pid = int(one.name.removeprefix("pid-"))
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        found.append(pid)
    return found


def kill(folder: Path) -> None:
    """``kill -9`` of the one program that is there."""
    [pid] = alive(folder)
    os.kill(pid, signal.SIGKILL)


async def look_again(boss: Mq9Client) -> None:
    """Wait for mail of another reader, which does not come: the broker says when to look again."""
    await boss.mailbox_fetch(group="looks", max=1, wait_s=0.1)


async def when(boss: Mq9Client, path: Path, line: str) -> None:
    """Return once a tool has noted ``line``."""
    async with asyncio.timeout(30):
        while line not in path.read_text().splitlines():
            await look_again(boss)


async def submit_data(boss: Mq9Client, to: str, data: Any) -> str:
    """A new task of one data part; its id."""
    reply = await boss.call("mailbox_send", {"to": to, "parts": [{"data": data}], "task": True})
    return str(reply["receipts"][0]["task"])


async def begun(boss: Mq9Client, tool: str, wall: str) -> str:
    """A task whose call has begun, as its progress tells."""
    task = await submit(boss, "hotel-desk", wall, metadata={"mq9.skill": tool})
    async for told in boss.task_follow(task, after=0):
        if told["entry"]["kind"] == "progress":
            break
    return task


async def status(boss: Mq9Client, name: str, *wanted: str) -> dict[str, Any]:
    """The agent once its status is one of those."""
    async with asyncio.timeout(30):
        while True:
            for one in (await boss.agent_discover(limit=100))["agents"]:
                if one["name"] == name and one["status"] in wanted:
                    return dict(one)
            await look_again(boss)
