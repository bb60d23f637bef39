"""mq9's Python names: the calls its users know work, with this broker's promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum

import pytest

from mq9_mcp.client import Mq9Client, Priority, Refused, SyncMq9Client
from mq9_mcp.client.mq9_names import LEASES_MAX, Leases
from tests.client.serving import Server
from tests.client.test_calls import run

NOW = int(datetime.now(UTC).timestamp())


class TheirPriority(str, Enum):  # noqa: UP042
    """As mq9's own module has it."""

    URGENT = "urgent"


def test_payloads_come_back_as_they_were_sent(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="payloads")
        data = {"big": 2**70, "list": [1, None]}
        ids = [await client.send("payloads", one) for one in (bytes(range(256)), "caf\u00e9", data)]
        raw, text, document = await client.fetch("payloads", group_name="g")
        assert [raw.msg_id, text.msg_id, document.msg_id] == ids
        assert raw.payload == bytes(range(256))
        assert text.payload == "caf\u00e9".encode()
        assert json.loads(document.payload) == data
        assert document["parts"] == [{"data": data}]
        assert raw.priority is Priority.NORMAL
        assert abs(raw.create_time - NOW) < 3600

    run(server, test)


def test_attributes_of_a_send(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="attributes")
        id = await client.send(
            "attributes", "a", priority=TheirPriority.URGENT, key="k", delay=3600, ttl=60, tags=["x", "y"]
        )
        assert await client.send("attributes", "a", key="k") == id
        [message] = await client.query("attributes", key="k")
        assert message.priority is Priority.URGENT
        assert (message["dedup_key"], message["tags"]) == ("k", ["x", "y"])
        visible, end = (datetime.fromisoformat(message[name]) for name in ("deliver_at", "expires_at"))
        assert (end - visible).total_seconds() == 60
        with pytest.raises(Refused, match="DEDUP_CONFLICT"):
            await client.send("attributes", "b", key="k")
        with pytest.raises(Refused, match="priority"):
            await client.send("attributes", "b", priority="low")
        await client.delete("attributes", id)
        with pytest.raises(Refused, match="MESSAGE_NOT_FOUND"):
            await client.delete("attributes", id)

    run(server, test)


def test_an_ack_by_id_settles_that_message_and_nothing_else(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="acks")
        low, high = await client.send("acks", "low"), await client.send("acks", "high", priority="critical")
        fetched = await client.fetch("acks", group_name="workers")
        assert [one.msg_id for one in fetched] == [high, low]
        await client.ack("acks", "workers", high)
        reply = await client.mailbox_query(mailbox="acks")
        assert {one["id"]: one["deliveries"][0]["state"] for one in reply["messages"]} == {
            low: "leased",
            high: "acked",
        }
        for group, id in (("other", low), ("workers", high), ("workers", 2**40)):
            with pytest.raises(Refused, match="LEASE_LOST") as caught:
                await client.ack("acks", group, id)
            assert "fetch" in caught.value.hint
        await client.group_reset(mailbox="acks", group="workers", to="latest")
        with pytest.raises(Refused, match="LEASE_LOST"):
            await client.ack("acks", "workers", low)

    run(server, test)


def test_a_fetch_never_gives_more_than_asked_and_two_workers_nothing_twice(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="shared")
        for priority in ("normal", "urgent", "critical"):
            for number in range(3):
                await client.send("shared", f"{priority}{number}", priority=priority)
        first = await client.fetch("shared", num_msgs=4)
        second = await client.fetch("shared", group_name="default", num_msgs=100)
        assert (len(first), len(second)) == (4, 5)
        assert len({one.msg_id for one in first + second}) == 9

    run(server, test)


def test_where_a_group_begins(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="begins")
        ids = [await client.send("begins", str(number)) for number in range(3)]

        async def begin(group: str, **arguments: object) -> list[int]:
            fetched = await client.fetch("begins", group_name=group, max_wait_ms=0, **arguments)  # type: ignore[arg-type]
            return [one.msg_id for one in fetched]

        assert await begin("a") == ids
        assert await begin("b", deliver="latest") == []
        assert await begin("c", deliver="from_id", from_id=ids[1]) == ids[1:]
        assert await begin("d", deliver="from_time", from_time=NOW - 3600) == ids
        assert await begin("e", deliver="from_time", from_time=datetime.now(UTC)) == []
        assert await begin("a", deliver="earliest") == []
        assert await begin("a", deliver="earliest", force_deliver=True) == ids
        assert await begin("f", force_deliver=True) == ids
        for deliver in ("from_id", "from_time", "middle"):
            with pytest.raises(Refused, match=deliver):
                await begin("g", deliver=deliver)

    run(server, test)


def test_a_query_gives_the_newest_and_takes_nothing(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="queries")
        batch = [{"to": "queries", "text": str(number), "dedup_key": f"k{number}"} for number in range(120)]
        await client.call("mailbox_send", {"messages": batch})
        assert [one.payload for one in await client.query("queries", limit=3)] == [b"117", b"118", b"119"]
        assert len(await client.query("queries")) == 20
        assert len(await client.query("queries", limit=110)) == 110
        assert [one.payload for one in await client.query("queries", key="k5")] == [b"5"]
        assert await client.query("queries", key="none") == []
        assert await client.query("queries", since=NOW + 7200) == []
        assert len(await client.query("queries", since=NOW - 7200, limit=1000)) == 120
        assert len(await client.fetch("queries", num_msgs=1000)) == 120

    run(server, test)


def test_agent_commands_are_refused_by_name(server: Server) -> None:
    with SyncMq9Client(server.url, agent="alice") as client:
        calls: tuple[Callable[[], object], ...] = (
            lambda: client.agent_register({"name": "a"}),
            lambda: client.agent_register(card_url="https://example.com", name="a"),
            lambda: client.agent_unregister("a"),
            lambda: client.agent_report({"status": "busy"}),
            lambda: client.agent_report(status="busy"),
            lambda: client.agent_discover(text="weigh cats", limit=5),
        )
        for call in calls:
            with pytest.raises(Refused, match=r"agent_[a-z]+ is not part of this version"):
                call()


def test_mq9s_names_without_a_loop(server: Server) -> None:
    with SyncMq9Client(server.url, agent="bob") as client:
        client.mailbox_create(address="loopless")
        id = client.send("loopless", b"\x00")
        [message] = client.fetch("loopless", group_name="g")
        assert (message.msg_id, message.payload) == (id, b"\x00")
        client.ack("loopless", "g", id)
        assert [one.msg_id for one in client.query("loopless")] == [id]
        client.delete("loopless", id)


def test_leases_are_remembered_within_bounds() -> None:
    leases = Leases()
    for id in range(LEASES_MAX + 1):
        leases.keep("g", {"mailbox": "a", "id": id, "lease": str(id)})
    assert leases.find("a", "g", LEASES_MAX) == str(LEASES_MAX)
    with pytest.raises(Refused, match="LEASE_LOST"):
        leases.find("a", "g", 0)
