"""What is told, what was promised, and whether it held."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from mq9_mcp.client import Mq9Client
from mq9_mcp.client.replies import QueriedMessage, Task
from mq9_mcp.demo.asker import Asker
from mq9_mcp.demo.processes import Broker, Gone, Program

Result = TypeVar("Result")


class Story:
    """The folder, the programs that run, and the promises so far."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.say = say
        self.failed: list[str] = []
        self.checked = 0
        self.programs: list[Program] = []
        self.task = ""  # the A2A task that all this is about
        self.receipts: dict[str, int] = {}  # of the copies in the archive: text and message id
        self.second = ""  # who the second worker says it is
        self.redriven: set[int] = set()
        self.broker: Broker
        self.worker: Program
        self.client: Mq9Client
        self.asker: Asker
        self.friends: list[Mq9Client | Asker] = []  # to be closed at the end

    def scene(self, title: str) -> None:
        """A new part of the story."""
        self.say("")
        self.say(title)

    def tell(self, line: str) -> None:
        """What happens."""
        self.say(f"  {line}")

    def check(self, promise: str, held: bool) -> None:
        """Note a promise, and whether it held."""
        self.checked += 1
        self.say(f"  {'ok     ' if held else 'BROKEN '} {promise}")
        if not held:
            self.failed.append(promise)

    async def start_broker(self, port: str = "0") -> None:
        """``mq9 serve`` on our folder."""
        self.broker = await Broker.serve(self.folder, self.home / "broker.log", port)
        self.programs.append(self.broker)

    async def start_worker(self, what: str) -> Program:
        """The MCP client, which starts ``mq9-mcp``; what that logs is kept."""
        with (self.home / "worker.log").open("ab") as log:
            words = ("mq9_mcp.demo.worker", self.broker.url, what)
            worker = await Program.start(*words, stdout=log, stderr=log)
        self.programs.append(worker)
        return worker

    async def with_worker(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for what the worker does, as long as there is one."""
        ends = asyncio.ensure_future(self.worker.process.wait())
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait((ends, working), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Gone(f"the worker ended with code {ends.result()}: see {self.home / 'worker.log'}")
            return working.result()
        finally:
            ends.cancel()
            working.cancel()

    async def progress(self, least: float) -> Task:
        """The task, once its worker has done so much; it is waited for, not asked again and again."""
        task = (await self.client.task_get(task=self.task))["task"]
        while task.get("progress", {}).get("done", 0) < least and task["state"] != "completed":
            seen = task["version"]
            task = (await self.client.task_get(task=self.task, after_version=seen, wait_s=20))["task"]
        return task

    async def mail_in(self, address: str) -> list[QueriedMessage]:
        """Every message of a mailbox."""
        found: list[QueriedMessage] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await self.client.mailbox_query(mailbox=address, limit=100, **cursor)
            found += page["messages"]
            if "next_cursor" not in page:
                return found
            cursor = {"cursor": page["next_cursor"]}

    async def end(self) -> None:
        """Leave no process behind, and no connection open."""
        for friend in self.friends:
            await friend.close()
        for program in reversed(self.programs):
            await program.kill()

    @property
    def home(self) -> Path:
        """What is left when the demo has ended."""
        return self.folder.parent

    @property
    def shown(self) -> str:
        """The data directory as a shell takes it."""
        return shlex.quote(str(self.folder))

    @property
    def shown_home(self) -> str:
        """What is left, as a shell takes it."""
        return shlex.quote(str(self.home))
