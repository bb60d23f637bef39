"""Executors behind a mailbox, called by the SDK's client through the door."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.helpers import get_message_text
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    GetTaskRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskState,
)
from a2a.utils.errors import UnsupportedOperationError
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from mq9_a2a import Listener, listen

from mq9_mcp.client import Mq9Client, Refused
from tests.a2a_listen.agent import Agent
from tests.client.serving import ENVIRONMENT, ROOT, Server, serving

OPEN = ("submitted", "working")
Test = Callable[["Asker", Agent, Listener], Coroutine[Any, Any, None]]


class Asker:
    """The SDK's client at the door."""

    def __init__(self, plain: Client, streaming: Client) -> None:
        self.plain = plain
        self.streaming = streaming

    def request(self, text: str, task: str = "", at_once: bool = False) -> SendMessageRequest:
        """A message."""
        message = Message(message_id=f"m-{text}", role=Role.ROLE_USER, parts=[Part(text=text)], task_id=task)
        message.metadata.update({"herd": 2})
        configuration = SendMessageConfiguration(return_immediately=at_once)
        return SendMessageRequest(message=message, configuration=configuration)

    async def ask(self, text: str, task: str = "", at_once: bool = False) -> Any:
        """What a blocking call answers: a Task or a Message."""
        async for response in self.plain.send_message(self.request(text, task, at_once)):
            return getattr(response, response.WhichOneof("payload"))
        raise AssertionError("no answer")

    async def stream(self, text: str) -> list[Any]:
        """All that a stream tells."""
        return [
            getattr(one, one.WhichOneof("payload"))
            async for one in self.streaming.send_message(self.request(text))
        ]

    async def ends(self, task: str) -> Any:
        """The task once it is over or waits for the asker."""
        known = await self.plain.get_task(GetTaskRequest(id=task))
        if state(known) in OPEN:
            with suppress(UnsupportedOperationError):  # it was over before the stream began
                async for one in self.streaming.subscribe(SubscribeToTaskRequest(id=task)):
                    if one.HasField("status_update") and state(one.status_update) not in OPEN:
                        break
            known = await self.plain.get_task(GetTaskRequest(id=task))
        return known


def state(task: Any) -> str:
    name: str = TaskState.Name(task.status.state)
    return name.removeprefix("TASK_STATE_").lower().replace("_", "-")


def text(task: Any) -> str:
    return get_message_text(task.status.message)


@asynccontextmanager
async def asking(url: str, name: str) -> AsyncIterator[Asker]:
    """A client of one mailbox."""
    async with httpx.AsyncClient(timeout=30) as http:

        async def client(streaming: bool) -> Client:
            config = ClientConfig(httpx_client=http, streaming=streaming)
            path = f"/a2a/{name}/.well-known/agent-card.json"
            return await create_client(url, config, relative_card_path=path)

        yield Asker(await client(False), await client(True))


def run(server: Server, test: Test, name: str) -> None:
    """Run a body with an asker, an agent, and the agent's listener."""

    async def body() -> None:
        agent = Agent()
        card = AgentCard(name=name, description="Weighs cats.", version="1")
        async with (
            asyncio.timeout(60),
            listen(agent, agent=name, card=card, url=server.url, lease_s=5) as listener,
            asking(server.url, name) as asker,
        ):
            await test(asker, agent, listener)

    asyncio.run(body())


