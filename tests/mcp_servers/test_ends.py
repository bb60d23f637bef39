"""Programs that are killed, brokers that are killed: nothing runs twice unasked, nothing is left over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.serving import Server, serving
from tests.client.test_work import heard, reached, submit
from tests.mcp_servers.desk import ALLOWED, alive, asking, begun, calls, kill, look_again, status, stdio
from tests.serve.process import eventually


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Server]:
    """A broker with the agent ``hotel-desk``."""

    async def register() -> None:
        async with asking(running) as boss:
            await boss.call("agent_register", {"mcp_server": stdio(folder)})

    with serving(tmp_path_factory.mktemp("server") / "data", **ALLOWED) as running:
        asyncio.run(register())
        yield running


def test_a_killed_program_comes_back_and_only_harmless_calls_are_repeated(
    server: Server, folder: Path
) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            once, again = await begun(boss, "paint", "a"), await begun(boss, "repaint", "b")
            (folder / "painted").touch()
            kill(folder)
            found = await reached(boss, once, "failed")
            assert "may have run" in found["status_message"]["parts"][0]["text"]
            found = await reached(boss, again, "completed")
            assert found["artifacts"][0]["parts"][0] == {"text": "painted"}
            (folder / "painted").unlink()
            assert calls(folder).count("paint a began") == 1
            assert calls(folder).count("repaint b began") == 2
            await status(boss, "hotel-desk", "available")
            assert len(alive(folder)) == 1
            for _ in range(2):
                await heard(boss)

    asyncio.run(test())


def test_a_broker_that_is_restarted_goes_on_with_what_may_be_repeated(server: Server, folder: Path) -> None:
    async def before() -> tuple[str, str]:
        async with asking(server) as boss:
            return await begun(boss, "paint", "c"), await begun(boss, "repaint", "d")

    async def after(once: str, again: str) -> None:
        async with asking(server) as boss:
            found = await reached(boss, once, "failed")
            assert "may have run" in found["status_message"]["parts"][0]["text"]
            await reached(boss, again, "completed")
            assert calls(folder).count("paint c began") == 1
            assert calls(folder).count("repaint d began") == 2
            for _ in range(2):
                await heard(boss)

    tasks = asyncio.run(before())
    (folder / "painted").touch()
    server.stop()
    assert not alive(folder)
    server.start()
    asyncio.run(after(*tasks))


def test_a_broker_that_is_killed_leaves_no_program_and_works_again(server: Server, folder: Path) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            task = await submit(boss, "hotel-desk", "Rome", metadata={"mq9.skill": "weather"})
            await reached(boss, task, "completed")
            await heard(boss)
            assert len(alive(folder)) == 1

    server.kill()
    eventually(lambda: not alive(folder), "the program is left over")
    server.start()
    asyncio.run(test())


def test_the_program_ends_with_its_agent(server: Server, folder: Path) -> None:
    async def test() -> None:
        async with asking(server) as boss:
            await status(boss, "hotel-desk", "available")
            await boss.agent_unregister(name="hotel-desk")
            async with asyncio.timeout(20):
                while alive(folder):
                    await look_again(boss)

    asyncio.run(test())
