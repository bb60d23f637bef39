"""An executor as the SDK's samples have it, what it does being told by the message; and a process of it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from a2a.helpers import new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import Message, Part, Role, TaskArtifactUpdateEvent
from a2a.types import a2a_pb2 as pb
from mq9_a2a.words import PROGRESS


class Agent(AgentExecutor):
    """Does what the text says."""

    def __init__(self) -> None:
        self.contexts: list[RequestContext] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.canceled: list[str | None] = []

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """One message."""
        self.contexts.append(context)
        word = context.get_user_input()
        if word == "hello":
            message = new_text_message("hello yourself", role=Role.ROLE_AGENT)
            message.message_id = "h1"
            message.metadata.update({"mood": "good"})
            await event_queue.enqueue_event(message)
            return
        task = context.current_task
        if task is None:
            assert context.message is not None
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        await getattr(self, f"do_{word.split()[0]}")(
            TaskUpdater(event_queue, task.id, task.context_id), context
        )

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """The asker wants no more."""
        self.canceled.append(context.task_id)
        assert context.current_task is not None
        updater = TaskUpdater(event_queue, str(context.task_id), str(context.context_id))
        await updater.cancel(updater.new_agent_message([new_text_part("stopped")]))

    async def do_weigh(self, updater: TaskUpdater, _: RequestContext) -> None:
        """A status, an artifact in pieces, the end."""
        await updater.submit()
        await updater.start_work(updater.new_agent_message([new_text_part("weighing")]))
        data = pb.Part()
        data.data.struct_value.update({"grams": 4200, "half": 0.5})
        await updater.add_artifact([data], artifact_id="w", name="weights")
        for piece in range(300):
            last = piece == 299
            await updater.add_artifact([new_text_part(str(piece))], "w", append=True, last_chunk=last)
        await updater.update_status(pb.TASK_STATE_WORKING, metadata={PROGRESS: {"done": 1, "total": 2}})
        await updater.complete(updater.new_agent_message([new_text_part("weighed")]))

    async def do_ask(self, updater: TaskUpdater, _: RequestContext) -> None:
        """A question; its answer is a message as any other, and is asked for twice."""
        await updater.requires_input(updater.new_agent_message([new_text_part("which cat?")]))

    async def do_tom(self, updater: TaskUpdater, context: RequestContext) -> None:
        """The answer."""
        assert context.current_task is not None
        said = [part.text for one in context.current_task.history for part in one.parts]
        await updater.complete(updater.new_agent_message([new_text_part(", ".join(said))]))

    async def do_wait(self, updater: TaskUpdater, _: RequestContext) -> None:
        """Work until somebody says go on."""
        await updater.start_work()
        self.begun.set()
        await self.go_on.wait()
        await updater.add_artifact([new_text_part("late")])

    async def do_fail(self, *_: Any) -> None:
        """A fault of the agent, with what is nobody's business."""
        raise ValueError("the password is 1234")

    async def do_unsupported(self, *_: Any) -> None:
        """A fault that is told."""
        from a2a.utils.errors import UnsupportedOperationError

        raise UnsupportedOperationError(message="only cats")

    async def do_reject(self, updater: TaskUpdater, _: RequestContext) -> None:
        """No."""
        await updater.reject(updater.new_agent_message([new_text_part("no dogs")]))

    async def do_nothing(self, *_: Any) -> None:
        """Nothing at all."""

    async def do_stray(self, updater: TaskUpdater, context: RequestContext) -> None:
        """An event of another task."""
        await updater.event_queue.enqueue_event(
            TaskArtifactUpdateEvent(task_id="other", context_id=context.context_id)
        )

    async def do_both(self, updater: TaskUpdater, _: RequestContext) -> None:
        """A message behind a task."""
        await updater.event_queue.enqueue_event(
            Message(message_id="m", role=Role.ROLE_AGENT, parts=[Part(text="bare")])
        )

    async def do_consent(self, updater: TaskUpdater, _: RequestContext) -> None:
        """Waits for a consent that comes from elsewhere, without returning."""
        await updater.requires_auth(updater.new_agent_message([new_text_part("open the link")]))
        await self.go_on.wait()
        await updater.complete()

    async def do_resume(self, updater: TaskUpdater, context: RequestContext) -> None:
        """Goes on where an earlier attempt was; the first one ends with its process."""
        state = context.call_context.state
        if state["checkpoint"] is None:
            await updater.add_artifact([new_text_part("one")], "a")
            await state["job"].checkpoint({"done": 1})
            print("begun", flush=True)
            await asyncio.Event().wait()
        words = f"attempt {state['attempt']}, {state['checkpoint']['done']:.0f} done"
        await updater.add_artifact([new_text_part("two")], "a", append=True)
        await updater.complete(updater.new_agent_message([new_text_part(words)]))


if __name__ == "__main__":
    from mq9_a2a import run

    run(Agent(), agent=sys.argv[2], url=sys.argv[1], lease_s=1)
