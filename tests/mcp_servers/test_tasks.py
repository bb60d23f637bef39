"""Tools of a real MCP server as the skills of an agent: tasks become calls, results become artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.serving import Server, serving
from tests.client.test_work import heard, reached, submit
from tests.mcp_servers.desk import (
    ALLOWED,
    alive,
    asking,
    begun,
    calls,
    look_again,
    status,
    stdio,
    submit_data,
    when,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Server]:
    """A broker with the agent ``hotel-desk``; the program ends with it."""
    with serving(tmp_path_factory.mktemp("server") / "data", **ALLOWED) as running:
        asyncio.run(register(running, folder))
        yield running
    assert not alive(folder)


async def register(running: Server, folder: Path) -> None:
    async with asking(running) as boss:
        reply = await boss.call("agent_register", {"mcp_server": stdio(folder)})
        card = reply["agent"]["card"]
        assert (reply["created"], reply["agent"]["name"]) == (True, "hotel-desk")
        assert (card["name"], card["version"]) == ("Hotel Desk", "2.1")
        assert card["description"] == "Books hotels and tells the weather."
        [extension] = card["capabilities"]["extensions"]
        assert "server" not in extension["params"]
        assert extension["params"]["schemas"]["weather"]["required"] == ["city"]
        skills = {one["id"]: one for one in card["skills"]}
        assert skills["weather"]["name"] == "Weather report"
        assert skills["book"]["description"] == "Book a hotel room in a city for some nights."
        assert str(folder) not in str(await boss.agent_discover())
        assert len(alive(folder)) == 1


def one(artifacts: Any) -> Any:
    [artifact] = artifacts
    assert artifact["artifact_id"] == "result"
    return artifact


def test_a_data_part_calls_a_tool_and_the_result_is_an_artifact(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            call = {"tool": "book", "arguments": {"city": "Rome", "nights": 2}}
            found = await reached(boss, await submit_data(boss, "hotel-desk", call), "completed")
            artifact = one(found["artifacts"])
            assert artifact["name"] == "book"
            assert artifact["parts"][-1] == {"data": {"city": "Rome", "nights": 2, "price": 161.0}}
            assert (await heard(boss))["task_state"] == "completed"

    asyncio.run(test())


def test_metadata_name_the_tool_and_text_is_its_one_string(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            task = await submit(boss, "hotel-desk", "Oslo", metadata={"mq9.skill": "weather"})
            found = await reached(boss, task, "completed")
            parts = one(found["artifacts"])["parts"]
            assert parts[0] == {"text": "sunny in Oslo, 21 C"}
            await heard(boss)

    asyncio.run(test())


def test_the_skill_that_an_intent_found_is_the_tool(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            intent = {"text": "tell me the weather in a city"}
            reply = await boss.call("mailbox_send", {"intent": intent, "text": "Bergen", "task": True})
            receipt = reply["receipts"][0]
            assert receipt["routed"]["skill"] == "weather"
            found = await reached(boss, receipt["task"], "completed")
            assert one(found["artifacts"])["parts"][0] == {"text": "sunny in Bergen, 21 C"}
            await heard(boss)

    asyncio.run(test())


def test_bad_arguments_become_a_question_with_the_schema(server: Server, folder: Path) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            call = {"tool": "book", "arguments": {"city": "Turin", "nights": "many"}}
            task = await submit_data(boss, "hotel-desk", call)
            asked = await heard(boss)
            assert asked["task_state"] == "input-required"
            assert "nights: 'many' is not of type 'integer'" in asked["parts"][0]["text"]
            assert asked["parts"][1]["data"]["inputSchema"]["required"] == ["city", "nights"]
            assert not [line for line in calls(folder) if "Turin" in line]
            await boss.mailbox_send(in_reply_to=asked["id"], parts=[{"data": {"nights": 3.5}}])
            asked = await heard(boss)
            assert "3.5 is not of type 'integer'" in asked["parts"][0]["text"]
            await boss.mailbox_send(in_reply_to=asked["id"], text='{"nights": 3}')
            found = await reached(boss, task, "completed")
            assert one(found["artifacts"])["parts"][-1]["data"]["nights"] == 3
            assert [line for line in calls(folder) if "Turin" in line] == ["book Turin 3"]
            await heard(boss)

    asyncio.run(test())


def test_without_a_tool_it_asks_which(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            task = await submit(boss, "hotel-desk", "Lyon", metadata={"mq9.skill": "none such"})
            asked = await heard(boss)
            assert asked["parts"][0]["text"].startswith("Which tool is meant? One of weather, book, ")
            assert {one["name"] for one in asked["parts"][1]["data"]["tools"]} > {"weather", "book"}
            await boss.mailbox_send(in_reply_to=asked["id"], text="Weather report")
            found = await reached(boss, task, "completed")
            assert one(found["artifacts"])["parts"][0] == {"text": "sunny in Lyon, 21 C"}
            await heard(boss)

    asyncio.run(test())


def test_pictures_come_as_they_are_and_an_error_fails_the_task(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            task = await submit_data(boss, "hotel-desk", {"tool": "picture"})
            parts = one((await reached(boss, task, "completed"))["artifacts"])["parts"]
            assert parts == [{"text": "the front"}, {"raw": "iVBORw0KGgo=", "mediaType": "image/png"}]
            await heard(boss)
            task = await submit(boss, "hotel-desk", "7", metadata={"mq9.skill": "cancel_booking"})
            found = await reached(boss, task, "failed")
            assert "there is no booking 7" in found["status_message"]["parts"][0]["text"]
            assert found["artifacts"] == []
            await heard(boss)

    asyncio.run(test())


def test_progress_is_told_and_cancel_reaches_the_tool(server: Server, folder: Path) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            task = await begun(boss, "paint", "north")
            found = (await boss.task_get(task=task))["task"]
            assert found["progress"] == {"done": 1, "total": 4, "note": "scraped"}
            await boss.task_cancel(task=task)
            found = await reached(boss, task, "canceled")
            assert "may have run" in found["status_message"]["parts"][0]["text"]
            await when(boss, folder / "calls", "paint north stopped")
            await heard(boss)

    asyncio.run(test())


def test_mail_is_answered_with_the_result(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            named = {"metadata": {"mq9.skill": "weather"}}
            await boss.call("mailbox_send", {"to": "hotel-desk", "text": "Nice", **named})
            assert (await heard(boss))["parts"][0] == {"text": "sunny in Nice, 21 C"}
            await boss.call("mailbox_send", {"to": "hotel-desk", "parts": [{"data": {"city": 7}}], **named})
            reply = await heard(boss)
            assert "city: 7 is not of type 'string'" in reply["parts"][0]["text"]
            await boss.mailbox_send(in_reply_to=reply["id"], text="Nice", wait_for="acked", wait_s=20)
            [letter] = (await boss.mailbox_fetch(mailbox="hotel-desk.dead"))["messages"]
            assert letter["dead_letter"]["reason"] == "no-task"

    asyncio.run(test())


def test_a_changed_list_of_tools_renews_the_card_and_not_the_program(server: Server, folder: Path) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            pids = alive(folder)
            task = await submit(boss, "hotel-desk", "lucia", metadata={"mq9.skill": "hire"})
            await reached(boss, task, "completed")
            await heard(boss)
            async with asyncio.timeout(20):
                while not (await boss.agent_discover(skill="ask_lucia"))["agents"]:
                    await look_again(boss)
            found = await status(boss, "hotel-desk", "available")
            assert found["version"] == 2
            task = await submit(boss, "hotel-desk", "?", metadata={"mq9.skill": "ask_lucia"})
            parts = one((await reached(boss, task, "completed"))["artifacts"])["parts"]
            assert parts[0] == {"text": "lucia at your service"}
            assert alive(folder) == pids
            await heard(boss)

    asyncio.run(test())


def test_the_program_gets_nothing_of_the_brokers_environment(server: Server, folder: Path) -> None:
    del server
    names = set((folder / "environment").read_text().splitlines())
    assert "PATH" in names
    assert names <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE", "PWD", "SHLVL", "_"}
