"""A mailbox in front of an agent elsewhere: all that is sent gets there once, and all it says comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from a2a.server.context import ServerCallContext
from a2a.types import ListTasksRequest

from mq9_mcp.client import Mq9Client
from tests.a2a_remote.elsewhere import Elsewhere, card, elsewhere
from tests.client.serving import Server, serving
from tests.client.test_work import reached, submit

OWN = {"card_networks": ["127.0.0.1"]}
Test = Callable[[Mq9Client, Elsewhere], Coroutine[Any, Any, None]]
ways = pytest.mark.parametrize(
    ("binding", "streaming"), [("JSONRPC", True), ("HTTP+JSON", True), ("JSONRPC", False)]
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that may call the loopback."""
    with serving(tmp_path_factory.mktemp("server") / "data", **OWN) as running:
        yield running


@asynccontextmanager
async def asking(server: Server, name: str, agent: Elsewhere) -> AsyncIterator[Mq9Client]:
    """A client whose agent is registered."""
    async with asyncio.timeout(60), Mq9Client(server.url, agent=f"{name}-boss") as boss:
        await boss.mailbox_create(address=f"{name}-boss")
        await boss.call("agent_register", {"name": name, "card": agent.card})
        yield boss


async def tasks_of(agent: Elsewhere) -> list[Any]:
    """The tasks that the agent has."""
    return list((await agent.store.list(ListTasksRequest(), ServerCallContext())).tasks)


async def notice(boss: Mq9Client) -> Any:
    """The next notice."""
    [one] = (await boss.mailbox_fetch(max=1, wait_s=20))["messages"]
    await boss.mailbox_ack(items=[{"lease": one["lease"]}])
    return one


async def offline(boss: Mq9Client) -> list[Any]:
    """The agents that do not answer."""
    return list((await boss.agent_discover(status="offline", limit=100))["agents"])


@ways
def test_a_task_is_done_elsewhere(server: Server, binding: str, streaming: bool) -> None:
    name = f"r-{binding[:4].lower()}-{streaming}".lower()

    async def test() -> None:
        async with elsewhere(binding, streaming) as agent, asking(server, name, agent) as boss:
            task = await submit(boss, name, "weigh", metadata={"herd": 2})
            found = await reached(boss, task, "completed")
            assert found["status_message"]["parts"][0]["text"] == "weighed"
            [artifact] = found["artifacts"]
            assert (artifact["artifact_id"], artifact["name"]) == ("w", "weights")
            assert artifact["parts"][0] == {"data": {"grams": 4200, "half": 0.5}}
            assert [part["text"] for part in artifact["parts"][1:]] == [str(one) for one in range(300)]
            assert found["progress"] == {"done": 1, "total": 2}
            [context] = agent.agent.contexts
            assert context.message is not None
            first = found["id"] + "."
            assert context.message.message_id.startswith(first)
            assert context.message.metadata["herd"] == 2
            assert (await notice(boss))["task_state"] == "completed"

    asyncio.run(test())


