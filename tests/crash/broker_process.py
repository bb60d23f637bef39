"""A broker in a process of its own, made to be killed: ``broker_process OPTIONS``, in the folder of a run.

OPTIONS is JSON: ``lose`` is the share of replies that are lost, ``began`` and ``speed`` make broker
time run faster from a moment on, ``sync_s`` makes the disk slow, so that a thread writes commits.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mq9_mcp.broker.broker import start_broker
from mq9_mcp.broker.clock import Clock
from mq9_mcp.engine.embedded.disk import Disk
from mq9_mcp.engine.embedded.engine import open_engine
from tests.crash.door import Door

DATA = Path("data")


class SlowDisk(Disk):
    """Every sync takes so long."""

    def __init__(self, sync_s: float) -> None:
        self._sync_s = sync_s
        self._never = threading.Event()

    def sync(self, fd: int) -> None:
        """Late."""
        self._never.wait(self._sync_s)
        super().sync(fd)


def hurried(began: float, speed: float) -> Callable[[], int]:
    """A clock that runs ``speed`` times as fast since the Unix time ``began``, in every process alike."""
    return lambda: round((began + (time.time() - began) * speed) * 1000)


async def main(options: dict[str, Any]) -> None:
    """Open the broker and its door, say so, serve until killed or told to stop by an end of input."""
    disk = SlowDisk(options["sync_s"]) if "sync_s" in options else None
    engine = await open_engine(DATA, segment_bytes=64 * 1024, journal_bytes=128 * 1024, disk=disk)
    clock = None
    if "speed" in options:
        run = hurried(options["began"], options["speed"])
        clock = Clock(engine.time, wall=run, boot=run)
    broker = await start_broker(engine, clock)
    door = Door(broker, options.get("lose", 0.0))
    await door.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await door.close()
    await broker.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
