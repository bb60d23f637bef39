"""The agent that the official compatibility kit wants to talk to, as the worker of a mailbox.

``python -m tests.a2a_door.kit`` serves it until Ctrl+C and says at which address; the kit takes that as
``--sut-host``. Its scenarios are told apart by the prefix of ``messageId``.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mq9_mcp.client import Mq9Client
from tests.client.serving import serving
from tests.support import Reply

Call = Callable[..., Coroutine[Any, Any, Reply]]
BOX, NAME = "kit", "kit-worker"
LOOPBACK = ["127.0.0.1", "::1"]  # where the kit receives pushes
LONG_S = 4  # of the task that the kit follows from two streams
CARD = {
    "name": "Kit",
    "description": "Does what the compatibility kit asks for",
    "skills": [{"name": "Scenarios", "description": "Its scenarios, by messageId", "tags": ["kit"]}],
}
FILE = {"raw": "dGNr", "mediaType": "text/plain", "filename": "output.txt"}
URL = {"url": "https://example.com/output.txt", "mediaType": "text/plain", "filename": "output.txt"}
DATA = {"data": {"key": "value", "count": 42}}
TEXT = {"text": "Generated text content"}
ARTIFACTS = {
    "tck-artifact-text": TEXT,
    "tck-artifact-file-url": URL,
    "tck-artifact-file": FILE,
    "tck-artifact-data": DATA,
    "tck-stream-artifact-text": TEXT,
    "tck-stream-artifact-file": FILE,
    "tck-stream-001": TEXT,
    "tck-stream-002": TEXT,
    "tck-stream-003": TEXT,
    "tck-stream-ordering-001": TEXT,
}


async def kit(call: Call, message: Reply, worker: str = NAME) -> None:
    """The agent that the kit wants to talk to, as the worker of a mailbox."""
    name = message["a2a"]["messageId"]

    async def update(state: str | None = None, **fields: Any) -> None:
        if state is not None:
            fields["state"] = state
        await call("task_update", task=message["task"], lease=message["lease"], **fields)

    if name.startswith("tck-input-required"):
        await update("input-required", message="more?")
    elif name.startswith("tck-reject-task"):
        await update("rejected", message="rejected")
    elif name.startswith("tck-message-response"):
        send = {"in_reply_to": message["id"], "to": worker, "text": "Direct message response"}
        await call("mailbox_ack", items=[{"lease": message["lease"]}], send=send)
    elif name.startswith("tck-stream-artifact-chunked"):
        first = {"artifact_id": "a1", "text": "chunk-1 "}
        await update(artifacts=[first])
        last = {"artifact_id": "a1", "text": "chunk-2", "append": True, "last_chunk": True}
        await update("completed", artifacts=[last])
    elif name.startswith("tck-complete-task"):
        await update("completed", message="Hello from TCK")
    else:
        prefixes = [one for one in ARTIFACTS if name.startswith(one)]
        if prefixes:
            await update(artifacts=[{"parts": [ARTIFACTS[max(prefixes, key=len)]]}])
        await update("completed")


async def work(url: str) -> None:
    """Take every task of the mailbox, several at a time."""
    async with Mq9Client(url, agent=NAME) as client, asyncio.TaskGroup() as tasks:

        async def call(command: str, /, **given: Any) -> Reply:
            return await client.call(command, given)

        async def one(message: Reply) -> None:
            if message["a2a"]["messageId"].startswith("test-resubscribe"):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LONG_S):
                        await asyncio.Event().wait()
            await kit(call, message)

        await call("agent_register", name=BOX, card=CARD)
        while True:
            for message in (await call("mailbox_fetch", mailbox=BOX, wait_s=50))["messages"]:
                tasks.create_task(one(message))


def main() -> None:
    """Serve it."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), push_networks=LOOPBACK) as server:
        print(f"--sut-host {server.url}/a2a/{BOX}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(work(server.url))


if __name__ == "__main__":
    main()
