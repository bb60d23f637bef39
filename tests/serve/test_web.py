"""``/health``, ``/ready`` and ``/metrics``: what those who run the broker look at, and that it is true."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.types import ASGIApp

from mq9_mcp.broker.tally import Tally
from mq9_mcp.domain.commands import MailboxSend
from mq9_mcp.domain.spread import Spread
from mq9_mcp.doors.guard import Load
from mq9_mcp.doors.web.app import routes
from mq9_mcp.serve import make_app
from mq9_mcp.settings import Settings
from tests.engine.test_faults import WeakDisk
from tests.serve.http import call, get
from tests.serve.process import eventually, serving
from tests.support import Desk, run


def caller(app: ASGIApp) -> httpx.AsyncClient:
    """A client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def web(desk: Desk, free_bytes_min: int = 0) -> httpx.AsyncClient:
    """A client of the desk's own web door."""
    return caller(Starlette(routes=routes(desk.broker, Load(1, 1), free_bytes_min)))


async def numbers(client: httpx.AsyncClient) -> dict[str, float]:
    """Every metric by its name and labels."""
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_open_tasks_and_agents_are_in_the_metrics(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("agent_register", card={"name": "robot", "description": "works"})
        for _ in range(3):
            await desk.send(task=True)
        held = await desk.fetch(max=2)
        update = {"task": held[0]["task"], "lease": held[0]["lease"], "state": "completed"}
        await desk.call("task_update", "bob", **update)
        await desk.call("push_set", task=held[1]["task"], url="https://hooks.example/")
        async with web(desk) as client:
            seen = await numbers(client)
            states = {name: seen[f"mq9_tasks{{state={name}}}"] for name in ("submitted", "working")}
            assert states == {"submitted": 1, "working": 1}
            assert seen["mq9_tasks{state=input-required}"] == 0
            assert (seen["mq9_agents{status=available}"], seen["mq9_agents{status=away}"]) == (1, 0)
            assert (seen["mq9_push_targets{state=active}"], seen["mq9_push_posts_total{outcome=ok}"]) == (
                1,
                0,
            )
            await desk.pass_time(120)
            assert (await numbers(client))["mq9_agents{status=away}"] == 1

    run(body, tmp_path, "box")


def test_what_is_in_the_mailboxes_is_in_the_metrics(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="old")
        await desk.send(text="delayed", delay_s=3600)
        await desk.pass_time(60)
        for text in ("two", "three"):
            await desk.send(text=text)
        bad, taken = await desk.fetch(max=2)
        await desk.settle(bad, "reject")
        async with web(desk) as client:
            seen = await numbers(client)
            assert (seen["mq9_mailboxes"], seen["mq9_messages"], seen["mq9_leases"]) == (3, 4, 1)
            assert (seen["mq9_dead_letters"], seen["mq9_parked"]) == (1, 0)
            assert seen["mq9_oldest_message_age_seconds"] == 0
            assert seen["mq9_message_bytes"] > 0
            await desk.pass_time(60)
            assert (await numbers(client))["mq9_oldest_message_age_seconds"] == 60
            await desk.settle(taken)
            for message in await desk.fetch():
                await desk.settle(message)
            await desk.call("mailbox_drop", address="box.dead")
            empty = await numbers(client)
            assert (empty["mq9_messages"], empty["mq9_leases"], empty["mq9_dead_letters"]) == (1, 0, 0)
            assert empty["mq9_oldest_message_age_seconds"] == 0, "what is delayed is not waiting"

    run(body, tmp_path, "box")


def test_commands_are_counted_by_outcome_and_commits_by_size(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_fetch", mailbox="none")
        await desk.refused("INVALID_ARGUMENT", "mailbox_send", text=1)
        await desk.refused("INVALID_ARGUMENT", "no_such_command" + "x" * 1000)
        await desk.fetch(wait_s=1)
        async with web(desk) as client:
            seen = await numbers(client)
        outcome = "mq9_commands_total{{command={},outcome={}}}"
        assert seen[outcome.format("mailbox_send", "OK")] == 1
        assert seen[outcome.format("mailbox_send", "INVALID_ARGUMENT")] == 1
        assert seen[outcome.format("mailbox_fetch", "MAILBOX_NOT_FOUND")] == 1
        assert seen[outcome.format("mailbox_fetch", "OK")] == 1
        assert seen[outcome.format("unknown", "INVALID_ARGUMENT")] == 1
        assert seen["mq9_command_seconds_count{command=mailbox_send}"] == 1
        assert seen["mq9_command_seconds_count{command=mailbox_fetch}"] == 1, "a wait is no latency"
        assert seen["mq9_commit_records_count"] == seen["mq9_commit_bytes_count"] >= 3
        assert seen["mq9_commit_bytes_sum"] > 100
        assert all(name not in str(seen) for name in ("=box", "alice", "xxx")), "no label from outside"

    run(body, tmp_path, "box")


def test_the_fold_lag_goes_back_to_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send()
        await desk.engine.folder.reach(desk.engine.journal.durable_seq, stored=True)
        async with web(desk) as client:
            seen = await numbers(client)
        assert (seen["mq9_fold_lag_records"], seen["mq9_fold_lag_bytes"]) == (0, 0)

    run(body, tmp_path, "box")


def test_many_mailboxes_are_counted_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mq9_mcp.engine.embedded.figures.SLICE", 2)

    async def body(desk: Desk) -> None:
        for address in ("a", "b", "c", "d"):
            await desk.call("mailbox_create", address=address)
            await desk.send(to=address)
            await desk.fetch(mailbox=address)
        counting = asyncio.ensure_future(desk.engine.figures())
        await asyncio.sleep(0)
        assert not counting.done(), "others got their turn"
        await desk.call("mailbox_drop", address="d")
        assert (await counting).leases >= 3

    run(body, tmp_path, "box")


def test_ready_follows_the_disk(tmp_path: Path) -> None:
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        async with web(desk) as client:
            assert (await client.get("/ready")).status_code == 200
            disk.fail("write")
            await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text="x")
            answer = await client.get("/ready")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORAGE_UNAVAILABLE")
            assert answer.headers["retry-after"]
            assert (await client.get("/health")).status_code == 200
            disk.heal()
            await desk.engine.repaired()
            assert (await client.get("/ready")).status_code == 200
        async with web(desk, free_bytes_min=2**60) as client:
            error = (await client.get("/ready")).json()["error"]
            assert error["code"] == "STORAGE_UNAVAILABLE"
            assert "room on the disk" in error["message"]
        await desk.broker.close()
        async with web(desk) as client:
            assert (await client.get("/ready")).json()["error"]["code"] == "SHUTTING_DOWN"
            assert (await client.get("/metrics")).status_code == 200

    run(body, tmp_path, "box", disk=disk)


def test_a_real_server_counts_its_connections_and_refusals(tmp_path: Path) -> None:
    with serving(tmp_path / "data", disk_free_bytes_min=2**40) as server:
        assert call(server.url, "mailbox_send", to="anna", text="hi").status == 200
        assert call(server.url, "mailbox_send", to="anna").code == "INVALID_ARGUMENT"

        def told(*lines: str) -> bool:
            page = get(server.url, "/metrics").body.decode().splitlines()
            return set(lines) <= set(page)

        eventually(lambda: told("mq9_connections 1.0", "mq9_calls_in_work 0.0"), "only the scrape is there")
        assert told('mq9_commands_total{command="mailbox_send",outcome="INVALID_ARGUMENT"} 1.0')
        assert get(server.url, "/ready").code == "STORAGE_UNAVAILABLE"


def test_the_app_is_made_of_settings(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        app = make_app(desk.broker, Settings(data=tmp_path, request_bytes_max=1024))
        async with caller(app) as client:
            headers = {"content-type": "application/json", "mq9-agent": "alice"}
            large: dict[str, Any] = {"content": b" " * 1025, "headers": headers}
            assert (await client.post("/v1/mailbox_send", **large)).status_code == 413
            assert (await client.get("/health")).json()["status"] == "ok"

    run(body, tmp_path / "data", "box")


def test_a_spread_counts_by_bounds() -> None:
    spread = Spread((1, 10))
    for value in (0, 1, 1.5, 10, 11):
        spread.add(value)
    assert spread.buckets() == [("1", 2), ("10", 4), ("+Inf", 5)]
    assert spread.total == 23.5


def test_a_slow_command_is_logged_with_its_outcome(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally(slow_s=0.5)
    tally.add(MailboxSend, "OK", 0.5)
    tally.add(MailboxSend, "OK", None)
    assert not caplog.records
    tally.add(MailboxSend, "MAILBOX_FULL", 0.75)
    [record] = caplog.records
    assert record.getMessage() == "slow call: mailbox_send took 750 ms, MAILBOX_FULL"
    assert vars(record)["ms"] == 750
