"""Workers that the server runs for agents: each is ended whole, whatever moment the server stops in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mq9_mcp.hosted.hosting import Hosting
from mq9_mcp.hosted.inside import Inside
from tests.engine.cards import short
from tests.support import Desk, run


class Slow:
    """A worker whose end takes a moment."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.asked = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = False

    @property
    def is_running(self) -> bool:
        """Until it was stopped."""
        return not self.ended

    async def start(self) -> None:
        """Work."""
        self.started.set()

    def goes_on(self, card: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Whatever the card says."""
        return True

    async def stop(self) -> None:
        """Give back what is held."""
        self.asked.set()
        await self.may_end.wait()
        self.ended = True


class SlowKind:
    """One worker for every card."""

    def __init__(self) -> None:
        self.worker = Slow()

    def host(self, inside: Inside, name: str, card: Mapping[str, Any]) -> Slow:  # noqa: ARG002
        """That one."""
        return self.worker

    async def close(self) -> None:
        """Nothing is shared."""


def test_a_worker_that_is_ending_when_the_server_stops_is_waited_for(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        kind = SlowKind()
        worker, hosting = kind.worker, Hosting(desk.broker, [kind])
        await desk.call("agent_register", name="robot", card=short("robot"))
        await worker.started.wait()
        await desk.call("agent_unregister", name="robot")
        await worker.asked.wait()
        assert hosting.working, "it may hold something still"
        stopping = asyncio.create_task(hosting.stop())
        worker.may_end.set()
        await stopping
        assert worker.ended
        assert not hosting.working

    run(body, tmp_path)


def test_nothing_is_begun_once_the_server_stops(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        kind = SlowKind()
        await desk.call("agent_register", name="robot", card=short("robot"))
        hosting = Hosting(desk.broker, [kind])
        hosting.begin_no_more()
        await desk.call("agent_register", name="other", card=short("other"))
        await hosting.stop()
        assert not kind.worker.started.is_set()

    run(body, tmp_path)
