"""A fetch that waits: woken at once, telling that it waits, and taking nothing for nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_hung_up import SlowDisk
from tests.mcp_door.host import BOTH, ERAS, host, post, reply_of, request
from tests.rest.site import Site, run_site, until

AS_ALICE = {"mq9-agent": "alice"}


@pytest.fixture(name="disk")
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    """A disk on which a commit takes until the test lets it go on."""
    monkeypatch.setattr("mq9_mcp.engine.embedded.journal.INLINE_S", -1)
    return SlowDisk()


async def attempt_of_next(site: Site) -> int:
    [message] = (await site.call("mailbox_fetch", mailbox="box", max=1))["messages"]
    attempt: int = message["attempt"]
    return attempt


async def session(site: Site) -> dict[str, str]:
    """The headers of a session of the handshake era."""
    opening: dict[str, Any] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "old", "version": "1"},
    }
    headers, content = request("initialize", modern=False, **opening)
    begun = await site.client.post("/mcp", headers=headers, content=content)
    known = {**BOTH, **AS_ALICE, "mcp-session-id": begun.headers["mcp-session-id"]}
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await site.client.post("/mcp", headers=known, json=told)
    return known


async def raw_fetch(site: Site, era: str, streams: bool, **arguments: Any) -> bytes:
    """A fetch as bytes; ``streams``: the caller would read events."""
    call: dict[str, Any] = {"name": "mailbox_fetch", "arguments": {"mailbox": "box", **arguments}}
    if era == "legacy":
        known = await session(site)
        _, content = request("tools/call", modern=False, **call)
    else:
        known, content = request("tools/call", **call)
    known = {**known, **AS_ALICE, "accept": BOTH["accept"] if streams else "application/json"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in known.items())
    head = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}content-length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.mark.parametrize("era", ERAS)
def test_a_waiting_fetch_returns_the_message_that_arrives(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as client:
            waiting = asyncio.create_task(reply_of(client, "mailbox_fetch", mailbox="box", wait_s=50))
            await until(lambda: site.desk.broker.bell.waits)
            await site.call("mailbox_send", to="box", text="wake up")
            [message] = (await waiting)["messages"]
            assert message["parts"] == [{"text": "wake up"}]
            assert (await reply_of(client, "mailbox_fetch", mailbox="box"))["messages"] == []

    run_site(body, tmp_path, "box")


@pytest.mark.parametrize("era", ERAS)
def test_a_waiting_fetch_tells_that_it_waits(
    tmp_path: Path, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(site: Site) -> None:
        await site.call("mailbox_fetch", agent="warm")
        await post(site, "tools/list")
        monkeypatch.setattr("mq9_mcp.doors.mcp_tools.desk.PROGRESS_S", 0.01)
        told: list[tuple[float, float | None, str | None]] = []
        heard = asyncio.Event()

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, total, message))
            heard.set()

        async with host(site, era) as client:
            call = client.call_tool("mailbox_fetch", {"mailbox": "box", "wait_s": 50}, progress_callback=hear)
            waiting = asyncio.create_task(call)
            await heard.wait()
            await site.call("mailbox_send", to="box", text="x")
            result: Any = (await waiting).structured_content
            assert len(result["messages"]) == 1
            assert told[0][1:] == (50, "waiting")
            assert [one[0] for one in told] == sorted(one[0] for one in told)

    run_site(body, tmp_path, "box")


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("era", ERAS)
def test_a_waiting_fetch_whose_caller_hung_up_takes_nothing(tmp_path: Path, era: str, streams: bool) -> None:
    async def body(site: Site) -> None:
        _, writer = await site.connect()
        writer.write(await raw_fetch(site, era, streams, wait_s=50))
        await until(lambda: site.desk.broker.bell.waits)
        writer.transport.abort()
        await until(lambda: not site.desk.broker.bell.waits)
        await site.call("mailbox_send", to="box", text="for the next one")
        assert await attempt_of_next(site) == 1

    run_site(body, tmp_path, "box")


@pytest.mark.parametrize("wait_s", [0, 50])
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("era", ERAS)
def test_a_lease_on_its_way_to_nobody_is_given_back(
    tmp_path: Path, disk: SlowDisk, era: str, streams: bool, wait_s: float
) -> None:
    """The caller hung up while its lease was being written; no attempt is counted."""

    async def body(site: Site) -> None:
        await site.call("mailbox_send", to="box", text="x")
        await site.call("mailbox_fetch", mailbox="box", tags_any=["none"])
        fetch = await raw_fetch(site, era, streams, wait_s=wait_s)
        before = site.connections
        _, writer = await site.connect()
        disk.gate.clear()
        writer.write(fetch)
        [group] = site.desk.engine.state.groups.values()
        await until(lambda: group.leased)
        writer.transport.abort()
        await until(lambda: site.connections == before)
        disk.gate.set()
        await until(lambda: not group.leased)
        assert await attempt_of_next(site) == 1

    run_site(body, tmp_path, "box", disk=disk)


@pytest.mark.parametrize("wait_s", [0, 50])
@pytest.mark.parametrize("era", ERAS)
def test_leases_of_a_reply_that_could_not_be_written_are_given_back(
    tmp_path: Path, era: str, wait_s: float
) -> None:
    """The reply is larger than what the system buffers, and its reader goes away without reading."""

    async def body(site: Site) -> None:
        for _ in range(2):
            await site.call("mailbox_send", to="box", text="x" * 1_000_000)
        fetch = await raw_fetch(site, era, True, wait_s=wait_s)
        caller = site.deaf_connection()
        caller.sendall(fetch)
        await until(lambda: site.desk.engine.state.groups)
        [group] = site.desk.engine.state.groups.values()
        await until(lambda: group.leased == 2)
        caller.close()
        await until(lambda: not group.leased)
        assert await attempt_of_next(site) == 1

    run_site(body, tmp_path, "box")


@pytest.mark.parametrize("era", ERAS)
def test_a_cancelled_fetch_takes_nothing(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as client:
            await client.list_tools()
            waiting = asyncio.create_task(reply_of(client, "mailbox_fetch", mailbox="box", wait_s=50))
            await until(lambda: site.desk.broker.bell.waits)
            waiting.cancel()
            await until(lambda: not site.desk.broker.bell.waits)
            await site.call("mailbox_send", to="box", text="for the next one")
            assert await attempt_of_next(site) == 1
            assert (await reply_of(client, "mailbox_fetch", mailbox="box"))["messages"] == []

    run_site(body, tmp_path, "box")
