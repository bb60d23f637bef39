"""The bridge and the real daemon, with hosts on the official SDK: joined, started, killed with calls open."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from mq9_mcp.bridge.call import ERROR_KEY
from mq9_mcp.daemon import Running, find, stop
from mq9_mcp.doors.mcp_tools import desk
from tests.bridge.host import NEW, OLD, Host, hosting
from tests.serve.process import ENVIRONMENT

MODES = pytest.mark.parametrize("mode", ["legacy", "auto"])


@pytest.fixture(name="data")
def data_directory(tmp_path: Path) -> Iterator[Path]:
    """A data directory whose daemon is ended after the test."""
    yield tmp_path / "data"
    assert stop(tmp_path / "data")


@asynccontextmanager
async def host(data: Path, agent: str, mode: str) -> AsyncIterator[Client]:
    """A host on the official SDK."""
    words = ["-m", "mq9_mcp.bridge", "--data", str(data), "--agent", agent]
    environment = {**ENVIRONMENT, "MQ9_PORT": "0"}
    async with Client(
        StdioServerParameters(command=sys.executable, args=words, env=environment), mode=mode
    ) as client:
        yield client


async def reply(client: Client, tool: str, **arguments: Any) -> Any:
    """The reply of a tool that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


def killed(data: Path) -> Running:
    """``kill -9`` for the daemon; who it was."""
    running = find(data)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    return running


@MODES
def test_hosts_share_one_daemon_that_the_first_one_starts(data: Path, mode: str) -> None:
    async def body() -> None:
        async with host(data, "anna", mode) as anna, host(data, "bert", mode) as bert:
            await reply(bert, "mailbox_fetch")
            [receipt] = (await reply(anna, "mailbox_send", to="bert", text="hi"))["receipts"]
            [message] = (await reply(bert, "mailbox_fetch"))["messages"]
            assert (message["id"], message["from"]) == (receipt["id"], "anna")
            names = {tool.name for tool in (await anna.list_tools()).tools}
            assert {"mailbox_send", "mailbox_fetch", "mailbox_ack"} <= names
        assert find(data) is not None, "it outlives its hosts"

    asyncio.run(body())


def test_ten_hosts_at_once_end_with_one_daemon(data: Path) -> None:
    async def one(at: int, all_there: asyncio.Barrier) -> int:
        async with host(data, f"h{at}", "legacy" if at % 2 else "auto") as client:
            assert (await reply(client, "mailbox_fetch"))["messages"] == []
            await all_there.wait()
            await reply(client, "mailbox_send", to=f"h{(at + 1) % 10}", text=f"{at}")
            [message] = (await reply(client, "mailbox_fetch", wait_s=30))["messages"]
            return int(message["parts"][0]["text"])

    async def body() -> list[int]:
        all_there = asyncio.Barrier(10)
        return await asyncio.gather(*(one(at, all_there) for at in range(10)))

    assert asyncio.run(body()) == [9, *range(9)]
    assert (data / "daemon.log").read_text().count(" started: ") == 1


@MODES
def test_a_kill_with_a_fetch_a_send_and_an_ack_in_flight_has_one_effect_each(data: Path, mode: str) -> None:
    async def body() -> None:
        async with host(data, "anna", mode) as anna, host(data, "bert", mode) as bert:
            await reply(anna, "mailbox_create", address="shared")
            assert (await reply(bert, "mailbox_fetch"))["messages"] == []
            await reply(anna, "mailbox_send", to="bert", text="first")
            [first] = (await reply(bert, "mailbox_fetch"))["messages"]
            waiting = asyncio.create_task(reply(anna, "mailbox_fetch", wait_s=50))
            sends = [
                asyncio.create_task(reply(bert, "mailbox_send", to="shared", text=f"{at}")) for at in range(5)
            ]
            ack = asyncio.create_task(
                reply(
                    bert,
                    "mailbox_ack",
                    items=[{"lease": first["lease"]}],
                    send={"in_reply_to": first["id"], "text": "answer"},
                )
            )
            await asyncio.sleep(0)
            killed(data)
            receipts = [(await send)["receipts"][0]["id"] for send in sends]
            assert (await ack)["results"][0]["outcome"] == "ack"
            [answer] = (await waiting)["messages"]
            assert answer["parts"][0]["text"] == "answer"
            stored = await reply(anna, "mailbox_query", mailbox="shared", limit=100)
            assert sorted(one["id"] for one in stored["messages"]) == sorted(receipts)
            assert sorted(one["parts"][0]["text"] for one in stored["messages"]) == list("01234")
            settled = await reply(bert, "mailbox_ack", items=[{"lease": first["lease"]}])
            assert settled["results"][0]["ok"], "a repeated ack stands"
            answers = await reply(bert, "mailbox_query", mailbox="anna")
            assert len(answers["messages"]) == 1

    asyncio.run(body())


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_daemon_that_is_stopped_in_order_is_started_for_the_next_call(data: Path, version: str) -> None:
    with hosting("--data", str(data), version=version, MQ9_PORT="0") as one:
        one.open()
        assert stop(data)
        assert find(data) is None, "what only listens starts nothing"
        assert "isError" not in one.result(one.call("mailbox_fetch"))
        assert find(data) is not None


@pytest.mark.parametrize("version", [OLD, NEW])
def test_what_a_host_listens_to_outlives_the_daemon(data: Path, version: str) -> None:
    uri = "mq9://mailboxes/anna"
    with (
        hosting("--data", str(data), "--agent", "anna", version=version, MQ9_PORT="0") as anna,
        hosting("--data", str(data), "--agent", "bert", version=version, MQ9_PORT="0") as bert,
    ):
        anna.open()
        bert.open()
        anna.result(anna.call("mailbox_fetch"))
        if version == OLD:
            anna.result(anna.ask("resources/subscribe", uri=uri))
        else:
            anna.ask("subscriptions/listen", notifications={"resourceSubscriptions": [uri]})
            anna.hear("notifications/subscriptions/acknowledged")
        killed(data)
        bert.result(bert.call("mailbox_fetch"))  # it starts the daemon; anna only listens
        assert anna.hear("notifications/resources/updated")["params"]["uri"] == uri, "nobody knows what was"
        bert.result(bert.call("mailbox_send", to="anna", text="hi"))
        assert anna.hear("notifications/resources/updated")["params"]["uri"] == uri


def test_what_the_door_refuses_unread_is_told_in_its_words(data: Path) -> None:
    with hosting("--data", str(data), MQ9_PORT="0", MQ9_REQUEST_BYTES_MAX="100000") as one:
        result = one.result(one.call("mailbox_send", to="anna", text="x" * 1_000_000))
        assert result["isError"]
        assert "request_bytes_max, 100000" in result["content"][0]["text"]
        assert result["_meta"][ERROR_KEY]["code"] == "BATCH_TOO_LARGE"
        assert ERROR_KEY == desk.ERROR_KEY


def test_a_daemon_that_cannot_start_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with hosting("--data", str(blocked / "data")) as one:
        error = one.answer(one.ask("server/discover"))["error"]
        assert str(blocked) in error["message"]


def test_bad_words_end_it_at_once(tmp_path: Path) -> None:
    for words, said in (
        (("--agent", "No Name"), "accepted"),
        (("--url", "ftp://x"), "http://HOST:PORT"),
        (("--url", "http://x", "--data", str(tmp_path)), "not allowed"),
    ):
        one = Host(*words)
        assert one.end() == 2
        out, err = one.rest()
        assert out == []
        assert any(said in line for line in err)
