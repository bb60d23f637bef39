"""A broker with several callers in one process, made to be killed: ``crash_worker.py DATA LOGS ROUND``.

Each caller writes every reply to a file of its own and syncs it before its next call, so that the
file never claims what the broker did not acknowledge. The seed of a round decides what they do.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from mq9_mcp.broker.broker import Broker, start_broker
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.embedded.engine import open_engine

CALLERS = 6


class Log:
    """What one caller was told, on disk before it goes on."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, kind: str, **fields: Any) -> None:
        """One line, synced."""
        os.write(self._fd, json.dumps({"kind": kind, **fields}).encode() + b"\n")
        os.fdatasync(self._fd)


async def caller(broker: Broker, log: Log, name: str, rng: random.Random) -> None:
    """Sends, fetches and acks until the process is killed; says before each send what it will try."""
    who = Caller("local", name)
    number = 0
    while True:
        number += 1
        batch = [f"{name}-{number}-{index}" for index in range(rng.choice((1, 1, 3)))]
        log.write("try", keys=batch)
        messages = [{"to": "box", "text": key * rng.randint(1, 200), "dedup_key": key} for key in batch]
        reply = await broker.call(who, "mailbox_send", {"messages": messages})
        for key, message, receipt in zip(batch, messages, reply["receipts"], strict=True):
            log.write("sent", key=key, id=receipt["id"], text=message["text"])
        fetched = await broker.call(who, "mailbox_fetch", {"mailbox": "box", "max": rng.choice((1, 3))})
        leases = [message["lease"] for message in fetched["messages"]]
        for message in fetched["messages"]:
            log.write("leased", id=message["id"], fence=message["fence"])
        if leases and rng.random() < 0.8:
            items = [{"lease": lease} for lease in leases]
            answer = f"{name}-{number}-answer"
            log.write("try", keys=[answer])
            send = {"to": "answers", "text": answer, "dedup_key": answer}
            try:
                settled = await broker.call(who, "mailbox_ack", {"items": items, "send": send})
            except Mq9Error as error:
                log.write("refused", code=error.code)
                continue
            log.write("acked", ids=[item["id"] for item in settled["results"]], answer=answer)
            log.write("sent", key=answer, id=settled["receipts"][0]["id"], text=answer)


async def main(data: Path, logs: Path, seed: str) -> None:
    """Open the broker, let the callers go, say that all is running."""
    engine = await open_engine(data, segment_bytes=64 * 1024, journal_bytes=128 * 1024)
    broker = await start_broker(engine)
    for address in ("box", "answers"):
        await broker.call(Caller("local"), "mailbox_create", {"address": address})
    async with asyncio.TaskGroup() as group:
        for index in range(CALLERS):
            name = f"caller{index}-{seed}"
            group.create_task(caller(broker, Log(logs / f"{name}.log"), name, random.Random(name)))
        print("running", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
