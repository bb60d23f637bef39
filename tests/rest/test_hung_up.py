"""Callers that hang up: a waiting call ends and takes nothing, leases that reached nobody are given back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.test_hung_up import SlowDisk
from tests.rest.site import Site, raw_request, run_site, until


@pytest.fixture(name="disk")
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    """A disk on which a commit takes until the test lets it go on."""
    monkeypatch.setattr("mq9_mcp.engine.embedded.journal.INLINE_S", -1)
    return SlowDisk()


def fetch_of(wait_s: float, **arguments: object) -> bytes:
    return raw_request(
        "mailbox_fetch", json.dumps({"mailbox": "box", "wait_s": wait_s, **arguments}).encode()
    )


async def attempt_of_next(site: Site) -> int:
    [message] = (await site.call("mailbox_fetch", mailbox="box", max=1))["messages"]
    attempt: int = message["attempt"]
    return attempt


def test_a_waiting_fetch_whose_caller_hung_up_takes_nothing(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        _, writer = await site.connect()
        writer.write(fetch_of(50))
        await until(lambda: site.desk.broker.bell.waits)
        writer.transport.abort()
        await until(lambda: not site.desk.broker.bell.waits)
        await site.call("mailbox_send", to="box", text="for the next one")
        assert await attempt_of_next(site) == 1

    run_site(body, tmp_path, "box")


def test_a_waiting_send_whose_caller_hung_up_ends_and_stays_stored(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        send = {"to": "box", "text": "x", "wait_for": "acked", "wait_s": 50}
        _, writer = await site.connect()
        writer.write(raw_request("mailbox_send", json.dumps(send).encode()))
        await until(lambda: site.desk.engine.watched)
        writer.transport.abort()
        await until(lambda: not site.desk.engine.watched)
        assert await attempt_of_next(site) == 1

    run_site(body, tmp_path, "box")


@pytest.mark.parametrize("wait_s", [0, 50])
def test_a_lease_on_its_way_to_nobody_is_given_back(tmp_path: Path, disk: SlowDisk, wait_s: float) -> None:
    """The caller hung up while its lease was being written; no attempt is counted."""

    async def body(site: Site) -> None:
        await site.call("mailbox_send", to="box", text="x")
        await site.call("mailbox_fetch", mailbox="box", tags_any=["none"])
        before = site.connections
        _, writer = await site.connect()
        disk.gate.clear()
        writer.write(fetch_of(wait_s))
        [group] = site.desk.engine.state.groups.values()
        await until(lambda: group.leased)
        writer.transport.abort()
        await until(lambda: site.connections == before)
        disk.gate.set()
        await until(lambda: not group.leased)
        assert await attempt_of_next(site) == 1

    run_site(body, tmp_path, "box", disk=disk)


def test_leases_of_a_reply_that_could_not_be_written_are_given_back(tmp_path: Path) -> None:
    """The reply is larger than what the system buffers, and its reader goes away without reading."""

    async def body(site: Site) -> None:
        for _ in range(4):
            await site.call("mailbox_send", to="box", text="x" * 1_000_000)
        caller = site.deaf_connection()
        caller.sendall(fetch_of(0))
        await until(lambda: site.desk.engine.state.groups)
        [group] = site.desk.engine.state.groups.values()
        await until(lambda: group.leased == 4)
        caller.close()
        await until(lambda: not group.leased)
        assert await attempt_of_next(site) == 1

    run_site(body, tmp_path, "box")


def test_who_stays_keeps_what_it_was_given(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await site.call("mailbox_send", to="box", text="x")
        [message] = (await site.call("mailbox_fetch", mailbox="box", wait_s=50))["messages"]
        [result] = (await site.call("mailbox_ack", items=[{"lease": message["lease"]}]))["results"]
        assert result["ok"]

    run_site(body, tmp_path, "box")
