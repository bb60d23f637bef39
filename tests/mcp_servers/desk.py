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


async def when(boss: Mq9Client, path: Path, line: str) -> None:
    """Return once a tool has noted ``line``; each look is a call of the broker, which is to answer meanwhile."""
    async with asyncio.timeout(30):
        while line not in (path.read_text().splitlines() if path.exists() else ()):
            await boss.mailbox_query(limit=1)


async def status(boss: Mq9Client, name: str, *wanted: str) -> dict[str, Any]:
    """The agent once its status is one of those."""
    async with asyncio.timeout(30):
        while True:
            for one in (await boss.agent_discover(limit=100))["agents"]:
                if one["name"] == name and one["status"] in wanted:
                    return dict(one)
