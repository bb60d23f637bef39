"""Promises of sections 2 and 3 in their shortest form; each room has a file of its own beside this one."""

from __future__ import annotations

from pathlib import Path

from tests.support import Desk, run, texts


def test_a_message_is_fetched_and_acked_once(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        [message] = await desk.fetch()
        assert texts([message]) == ["one"]
        assert await desk.fetch() == []
        assert (await desk.settle(message))["ok"]
        await desk.restart()
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_a_lease_runs_out_and_the_message_returns(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="one")
        [first] = await desk.fetch(lease_s=10)
        await desk.pass_time(9.999)
        assert await desk.fetch() == []
        await desk.pass_time(0.001)
        [second] = await desk.fetch()
        assert (first["attempt"], second["attempt"]) == (1, 2)
        assert second["fence"] > first["fence"]

    run(body, tmp_path, "box")
