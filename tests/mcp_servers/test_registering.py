"""What may be registered as an MCP server: allowed command lines, addresses within reach, no forgeries."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.client import Mq9Client
from mq9_mcp.domain.errors import Refused
from mq9_mcp.peers.mcp_servers.allowed import Commands
from tests.client.serving import Server, serving
from tests.client.test_work import heard, reached, submit
from tests.mcp_servers.desk import ALLOWED, TOOLBOX, alive, asking, look_again, status

EXTENSION = "urn:mq9:mcp:server:v1"
FORGED = {
    "name": "Innocent",
    "description": "Does nothing.",
    "version": "1",
    "supportedInterfaces": [
        {"url": "https://a.example", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    ],
    "capabilities": {"extensions": [{"uri": EXTENSION, "params": {"server": {"command": "/bin/sh"}}}]},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [],
}
QUITTER = [sys.executable, "-c", "raise SystemExit('no desk today')"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A broker that may call one loopback address."""
    lines = [*ALLOWED["mcp_commands"], f"{sys.executable} -c *", "/nowhere/desk"]
    data = tmp_path_factory.mktemp("server") / "data"
    with serving(data, mcp_commands=lines, card_networks=["127.0.0.1"]) as running:
        yield running


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"command": "/bin/sh", "args": ["-c", "true"]}, "'/bin/sh -c true' is not allowed to run"),
        ({"command": sys.executable, "args": ["other.py"]}, "is not allowed to run"),
        ({"command": "/nowhere/desk"}, "the program cannot be started"),
        ({"command": QUITTER[0], "args": QUITTER[1:]}, "the program ended"),
        ({"url": "http://10.1.2.3/mcp"}, "its address is private"),
        ({"url": "http://127.0.0.1:1/mcp"}, "it cannot be reached"),
        ({"url": "ftp://example.org/mcp"}, "no URL that can be called"),
        ({"url": "http://anna:secret@example.org/mcp"}, "without user name and password"),
        ({}, "neither of command and url"),
        ({"url": "http://example.org", "command": "x"}, "both of command and url"),
        ({"url": "http://example.org", "args": ["x"]}, "mcp_server.args"),
        ({"command": "x", "env": {"TOKEN": "1"}}, "env"),
    ],
)
def test_what_may_not_be_or_is_not_there_is_refused(server: Server, given: Any, words: str) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            with pytest.raises(Refused) as refused:
                await boss.call("agent_register", {"mcp_server": given, "name": "desk"})
            assert refused.value.code == "INVALID_ARGUMENT"
            assert words in refused.value.message
            assert "secret" not in refused.value.message
            assert not (await boss.agent_discover())["agents"]

    asyncio.run(test())


def test_our_own_door_is_no_server_for_us(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            with pytest.raises(Refused, match="this broker's own"):
                await boss.call("agent_register", {"name": "us", "mcp_server": {"url": f"{server.url}/mcp"}})

    asyncio.run(test())


def test_a_card_that_names_a_server_itself_is_refused(server: Server) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            with pytest.raises(Refused, match="is the broker's own") as refused:
                await boss.call("agent_register", {"card": FORGED})
            assert "mcp_server=" in refused.value.hint

    asyncio.run(test())


def test_no_command_is_allowed_unless_it_is_written_down() -> None:
    with pytest.raises(Refused) as refused:
        Commands().check("desk", [])
    assert "mcp_commands" in refused.value.hint
    lines = Commands(["desk --plain", "'/opt/my desk' serve *"])
    lines.check("desk", ["--plain"])
    lines.check("/opt/my desk", ["serve"])
    lines.check("/opt/my desk", ["serve", "--all", "x"])
    for command, args in (("desk", []), ("desk", ["--plain", "x"]), ("/opt/my desk", ["x"]), ("serve", [])):
        with pytest.raises(Refused):
            lines.check(command, args)
    Commands(["*"]).check("anything", ["at", "all"])


class Web:
    """The hotel desk over HTTP, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.start()

    def start(self) -> None:
        """Open it."""
        command = [sys.executable, TOOLBOX, str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def end(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(30)


async def registered(boss: Mq9Client, web: Web) -> Any:
    """The reply, once the server answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await boss.call("agent_register", {"name": "web", "mcp_server": {"url": web.url}})
            except Refused:
                await look_again(boss)


def test_a_server_over_http_is_an_agent_too_and_may_be_down_for_a_while(
    server: Server, tmp_path: Path
) -> None:
    async def test(web: Web) -> None:
        async with asking(server) as boss:
            reply = await registered(boss, web)
            assert reply["agent"]["card"]["name"] == "Hotel Desk"
            assert web.url not in str(reply)
            task = await submit(boss, "web", "Rome", metadata={"mq9.skill": "weather"})
            found = await reached(boss, task, "completed")
            assert found["artifacts"][0]["parts"][0] == {"text": "sunny in Rome, 21 C"}
            await heard(boss)
            web.end()
            task = await submit(boss, "web", "Oslo", metadata={"mq9.skill": "weather"})
            assert "cannot be reached" in (await status(boss, "web", "offline"))["note"]
            web.start()
            await reached(boss, task, "completed")
            await heard(boss)
            await status(boss, "web", "available")
            await boss.agent_unregister(name="web")

    web = Web(tmp_path / "web")
    try:
        asyncio.run(test(web))
    finally:
        web.end()
    assert not alive(web.folder)
