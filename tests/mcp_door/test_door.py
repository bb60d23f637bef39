"""The way to the tools: both eras at one path, guarded like every door, and who calls."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from mcp import Client
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from mq9_mcp.doors.mcp_tools.names import agent_of_client
from tests.mcp_door.host import BOTH, ERAS, MODERN, address, host, post, reply_of, request
from tests.rest.site import Site, error_of, run_site, until
from tests.serve.process import ENVIRONMENT

MIB = 1024 * 1024


@pytest.mark.parametrize("era", ERAS)
def test_a_host_of_each_era_sends_fetches_and_acks(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as alice, host(site, era, "bob") as bob:
            sent = await reply_of(alice, "mailbox_send", to="bob", text="hello")
            [receipt] = sent["receipts"]
            [message] = (await reply_of(bob, "mailbox_fetch"))["messages"]
            assert (message["id"], message["from"], message["verified"]) == (receipt["id"], "alice", False)
            answer = {"in_reply_to": message["id"], "text": "hello yourself"}
            done = await reply_of(bob, "mailbox_ack", items=[{"lease": message["lease"]}], send=answer)
            assert done["results"][0]["ok"]
            [answer] = (await reply_of(alice, "mailbox_fetch"))["messages"]
            assert (answer["from"], answer["in_reply_to"]) == ("bob", receipt["id"])

    run_site(body, tmp_path, "bob")


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
def test_every_handshake_version_is_spoken(tmp_path: Path, version: str) -> None:
    async def body(site: Site) -> None:
        opening = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "old", "version": "1"},
        }
        headers, content = request("initialize", modern=False, **opening)
        begun = await site.client.post("/mcp", headers=headers, content=content)
        result = json.loads(begun.text.partition("data: ")[2])["result"]
        assert result["protocolVersion"] == version
        session = {"mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": version}
        await _notify(site, session)
        headers, content = request("tools/call", modern=False, name="mailbox_send", arguments=_NOTE)
        answer = await site.client.post("/mcp", headers=headers | session, content=content)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["result"]["content"][0]["text"].startswith("message 1 in old: stored")

    run_site(body, tmp_path)


_NOTE = {"to": "old", "text": "a note to oneself"}


async def _notify(site: Site, session: dict[str, str]) -> None:
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answer = await site.client.post("/mcp", headers=BOTH | session, json=told)
    assert answer.status_code == 202


def test_the_newest_version_is_found_without_being_told(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with Client(address(site)) as client:
            assert client.protocol_version == MODERN

    run_site(body, tmp_path)


# --- who calls ---


@pytest.mark.parametrize("era", ERAS)
def test_the_header_names_the_agent(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era, agent="carol", name="Some Host") as client:
            assert client.instructions is not None
            assert client.instructions.startswith("You are the agent carol: your mailbox is carol")
            await reply_of(client, "mailbox_send", to="carol", text="x")
            [message] = (await reply_of(client, "mailbox_fetch"))["messages"]
            assert message["from"] == "carol"

    run_site(body, tmp_path)


@pytest.mark.parametrize("era", ERAS)
def test_without_the_header_the_client_is_who_its_name_says_and_is_told(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era, agent=None, name="Some Host 2") as client:
            assert client.instructions is not None
            assert client.instructions.startswith("You are the agent some-host-2:")
            await reply_of(client, "mailbox_send", to="some-host-2", text="x")
            [message] = (await reply_of(client, "mailbox_fetch"))["messages"]
            assert message["mailbox"] == message["from"] == "some-host-2"

    run_site(body, tmp_path)


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("Claude Code", "claude-code"),
        ("@scope/tool_1", "scope-tool-1"),
        ("mq9.broker", "mq9-broker"),
        ("Ünïcode", "n-code"),
        ("a" * 200, "a" * 96),
        ("?!", None),
        ("", None),
        (7, None),
    ],
)
def test_a_client_name_becomes_an_address(name: object, agent: str | None) -> None:
    assert agent_of_client(name) == agent


def test_who_has_no_name_has_no_mailbox_and_is_told(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        result = (await post(site, "tools/call", name="mailbox_fetch", arguments={})).json()["result"]
        assert result["isError"]
        assert "INVALID_ARGUMENT: mailbox" in result["content"][0]["text"]

    run_site(body, tmp_path)


def test_any_credential_is_refused_while_there_are_no_keys(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        answer = await post(site, "tools/list", {"authorization": "Bearer x"})
        error_of(answer, 401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"] == "Bearer"

    run_site(body, tmp_path)


@pytest.mark.parametrize(
    "path", ["oauth-protected-resource", "oauth-protected-resource/mcp", "openid-configuration"]
)
def test_no_client_is_led_to_a_login_that_is_not_there(tmp_path: Path, path: str) -> None:
    async def body(site: Site) -> None:
        error_of(await site.client.get(f"/.well-known/{path}"), 404)

    run_site(body, tmp_path)


# --- what is let in ---


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("host", "evil.example", 403),
        ("origin", "https://evil.example", 403),
        ("content-type", "text/plain", 400),
        ("content-type", "application/x+json", 400),
        ("mq9-agent", "No Address", 400),
    ],
)
def test_what_a_strange_page_could_send_is_refused(
    tmp_path: Path, name: str, value: str, status: int
) -> None:
    async def body(site: Site) -> None:
        answer = await post(site, "tools/list", {name: value})
        error_of(answer, status, "POLICY_VIOLATION" if status == 403 else "INVALID_ARGUMENT")

    run_site(body, tmp_path)


def test_white_space_behind_a_header_is_not_part_of_it(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        headers, content = request("tools/list")
        lines = [f"{name}: {value} \t" for name, value in headers.items()]
        head = "\r\n".join(
            ["POST /mcp HTTP/1.1", "host: 127.0.0.1", *lines, f"content-length: {len(content)}", "", ""]
        )
        reader, writer = await site.connect()
        writer.write(head.encode() + content)
        assert b" 200 " in await reader.readline()
        writer.close()

    run_site(body, tmp_path)


def test_a_request_may_be_as_large_as_at_every_door(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        many = [{"to": "alice", "text": "x" * 900_000} for _ in range(10)]
        answer = await post(
            site, "tools/call", {"mq9-agent": "alice"}, name="mailbox_send", arguments={"messages": many}
        )
        assert len(answer.json()["result"]["structuredContent"]["receipts"]) == 10
        headers, content = request("tools/list", filler="x" * 17 * MIB)
        error_of(await site.client.post("/mcp", headers=headers, content=content), 413, "BATCH_TOO_LARGE")

    run_site(body, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b'{"jsonrpc":"2.0","id":1}', b"\xff", b"[" * 5000]
)
@pytest.mark.parametrize("version", [MODERN, "2025-11-25", "1999-01-01"])
def test_what_is_no_request_is_refused(tmp_path: Path, content: bytes, version: str) -> None:
    async def body(site: Site) -> None:
        headers = {**BOTH, "mcp-protocol-version": version, "mcp-method": "tools/list"}
        answer = await site.client.post("/mcp", headers=headers, content=content)
        assert 400 <= answer.status_code < 500, answer.text

    run_site(body, tmp_path)


# --- one process ---


def test_nobody_pays_for_the_sdk_before_the_first_call() -> None:
    code = "import sys, mq9_mcp.cli, mq9_mcp.serve.server\n"
    code += "print('mcp' in sys.modules, 'pydantic' in sys.modules)"
    words = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, check=True)
    assert words.stdout.split() == [b"False", b"False"]


@pytest.mark.parametrize("era", ERAS)
def test_a_stop_answers_who_waits(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as client:
            await client.list_tools()
            waiting = asyncio.create_task(reply_of(client, "mailbox_fetch", wait_s=50))
            await until(lambda: site.desk.broker.bell.waits)
            await site.desk.broker.close()
            assert (await waiting)["messages"] == []

    run_site(body, tmp_path)


def test_a_broker_that_stops_takes_no_calls(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await post(site, "tools/list")
        await site.desk.broker.close()
        error_of(await post(site, "tools/list"), 503, "SHUTTING_DOWN")

    run_site(body, tmp_path)


def test_calls_are_counted_and_let_in_as_at_every_door(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await post(site, "tools/call", {"mq9-agent": "alice"}, name="mailbox_fetch", arguments={})
        await post(site, "tools/call", {"mq9-agent": "alice"}, name="mailbox_fetch", arguments={"max": 0})
        metrics: httpx.Response = await site.client.get("/metrics")
        assert 'mq9_commands_total{command="mailbox_fetch",outcome="OK"} 1.0' in metrics.text
        assert 'mq9_commands_total{command="mailbox_fetch",outcome="INVALID_ARGUMENT"} 1.0' in metrics.text

    run_site(body, tmp_path)