def test_a_question_is_asked_and_answered(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-ask", agent) as boss:
            task = await submit(boss, "r-ask", "ask")
            asked = await notice(boss)
            assert (asked["task_state"], asked["parts"][0]["text"]) == ("input-required", "which cat?")
            await boss.mailbox_send(in_reply_to=asked["id"], text="ask")
            asked = await notice(boss)
            assert (asked["task_state"], asked["parts"][0]["text"]) == ("input-required", "which cat?")
            await boss.mailbox_send(in_reply_to=asked["id"], text="tom")
            await reached(boss, task, "completed")
            assert len(await tasks_of(agent)) == 1
            assert [one.get_user_input() for one in agent.agent.contexts] == ["ask", "ask", "tom"]

    asyncio.run(test())


def test_cancel_reaches_the_agent(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-cancel", agent) as boss:
            task = await submit(boss, "r-cancel", "wait")
            await agent.agent.begun.wait()
            await boss.task_cancel(task=task)
            found = await reached(boss, task, "canceled")
            assert found["status_message"]["parts"][0]["text"] == "stopped"
            assert len(agent.agent.canceled) == 1

    asyncio.run(test())


def test_a_task_whose_time_is_over_is_stopped_there_too(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-time", agent) as boss:
            sent = await boss.mailbox_send(to="r-time", text="wait", task={"timeout_s": 2})
            found = await reached(boss, sent["receipts"][0]["task"], "failed")
            assert found["state"] == "failed"
            await agent.agent.stopped.wait()
            assert len(agent.agent.canceled) == 1

    asyncio.run(test())


def test_a_broker_that_stops_goes_on_at_once_when_it_is_back(tmp_path: Path) -> None:
    """What was answered before is not sent again."""

    async def test(server: Server) -> None:
        async with elsewhere() as agent, asking(server, "r-stop", agent) as boss:
            task = await submit(boss, "r-stop", "ask")
            asked = await notice(boss)
            await boss.mailbox_send(in_reply_to=asked["id"], text="stay")
            await agent.agent.begun.wait()
            server.stop()
            await asyncio.to_thread(server.start)
            agent.agent.go_on.set()
            await reached(boss, task, "completed")
            assert [one.get_user_input() for one in agent.agent.contexts] == ["ask", "stay"]
            assert len(await tasks_of(agent)) == 1

    with serving(tmp_path / "data", **OWN) as server:
        asyncio.run(test(server))


def test_more_about_a_task_is_passed_on(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-more", agent) as boss:
            task = await submit(boss, "r-more", "wait")
            await agent.agent.begun.wait()
            await boss.mailbox_send(task=task, text="tom")
            agent.agent.go_on.set()
            await reached(boss, task, "completed")
            assert [one.get_user_input() for one in agent.agent.contexts] == ["wait", "tom"]
            assert len({one.task_id for one in agent.agent.contexts}) == 1

    asyncio.run(test())


@pytest.mark.parametrize(
    ("word", "state", "said"), [("reject", "rejected", "no dogs"), ("fail", "failed", None)]
)
def test_a_bad_end_is_an_end(server: Server, word: str, state: str, said: str | None) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, f"r-{word}", agent) as boss:
            found = await reached(boss, await submit(boss, f"r-{word}", word), state)
            assert said == found.get("status_message", {"parts": [{"text": None}]})["parts"][0]["text"]
            assert len(agent.agent.contexts) == 1

    asyncio.run(test())


def test_a_message_alone_completes_the_task_and_answers_plain_mail(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-hello", agent) as boss:
            task = await submit(boss, "r-hello", "hello")
            found = await reached(boss, task, "completed")
            assert found["status_message"]["parts"][0]["text"] == "hello yourself"
            assert (await notice(boss))["task_state"] == "completed"
            sent = await boss.mailbox_send(to="r-hello", text="hello", wait_for="replied", wait_s=20)
            assert sent["receipts"][0]["reached"] == "replied"
            assert (await notice(boss))["parts"] == [{"text": "hello yourself"}]

    asyncio.run(test())


def test_what_is_sent_to_an_agent_that_is_down_arrives_when_it_is_up(server: Server) -> None:
    async def test() -> None:
        async with elsewhere(up=False) as agent, asking(server, "r-down", agent) as boss:
            task = await submit(boss, "r-down", "weigh")
            while "r-down" not in [one["name"] for one in await offline(boss)]:
                await boss.task_get(task=task, after_version=99, wait_s=0.1)
            await agent.up()
            found = await reached(boss, task, "completed")
            assert found["status_message"]["parts"][0]["text"] == "weighed"
            assert "r-down" not in [one["name"] for one in await offline(boss)]

    asyncio.run(test())


def test_an_answer_that_is_lost_makes_no_second_task(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-lost", agent) as boss:
            agent.lose_answers = 1
            found = await reached(boss, await submit(boss, "r-lost", "weigh"), "completed")
            assert found["status_message"]["parts"][0]["text"] == "weighed"
            assert len(await tasks_of(agent)) == 1

    asyncio.run(test())


def test_a_stream_that_breaks_is_taken_up_again(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-break", agent) as boss:
            task = await submit(boss, "r-break", "stay")
            await agent.agent.begun.wait()
            await agent.down()
            await agent.up()
            agent.agent.go_on.set()
            found = await reached(boss, task, "completed")
            assert found["artifacts"][0]["parts"] == [{"text": "late"}]
            assert len(await tasks_of(agent)) == 1

    asyncio.run(test())


def test_a_broker_that_is_killed_goes_on_with_the_one_task(tmp_path: Path) -> None:
    """Its own leases stand for 30 s after a restart, as everybody's do."""

    async def test(server: Server) -> None:
        async with elsewhere() as agent, asking(server, "r-kill", agent) as boss:
            task = await submit(boss, "r-kill", "stay")
            await agent.agent.begun.wait()
            server.kill()
            await asyncio.to_thread(server.start)
            agent.agent.go_on.set()
            found = await reached(boss, task, "completed")
            assert found["artifacts"][0]["parts"] == [{"text": "late"}]
            assert len(await tasks_of(agent)) == 1
            assert len(agent.agent.contexts) == 1

    with serving(tmp_path / "data", **OWN) as server:
        asyncio.run(test(server))


def test_where_the_broker_must_not_go_nothing_is_sent(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        async with elsewhere() as agent, asking(server, "r-private", agent) as boss:
            found = await reached(boss, await submit(boss, "r-private", "weigh"), "failed")
            words = found["status_message"]["parts"][0]["text"]
            assert "private, loopback or link-local" in words
            assert "card_networks" in words
            sent = await boss.mailbox_send(to="r-private", text="plain", wait_for="acked", wait_s=20)
            assert sent["receipts"][0]["reached"] == "dead"
            letter = (await boss.mailbox_fetch(mailbox="r-private.dead", wait_s=20))["messages"][0]
            assert letter["dead_letter"]["reason"] == "remote-refused"
            assert agent.asked == 0

    with serving(tmp_path / "data") as server:
        asyncio.run(test(server))


def test_a_mailbox_does_not_deliver_to_this_very_broker(server: Server) -> None:
    async def test() -> None:
        async with elsewhere(up=False) as agent:
            agent.card = card(f"{server.url}/a2a/r-loop")
            async with asking(server, "r-loop", agent) as boss:
                found = await reached(boss, await submit(boss, "r-loop", "weigh"), "failed")
                assert "this broker's own" in found["status_message"]["parts"][0]["text"]

    asyncio.run(test())


def test_an_address_that_refuses_ends_the_task(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent:
            agent.card = card(agent.url + "/nowhere")
            async with asking(server, "r-404", agent) as boss:
                found = await reached(boss, await submit(boss, "r-404", "weigh"), "failed")
                said = "The agent did not take the task: it answers 404."
                assert found["status_message"]["parts"] == [{"text": said}]

    asyncio.run(test())


def test_an_agent_that_ends_and_comes_back_at_once_is_worked_for_again(server: Server) -> None:
    async def test() -> None:
        async with elsewhere() as agent, asking(server, "r-again", agent) as boss:
            await reached(boss, await submit(boss, "r-again", "weigh"), "completed")
            await boss.agent_unregister(name="r-again", delete_mail=True)
            await boss.call("agent_register", {"name": "r-again", "card": agent.card})
            await reached(boss, await submit(boss, "r-again", "weigh"), "completed")

    asyncio.run(test())


def test_another_card_is_another_address_and_none_ends_the_work(server: Server) -> None:
    async def test() -> None:
        async with elsewhere(up=False) as gone, elsewhere() as agent, asking(server, "r-move", gone) as boss:
            task = await submit(boss, "r-move", "weigh")
            await boss.call("agent_register", {"name": "r-move", "card": agent.card})
            await reached(boss, task, "completed")
            await boss.agent_unregister(name="r-move")
            plain = {"name": "Scales", "description": "Weighs cats.", "skills": []}
            await boss.call("agent_register", {"name": "r-move", "card": plain})
            left: list[Any] = []
            while not left:  # in the moment of the change one more may be delivered
                await submit(boss, "r-move", "weigh")
                left = (await boss.mailbox_fetch(mailbox="r-move", wait_s=0.3))["messages"]

    asyncio.run(test())
