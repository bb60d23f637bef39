"""Who has the letters: an official A2A client, which knows an address and nothing of mailboxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import httpx
from a2a.client import A2AClientError, Client, ClientConfig, create_client
from a2a.helpers import get_message_text, new_data_part
from a2a.types import (
    GetTaskRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

WISH = "These letters came in overnight. Please sort them, and hand each one to the desk that can help."
AGAIN_S = 0.2  # between two tries, while the broker is away
ENDS = (TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_CANCELED)


class Asker:
    """One conversation at ``/a2a``, the address of the broker itself: intent picks who answers."""

    def __init__(self, client: Client, connections: httpx.AsyncClient) -> None:
        self.client = client
        self._connections = connections

    @classmethod
    async def at(cls, url: str) -> Asker:
        """The broker's card says where and how."""
        direct = httpx.AsyncClient(trust_env=False)  # a proxy that somebody set up does not know this machine
        return cls(await create_client(url, ClientConfig(streaming=True, httpx_client=direct)), direct)

    async def ask(self, letters: list[str], message_id: str) -> Task:
        """Send the wish and the letters; the task as it stands at once."""
        return await self.say([Part(text=WISH), new_data_part({"letters": letters})], message_id)

    async def answer(self, task: str, text: str) -> Task:
        """Answer a question of the task."""
        return await self.say([Part(text=text)], f"answer-{task}", task_id=task)

    async def say(self, parts: list[Part], message_id: str, **task: str) -> Task:
        """Send a message; the task that it is in."""
        message = Message(message_id=message_id, role=Role.ROLE_USER, parts=parts, **task)
        async with _closing(self.client.send_message(SendMessageRequest(message=message))) as events:
            first = await anext(aiter(events))
        return first.task

    async def wait_for(self, task: str, *states: TaskState) -> Task:
        """Follow the task until it is in one of these states, over broken connections too."""
        while True:
            with suppress(A2AClientError):
                now = await self.client.get_task(GetTaskRequest(id=task))
                if now.status.state in (*states, *ENDS):
                    return now
                await self._follow(task, states)
                continue
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, task: str, states: tuple[TaskState, ...]) -> None:
        async with _closing(self.client.subscribe(SubscribeToTaskRequest(id=task))) as events:
            async for event in events:
                status = event.task.status if event.task.id else event.status_update.status
                if status.state in (*states, *ENDS):
                    return

    async def close(self) -> None:
        """Hang up."""
        await self.client.close()
        await self._connections.aclose()


def _closing(
    events: AsyncIterator[StreamResponse],
) -> aclosing[AsyncGenerator[StreamResponse, None]]:
    """Hang up when enough was heard; the SDK gives a generator, and calls it an iterator."""
    assert isinstance(events, AsyncGenerator)
    return aclosing(events)


def state_of(task: Task) -> str:
    """Its state as A2A names it."""
    return str(TaskState.Name(task.status.state))


def words_of(task: Task) -> str:
    """What the agent said last."""
    return str(get_message_text(task.status.message))


def metadata_of(task: Task) -> dict[str, Any]:
    """What the broker adds, such as whom intent picked."""
    found: dict[str, Any] = MessageToDict(task.metadata)
    return found


def table_of(task: Task) -> list[tuple[str, str, int]]:
    """The artifact: letter, desk, message id."""
    [artifact] = task.artifacts
    rows = MessageToDict(artifact.parts[0].data)["letters"]
    return [(letter, desk, int(id)) for letter, desk, id in rows]
