"""A broker in a process of its own, made to be killed: ``broker_process OPTIONS``, in the folder of a run.

OPTIONS is JSON: ``lose`` is the share of replies that are lost, ``began`` and ``speed`` make broker
time run faster from a moment on, ``inline_s`` is the slowest commit that the event loop writes itself,
``journal_bytes`` is what is kept of the journal.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mq9_mcp.broker.broker import start_broker
from mq9_mcp.broker.clock import Clock
from mq9_mcp.engine.embedded import journal
from mq9_mcp.engine.embedded.engine import open_engine
from tests.crash.door import Door

DATA = Path("data")


def hurried(began: float, speed: float) -> Callable[[], int]:
    """A clock that runs ``speed`` times as fast since the Unix time ``began``, in every process alike."""
    return lambda: round((began + (time.time() - began) * speed) * 1000)


async def main(options: dict[str, Any]) -> None:
    """Open the broker and its door, say so, serve until killed or told to stop by an end of input."""
    journal.INLINE_S = options.get("inline_s", journal.INLINE_S)
    journal_bytes = options.get("journal_bytes", 128 * 1024)
    engine = await open_engine(DATA, segment_bytes=64 * 1024, journal_bytes=journal_bytes)
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
