"""The SDKs of Python and JavaScript run one script against a live server, with an MCP worker behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskState,
)
from a2a.utils.errors import A2AError
from mcp import Client as McpClient

from tests.a2a_door.site import BOX, Peer, both, run_peer
from tests.mcp_door.checkers import BIN, installed, say
from tests.mcp_door.host import host, reply_of

NODE = Path(__file__).parent / "node"
SEEN = [
    "blocking completed echoed result",
    "get completed 1",
    "question input_required which?",
    "answered completed echoed",
    "bare four",
    "stream submitted working artifact completed",
    "immediately submitted",
    "resubscribed task",
    "canceled canceled",
    "heard canceled",
    "failed TaskNotFoundError",
    "listed 1",
]


async def work(worker: McpClient) -> None:
    """What the script needs of a worker, through the tools of MCP."""
    held: dict[str, str] = {}
    while True:
        reply = await reply_of(worker, "mailbox_fetch", mailbox=BOX, wait_s=20)
        for task in reply["cancel_requested"]:
            await reply_of(worker, "task_update", task=task, lease=held[task], state="canceled")
        for message in reply["messages"]:
            held[message["task"]] = message["lease"]
            await answer(worker, message)


async def answer(worker: McpClient, message: dict[str, Any]) -> None:
    lease, text = message["lease"], message["parts"][0]["text"]
    about = {"task": message["task"], "lease": lease}
    if text == "echo":
        await reply_of(worker, "task_update", **about, artifacts=[{"text": "result"}])
        await reply_of(worker, "task_update", **about, state="completed", message="echoed")
    elif text == "ask":
        await reply_of(worker, "task_update", **about, state="input-required", message="which?")
    elif text == "reply":
        send = {"in_reply_to": message["id"], "to": "worker", "text": "four"}
        await reply_of(worker, "mailbox_ack", items=[{"lease": lease}], send=send)


@asynccontextmanager
async def mcp_worker(peer: Peer) -> AsyncIterator[None]:
    async with host(peer.site, "auto", "worker") as worker:
        working = asyncio.create_task(work(worker))
        try:
            yield
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working


def state(task: Any) -> str:
    name: str = TaskState.Name(task.status.state)
    return name.removeprefix("TASK_STATE_").lower()


class Script:
    """What ``node/script.mjs`` does, in Python."""

    def __init__(self, base: str, binding: str) -> None:
        self.base = base
        self.binding = binding
        self.number = 0
        self.seen: list[str] = []

    def request(self, text: str, at_once: bool = False, task: str = "") -> SendMessageRequest:
        self.number += 1
        id = f"{self.binding}-{self.number}"
        message = Message(message_id=id, role=Role.ROLE_USER, parts=[Part(text=text)], task_id=task)
        configuration = SendMessageConfiguration(return_immediately=at_once)
        return SendMessageRequest(message=message, configuration=configuration)

    async def client(self, http: httpx.AsyncClient, streaming: bool) -> Any:
        config = ClientConfig(
            httpx_client=http,
            streaming=streaming,
            supported_protocol_bindings=[self.binding],
            use_client_preference=True,
        )
        path = f"/a2a/{BOX}/.well-known/agent-card.json"
        return await create_client(self.base, config, relative_card_path=path)

    async def send(self, *words: Any) -> Any:
        async for response in self.plain.send_message(self.request(*words)):
            return getattr(response, response.WhichOneof("payload"))
        raise AssertionError("no answer")

    def say(self, *words: object) -> None:
        self.seen.append(" ".join(map(str, words)))

    async def run(self) -> list[str]:
        async with httpx.AsyncClient(timeout=30) as http:
            self.plain = await self.client(http, streaming=False)
            self.streaming = await self.client(http, streaming=True)
            await self.talk()
            await self.follow()
        return self.seen

    async def talk(self) -> None:
        task = await self.send("echo")
        result = task.artifacts[0].parts[0].text
        self.say("blocking", state(task), task.status.message.parts[0].text, result)
        got = await self.plain.get_task(GetTaskRequest(id=task.id))
        self.say("get", state(got), len(got.history))
        task = await self.send("ask")
        self.say("question", state(task), task.status.message.parts[0].text)
        task = await self.send("echo", False, task.id)
        self.say("answered", state(task), task.status.message.parts[0].text)
        self.say("bare", (await self.send("reply")).parts[0].text)

    async def follow(self) -> None:
        told = self.words(self.streaming.send_message(self.request("echo")))
        self.say("stream", *[word async for word in told])
        task = await self.send("leave", True)
        self.say("immediately", state(task))
        following = self.words(self.streaming.subscribe(SubscribeToTaskRequest(id=task.id)))
        await anext(following)
        self.say("resubscribed", "task")
        self.say("canceled", state(await self.plain.cancel_task(CancelTaskRequest(id=task.id))))
        self.say("heard", [word async for word in following][-1])
        with pytest.raises(A2AError) as failed:
            await self.plain.get_task(GetTaskRequest(id="nope"))
        self.say("failed", type(failed.value).__name__)
        wanted = ListTasksRequest(status=TaskState.TASK_STATE_CANCELED)
        self.say("listed", len((await self.plain.list_tasks(wanted)).tasks))

    async def words(self, responses: AsyncIterator[Any]) -> AsyncIterator[str]:
        async for response in responses:
            kind = response.WhichOneof("payload")
            yield "artifact" if kind == "artifact_update" else state(getattr(response, kind))


@both
def test_the_python_sdk(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        async with mcp_worker(peer):
            seen = await Script(f"http://127.0.0.1:{peer.site.port}", binding).run()
        assert seen == SEEN

    run_peer(test, tmp_path, binding)


@both
def test_the_javascript_sdk(tmp_path: Path, binding: str) -> None:
    folder = installed(NODE)

    async def test(peer: Peer) -> None:
        async with mcp_worker(peer):
            base = f"http://127.0.0.1:{peer.site.port}"
            said = await say(tmp_path, BIN / "node", NODE / "script.mjs", str(folder), base, binding)
        assert said.out.splitlines() == SEEN
        assert said.code == 0

    run_peer(test, tmp_path, binding)