def test_an_executor_completes_a_task_that_a_client_waits_for(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:
        task = await asker.ask("weigh")
        assert (state(task), text(task)) == ("completed", "weighed")
        [artifact] = task.artifacts
        grams = MessageToDict(artifact.parts[0].data)
        assert (artifact.artifact_id, artifact.name, grams) == ("w", "weights", {"grams": 4200, "half": 0.5})
        assert [part.text for part in artifact.parts[1:]] == [str(one) for one in range(300)]
        [context] = agent.contexts
        assert context.message is not None
        assert (context.message.message_id, context.message.role) == ("m-weigh", Role.ROLE_USER)
        assert MessageToDict(context.message.metadata) == {"herd": 2}
        assert (context.task_id, context.context_id) == (task.id, task.context_id)
        assert (context.current_task, context.tenant) == (None, "l-weigh")
        assert context.call_context.state["attempt"] == 1
        view = (await listener.client.task_get(task=task.id))["task"]
        assert view["progress"] == {"done": 1, "total": 2}
        assert view["artifacts"][0]["parts"][0] == {"data": {"grams": 4200, "half": 0.5}}

    run(server, test, "l-weigh")


def test_a_stream_tells_all_in_order(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:  # noqa: ARG001
        events = await asker.stream("weigh")
        kinds = [type(one).__name__ for one in events]
        states = [state(one) for one in events if hasattr(one, "status")]
        assert kinds[0] == "Task"
        assert states == ["submitted", "working", "working", "working", "completed"]
        pieces = [one for one in events if type(one).__name__ == "TaskArtifactUpdateEvent"]
        parts = [part.text for one in pieces for part in one.artifact.parts]
        assert parts == ["", *map(str, range(300))]
        assert [one.last_chunk for one in pieces] == [False] * (len(pieces) - 1) + [True]
        assert not pieces[0].append
        assert all(one.append for one in pieces[1:])
        assert text(events[-1]) == "weighed"

    run(server, test, "l-stream")


def test_a_message_alone_is_the_answer(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:  # noqa: ARG001
        answer = await asker.ask("hello")
        assert isinstance(answer, Message)
        assert get_message_text(answer) == "hello yourself"
        assert (answer.message_id, answer.role) == ("h1", Role.ROLE_AGENT)
        assert MessageToDict(answer.metadata) == {"mood": "good"}
        assert not answer.task_id
        assert not answer.parts[0].HasField("metadata")

    run(server, test, "l-hello")


def test_an_answer_is_the_next_call_with_the_task_so_far(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:  # noqa: ARG001
        task = await asker.ask("ask")
        assert (state(task), text(task)) == ("input-required", "which cat?")
        again = await asker.ask("ask again", task.id)
        assert (state(again), text(again)) == ("input-required", "which cat?")
        done = await asker.ask("tom", task.id)
        assert state(done) == "completed"
        assert text(done) == "ask, which cat?, ask again, which cat?, tom"
        assert [one.context_id for one in agent.contexts] == [task.context_id] * 3
        assert [one.task_id for one in agent.contexts] == [task.id] * 3

    run(server, test, "l-ask")


def test_a_message_to_a_task_at_work_is_the_next_call(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:  # noqa: ARG001
        task = await asker.ask("wait", at_once=True)
        await agent.begun.wait()
        await asker.ask("ask", task.id, at_once=True)
        agent.go_on.set()
        known = await asker.ends(task.id)
        assert (state(known), text(known)) == ("input-required", "which cat?")
        assert [one.get_user_input() for one in agent.contexts] == ["wait", "ask"]
        assert state(await asker.ask("tom", task.id)) == "completed"
        assert [one.get_user_input() for one in agent.contexts] == ["wait", "ask", "tom"]

    run(server, test, "l-follow")


def test_a_message_that_a_late_reply_brings_is_heard_before_the_task_ends(server: Server) -> None:
    """It was told to a waiting fetch, whose reply comes after all that the executor did."""

    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:
        told, late = asyncio.Event(), asyncio.Event()
        call = listener.client.call

        async def slow(command: str, arguments: Mapping[str, Any]) -> Any:
            reply = await call(command, arguments)
            if command == "mailbox_fetch" and reply.get("follow_ups"):
                told.set()
                await late.wait()
            return reply

        listener.client.call = slow  # type: ignore[method-assign]
        first = await asker.ask("hello")  # whoever fetches from now on is slow
        assert isinstance(first, Message)
        task = await asker.ask("wait", at_once=True)
        await agent.begun.wait()
        await asker.ask("ask", task.id, at_once=True)
        await told.wait()
        agent.go_on.set()
        known = await asker.ends(task.id)
        assert (state(known), text(known)) == ("input-required", "which cat?")
        late.set()
        assert state(await asker.ask("tom", task.id)) == "completed"
        assert [one.get_user_input() for one in agent.contexts] == ["hello", "wait", "ask", "tom"]

    run(server, test, "l-late")


def test_cancel_is_told_to_the_executor(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:  # noqa: ARG001
        task = await asker.ask("wait", at_once=True)
        await agent.begun.wait()
        canceled = await asker.plain.cancel_task(CancelTaskRequest(id=task.id))
        assert (state(canceled), text(canceled)) == ("canceled", "stopped")
        assert agent.canceled == [task.id]

    run(server, test, "l-cancel")


@pytest.mark.parametrize(
    ("word", "ends", "said"),
    [
        ("fail", "failed", "The agent failed: ValueError"),
        ("unsupported", "failed", "The agent failed: only cats"),
        ("reject", "rejected", "no dogs"),
        ("stray", "failed", "The agent spoke of another task."),
        ("both", "failed", "The agent answered with a task, and then with a message."),
    ],
)
def test_what_goes_wrong_is_told_in_plain_words(server: Server, word: str, ends: str, said: str) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:
        task = await asker.ask(word)
        assert (state(task), text(task)) == (ends, said)
        assert len(agent.contexts) == 1
        assert listener.worker is not None
        assert listener.worker.is_running

    run(server, test, f"l-{word}")


def test_an_executor_that_returns_without_an_end_has_completed_what_it_began(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:  # noqa: ARG001
        task = await asker.ask("nothing")
        assert (state(task), text(task)) == ("completed", "")

    run(server, test, "l-nothing")


def test_a_consent_that_comes_from_elsewhere_is_waited_for_under_the_lease(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:  # noqa: ARG001
        seen = []
        async for one in asker.streaming.send_message(asker.request("consent")):
            event = getattr(one, one.WhichOneof("payload"))
            seen.append((state(event), text(event)))
            if seen[-1][1]:
                agent.go_on.set()
        assert seen[-2:] == [("working", "open the link"), ("completed", "")]

    run(server, test, "l-consent")


def test_a_listener_that_stops_gives_its_task_back(server: Server) -> None:
    async def test(asker: Asker, agent: Agent, listener: Listener) -> None:
        task = await asker.ask("wait", at_once=True)
        await agent.begun.wait()
        await listener.stop(0)
        assert state(await asker.plain.get_task(GetTaskRequest(id=task.id))) == "submitted"
        other = Agent()
        other.go_on.set()
        async with listen(other, agent="l-stop", url=server.url):
            known = await asker.ends(task.id)
        assert (state(known), known.artifacts[0].parts[0].text) == ("completed", "late")
        assert other.contexts[0].call_context.state["attempt"] == 1

    run(server, test, "l-stop")


def test_awaiting_a_listener_works_until_it_is_cancelled(server: Server) -> None:
    async def body() -> None:
        async with asyncio.timeout(60), Mq9Client(server.url, agent="l-await") as client:
            await client.mailbox_create(address="l-await")

            async def work() -> None:
                await listen(Agent(), agent="l-await", url=server.url)

            working = asyncio.create_task(work())
            async with asking(server.url, "l-await") as asker:
                assert state(await asker.ask("weigh")) == "completed"
            working.cancel()
            await asyncio.wait({working})
            assert working.cancelled()

    asyncio.run(body())


def test_a_wrong_name_is_refused_at_once() -> None:
    with pytest.raises(Refused, match="agent: 'no name'"):
        listen(Agent(), agent="no name")


def test_the_next_listener_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        async with asyncio.timeout(120), Mq9Client(server.url, agent="boss") as boss:
            await boss.call("mailbox_create", {"address": "jobs", "settings": {"backoff_first_s": 0}})
            async with asking(server.url, "jobs") as asker:
                command = [sys.executable, "-m", "tests.a2a_listen.agent", server.url, "jobs"]
                with subprocess.Popen(
                    command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
                ) as first:
                    assert first.stdout is not None
                    task = await asker.ask("resume", at_once=True)
                    assert await asyncio.to_thread(first.stdout.readline) == "begun\n"
                    first.kill()
                with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT) as second:
                    known = await asker.ends(task.id)
                    second.send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(second.wait, 30) == 0
            assert (state(known), text(known)) == ("completed", "attempt 2, 1 done")
            assert [part.text for part in known.artifacts[0].parts] == ["one", "two"]

    with serving(tmp_path / "data") as server:
        asyncio.run(test(server))


def test_the_package_is_cheap_until_somebody_listens() -> None:
    """The door imports nothing of the SDK, and neither does naming the package."""
    program = "import sys, mq9_a2a; print('a2a.server' in sys.modules, callable(mq9_a2a.listen))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False True\n", "")
    with pytest.raises(ImportError, match="nothing"):
        from mq9_a2a import nothing  # noqa: F401
