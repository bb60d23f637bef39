"""Ask the agent `roman` with the official A2A client, which knows nothing of mq9: `ask.py 1987`."""

import asyncio
import sys
from uuid import uuid4

from a2a.client import A2AClientError, Client, ClientConfig, create_client
from a2a.helpers import get_artifact_text, get_message_text
from a2a.types import Message, Part, Role, SendMessageRequest, TaskState

from mq9_mcp.client import Mq9Client


def said(text: str, **task: str) -> Message:
    """A message of ours; with the ids of a task it goes on with it."""
    return Message(message_id=uuid4().hex, role=Role.ROLE_USER, parts=[Part(text=text)], **task)


async def ask(client: Client, message: Message) -> Message | None:
    """Send, and tell what comes: the task as it stands, then what is new. If it asks, return our answer."""
    async for event in client.send_message(SendMessageRequest(message=message)):
        task = event.task
        if task.id and not message.task_id:
            print(f"{task.id} is on disk")
        for artifact in (*task.artifacts, event.artifact_update.artifact):
            if artifact.parts:
                print(f"{artifact.name} is {get_artifact_text(artifact)}")
        status = task.status if task.id else event.status_update.status
        if status.state == TaskState.TASK_STATE_INPUT_REQUIRED:
            print(get_message_text(status.message))
            return said(input("> "), task_id=task.id or event.status_update.task_id)
        if status.state not in (0, TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING):
            print(TaskState.Name(status.state))
    return None


async def main(text: str) -> None:
    """`Mq9Client` finds the broker. It has the agent's card, whether the agent is there or not."""
    card = "/a2a/roman/.well-known/agent-card.json"
    client = await create_client(Mq9Client().url, ClientConfig(streaming=True), relative_card_path=card)
    message: Message | None = said(text)
    while message is not None:
        message = await ask(client, message)
    await client.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(" ".join(sys.argv[1:]) or "1987"))
    except KeyboardInterrupt:
        print("the task goes on without us")
    except A2AClientError as error:
        sys.exit(f"{str(error).splitlines()[0]}; is the broker there, and was the agent, once?")
