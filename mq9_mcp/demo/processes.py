"""The programs of the demo: each a process of its own, so that it can be killed for real."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

READY_S = 60
STOP_S = 30
_URL = re.compile(r"http://\S+")


class Gone(Exception):
    """A program ended, or did not begin."""


def environment() -> dict[str, str]:
    """What the programs see: our environment without the settings that somebody made for a broker."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MQ9_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Program:
    """One process. An interrupt at the keyboard is for the demo alone, which then ends it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *words: str, **streams: Any) -> Program:
        """Run a module of ours."""
        return cls(await _start(words, **streams))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def kill(self) -> None:
        """``kill -9``: it gets no chance to do anything."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM: it may end in order; returns its exit code."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()


async def _start(words: tuple[str, ...], **streams: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        stdin=asyncio.subprocess.DEVNULL,
        env=environment(),
        start_new_session=True,
        **streams,
    )


class Broker(Program):
    """``mq9 serve``."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        super().__init__(process)
        self.url = url

    @classmethod
    async def serve(cls, data: Path, log: Path, port: str = "0") -> Broker:
        """Start it, on a free port unless one is named, and wait until callers are answered."""
        words = ("mq9_mcp.cli", "serve", "--data", str(data), "--port", port)
        with log.open("ab") as errors:
            process = await _start(words, stdout=asyncio.subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = (await process.stdout.readline()).decode("utf-8", "replace")
        except BaseException:
            await Program(process).kill()
            raise
        found = _URL.search(line)
        if found is None:
            code = await process.wait()
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
            raise Gone(f"the broker did not start; its exit code is {code}: {''.join(last)}")
        return cls(process, found[0])

    @property
    def port(self) -> str:
        """Where it listens."""
        return self.url.rpartition(":")[2]
