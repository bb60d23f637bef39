"""The edges of what is named in a registration, and of what it starts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.agent_commands import McpServer
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.peers.mcp_servers import session
from mq9_mcp.peers.mcp_servers.allowed import Commands
from mq9_mcp.peers.mcp_servers.servers import Servers
from mq9_mcp.peers.mcp_servers.session import Lost
from mq9_mcp.peers.reach import Reach
from tests.support import Desk, run

NOT_STARTED = "mcp_server: this broker starts and calls none"  # it came as far as that
CHARACTERS, ARGUMENTS = limit("mcp_argument_characters_max"), limit("mcp_arguments_max")


@pytest.mark.parametrize(
    ("most", "over"),
    [
        ({"command": "x" * CHARACTERS}, {"command": "x" * (CHARACTERS + 1)}),
        ({"command": "x", "args": ["a" * CHARACTERS]}, {"command": "x", "args": ["a" * (CHARACTERS + 1)]}),
        ({"command": "x", "args": ["a"] * ARGUMENTS}, {"command": "x", "args": ["a"] * (ARGUMENTS + 1)}),
    ],
)
def test_a_command_line_has_its_bounds(tmp_path: Path, most: Any, over: Any) -> None:
    async def body(desk: Desk) -> None:
        error = await desk.refused("INVALID_ARGUMENT", "agent_register", name="desk", mcp_server=most)
        assert error.message == NOT_STARTED
        error = await desk.refused("INVALID_ARGUMENT", "agent_register", name="desk", mcp_server=over)
        assert error.message.startswith("mcp_server.")
        assert error.message != NOT_STARTED

    run(body, tmp_path)


def test_a_program_that_tells_no_tools_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "START_S", 0.2)

    async def test() -> None:
        servers = Servers(Commands(["sleep 60"]), Reach())
        with pytest.raises(Refused, match="told no tools within mcp_start_s"):
            await servers.describe(McpServer(command="sleep", args=["60"]))
        await servers.close()

    asyncio.run(test())


class Counted(Servers):
    """Servers that are found only once they may be."""

    def __init__(self) -> None:
        super().__init__(Commands(["*"]), Reach())
        self.begun = 0
        self.moved = asyncio.Event()
        self.may_end = asyncio.Event()

    async def _open(self, server: McpServer) -> Any:
        self.begun += 1
        self.moved.set()
        await self.may_end.wait()
        raise Lost(f"no {server.command}", sent=False)


def test_so_many_are_started_at_once_and_others_wait() -> None:
    most = limit("mcp_starts_max")

    async def test() -> None:
        servers = Counted()
        starts = [asyncio.create_task(servers.open(McpServer(command=f"x{n}"))) for n in range(most + 1)]
        while servers.begun < most:
            servers.moved.clear()
            await servers.moved.wait()
        await asyncio.wait(starts, timeout=0)  # a turn for the one that waits
        assert servers.begun == most
        servers.may_end.set()
        ends = await asyncio.gather(*starts, return_exceptions=True)
        assert servers.begun == most + 1
        assert all(isinstance(end, Lost) for end in ends)

    asyncio.run(asyncio.wait_for(test(), 30))
