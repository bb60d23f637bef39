"""Answers that are lost between the bridge and a real broker, and a broker that has no time."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from tests.bridge.host import NEW, hosting
from tests.client.between import CUT, LOSE, PASS, Between, answer, between, refusal
from tests.client.serving import serving
from tests.serve.process import ENVIRONMENT


async def reply(client: Client, tool: str, **arguments: Any) -> Any:
    """The reply of a tool that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


def host(one: Between) -> Client:
    """A host on the official SDK whose bridge calls through ``one``."""
    words = ["-m", "mq9_mcp.bridge", "--url", one.url, "--agent", "anna"]
    return Client(StdioServerParameters(command=sys.executable, args=words, env=ENVIRONMENT), mode=NEW)


def test_a_fetch_whose_answer_was_lost_loses_nothing(tmp_path: Path) -> None:
    async def body(url: str) -> None:
        async with between(url) as one, host(one) as anna:
            await reply(anna, "mailbox_fetch")
            for text in ("1", "2"):
                await reply(anna, "mailbox_send", to="anna", text=text)
            one.plan = [LOSE]
            fetch = {"max": 1, "lease_s": 1}
            found = [(await reply(anna, "mailbox_fetch", **fetch, wait_s=0))["messages"][0]]
            assert found[0]["parts"][0]["text"] == "2", "the first one is leased to nobody"
            found += (await reply(anna, "mailbox_fetch", **fetch, wait_s=20))["messages"]
            assert [(one["parts"][0]["text"], one["attempt"]) for one in found] == [("2", 1), ("1", 2)]
            one.plan = [LOSE, CUT]
            settled = await reply(anna, "mailbox_ack", items=[{"lease": one["lease"]} for one in found])
            assert [result["ok"] for result in settled["results"]] == [True, True]
            assert (await reply(anna, "mailbox_query", state="waiting"))["messages"] == []

    with serving(tmp_path / "data") as server:
        asyncio.run(body(server.url))


def test_a_send_is_stored_once_however_often_its_answer_is_lost(tmp_path: Path) -> None:
    async def body(url: str) -> None:
        async with between(url) as one, host(one) as anna:
            await reply(anna, "mailbox_fetch")
            one.plan = [LOSE, CUT, LOSE, refusal(503, "SHUTTING_DOWN"), refusal(429, "RATE_LIMITED"), PASS]
            [receipt] = (await reply(anna, "mailbox_send", to="anna", text="once"))["receipts"]
            assert receipt["duplicate"], "the first answer was lost, and says the same"
            [message] = (await reply(anna, "mailbox_query"))["messages"]
            assert message["id"] == receipt["id"]
            assert one.plan == []

    with serving(tmp_path / "data") as server:
        asyncio.run(body(server.url))


def test_a_further_round_of_a_call_has_the_arguments_of_the_one_before() -> None:
    def result(**fields: Any) -> bytes:
        body = {"jsonrpc": "2.0", "id": 0, "result": {"resultType": "complete", **fields}}
        return answer(200, json.dumps(body).encode(), "content-type: application/json")

    def talk(url: str) -> None:
        with hosting("--url", url) as one:
            send = {"name": "mailbox_send", "arguments": {"to": "anna", "text": "x"}}
            asked = one.result(one.ask("tools/call", **send))
            one.result(one.ask("tools/call", **send, requestState=asked["requestState"], inputResponses={}))
            one.result(one.ask("tools/call", **send, requestState="another"))

    async def body() -> None:
        async with between("http://127.0.0.1:1", result(requestState="s"), result(), result()) as one:
            await asyncio.to_thread(talk, one.url)
            first, second, third = (asked["params"]["arguments"] for asked in one.bodies())  # type: ignore[index]
            assert first == second, "the server sealed them in the state"
            assert first["dedup_key"] != third["dedup_key"]

    asyncio.run(body())
