"""The defects of mq9 0.4.11, each shown not to be here.

What belongs to agents, tasks and discovery is shown to be refused clearly until it exists.
"""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from tests.support import Desk, Reply, run, texts


async def numbered(desk: Desk, count: int, mailbox: str = "box", **arguments: str) -> list[int]:
    """Send so many messages; their ids."""
    return [(await desk.send(mailbox, str(number), **arguments))["id"] for number in range(count)]


def test_an_ack_of_one_tier_skips_nothing_in_the_others(tmp_path: Path) -> None:
    """There: acking critical 100 moved the cursors of all tiers past unread normals."""

    async def body(desk: Desk) -> None:
        normals = await numbered(desk, 5)
        await numbered(desk, 1, priority="critical")
        [critical] = await desk.fetch(max=1)
        assert critical["id"] > max(normals)
        await desk.settle(critical)
        await desk.restart()
        assert [message["id"] for message in await desk.fetch()] == normals

    run(body, tmp_path, "box")


def test_an_ack_of_a_lower_id_moves_nothing_back(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await numbered(desk, 3)
        first, second, third = await desk.fetch()
        for message in (third, first):
            await desk.settle(message)
        await desk.restart()
        assert await desk.fetch() == []
        await desk.settle(second, "release")
        assert texts(await desk.fetch()) == ["1"]

    run(body, tmp_path, "box")


def test_acking_the_last_of_a_batch_keeps_the_failed_one_in_the_middle(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await numbered(desk, 5)
        messages = await desk.fetch()
        await desk.settle(messages[4])
        await desk.settle(messages[2], "nack", delay_s=1)
        for index in (0, 1, 3):
            await desk.settle(messages[index])
        await desk.pass_time(1)
        assert texts(await desk.fetch()) == ["2"]

    run(body, tmp_path, "box")


def test_there_is_no_ack_up_to_an_id_that_could_cover_what_was_not_leased(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await numbered(desk, 2)
        [first] = await desk.fetch(max=1)
        item = {"lease": first["lease"], "up_to": True}
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_ack", "bob", items=[item])
        assert "up_to" in error.message
        await desk.settle(first)
        assert texts(await desk.fetch()) == ["1"]

    run(body, tmp_path, "box")


def test_two_workers_of_one_group_never_fetch_the_same_message(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        ids = await numbered(desk, 40)
        workers = [desk.fetch(agent=f"worker{number}", max=7) for number in range(8)]
        taken = [message["id"] for batch in await asyncio.gather(*workers) for message in batch]
        assert sorted(taken) == ids

    run(body, tmp_path, "box")


def test_a_fetch_never_returns_more_than_max(tmp_path: Path) -> None:
    """There: up to three times ``num_msgs``, once for each tier."""

    async def body(desk: Desk) -> None:
        for priority in ("critical", "urgent", "normal"):
            await numbered(desk, 10, priority=priority)
        sizes = [len(await desk.fetch(max=4)) for _ in range(8)]
        assert sizes == [4] * 7 + [2]

    run(body, tmp_path, "box")


def test_a_waiting_fetch_returns_the_message_that_arrives(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        waiting = asyncio.ensure_future(desk.fetch(wait_s=50))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        await desk.send(text="arrived")
        async with asyncio.timeout(5):
            assert texts(await waiting) == ["arrived"]

    run(body, tmp_path, "box")


@pytest.mark.parametrize("restart", [False, True])
def test_latest_means_after_now_and_is_stored_at_once(tmp_path: Path, restart: bool) -> None:
    """There: the last existing message came, and the start was not stored on the first fetch."""

    async def body(desk: Desk) -> None:
        await numbered(desk, 3)
        assert await desk.fetch(group="late", deliver="latest") == []
        if restart:
            await desk.restart()
        await desk.send(text="new")
        assert texts(await desk.fetch(group="late", deliver="earliest")) == ["new"]

    run(body, tmp_path, "box")


def test_a_group_belongs_to_its_mailbox(tmp_path: Path) -> None:
    """There: two mailboxes that use one group name share its offsets."""

    async def body(desk: Desk) -> None:
        await numbered(desk, 3)
        await numbered(desk, 2, "other")
        for message in await desk.fetch(group="team"):
            await desk.settle(message)
        assert texts(await desk.fetch("other", group="team")) == ["0", "1"]
        await desk.call("group_delete", mailbox="other", group="team")
        assert await desk.fetch(group="team") == []

    run(body, tmp_path, "box", "other")


def test_discarding_duplicates_and_keeping_the_latest_are_two_things(tmp_path: Path) -> None:
    """There: one ``mq9-key`` meant the one in the vision and the other in the protocol."""

    async def body(desk: Desk) -> None:
        first = await desk.send(text="once", dedup_key="k")
        assert (await desk.send(text="once", dedup_key="k"))["id"] == first["id"]
        await desk.send(text="old", state_key="k")
        await desk.send(text="new", state_key="k")
        assert texts(await desk.fetch()) == ["once", "new"]

    run(body, tmp_path, "box")


def test_a_delayed_message_keeps_ttl_and_key_has_a_real_id_and_can_be_cancelled(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        receipt = await desk.send(text="later", delay_s=60, ttl_s=30, dedup_key="k")
        assert receipt["id"] > 0
        assert (await desk.send(text="later", dedup_key="k"))["duplicate"] is True
        [message] = await desk.query()
        assert (message["dedup_key"], message["expires_at"]) == ("k", "2027-01-15T08:01:30.000Z")
        await desk.call("mailbox_delete", mailbox="box", ids=[receipt["id"]])
        await desk.pass_time(60)
        assert await desk.fetch() == []

    run(body, tmp_path, "box")


def test_the_mail_of_an_expired_mailbox_is_gone_and_a_new_one_of_the_name_starts_empty(
    tmp_path: Path,
) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="short", settings={"ttl_s": 10})
        await numbered(desk, 3, "short")
        await desk.pass_time(10)
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_query", mailbox="short")
        await desk.call("mailbox_create", address="short")
        await desk.restart()
        assert await desk.query("short") == []
        assert await desk.fetch("short") == []

    run(body, tmp_path)


def test_never_means_never(tmp_path: Path) -> None:
    """There: "never expires" lost mail after 7 days, and an omitted ttl meant one day."""

    async def body(desk: Desk) -> None:
        await numbered(desk, 2)
        for _ in range(5):
            await desk.pass_time(100 * 86_400)
            await desk.restart()
        assert texts(await desk.fetch()) == ["0", "1"]

    run(body, tmp_path, "box")


def test_tags_filter_fetch_and_query_by_any_all_and_none(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for tags in (["a"], ["b"], ["a", "b"], ["a", "c"], []):
            await desk.send(text="".join(tags), tags=tags)
        wishes: list[tuple[dict[str, list[str]], list[str]]] = [
            ({"tags_any": ["a", "b"]}, ["a", "b", "ab", "ac"]),
            ({"tags_all": ["a", "b"]}, ["ab"]),
            ({"tags_none": ["a"]}, ["b", ""]),
            ({"tags_any": ["a", "b"], "tags_all": ["a"], "tags_none": ["c"]}, ["a", "ab"]),
        ]
        for number, (wish, expected) in enumerate(wishes):
            asked = await desk.call("mailbox_query", mailbox="box", **wish)  # type: ignore[arg-type]
            assert texts(asked["messages"]) == expected
            taken = await desk.call(
                "mailbox_fetch",
                mailbox="box",
                group=f"g{number}",
                **wish,  # type: ignore[arg-type]
            )
            assert texts(taken["messages"]) == expected

    run(body, tmp_path, "box")


def test_since_counts_and_filters_combine_and_the_newest_can_be_asked_for(tmp_path: Path) -> None:
    """There: ``since`` was ignored and ``limit`` gave the oldest."""

    async def body(desk: Desk) -> None:
        for number in range(6):
            await desk.send(text=str(number), tags=["even" if number % 2 == 0 else "odd"])
            await desk.pass_time(60)
        since = "2027-01-15T08:02:00Z"
        assert texts(await desk.query(since=since)) == ["2", "3", "4", "5"]
        assert texts(await desk.query(since=since, until="2027-01-15T08:04:00Z")) == ["2", "3"]
        assert texts(await desk.query(since=since, tags_any=["even"])) == ["2", "4"]
        assert texts(await desk.query(limit=2, order="desc")) == ["5", "4"]
        assert texts(await desk.query(limit=2)) == ["0", "1"]

    run(body, tmp_path, "box")


def test_deleting_what_is_not_there_is_message_not_found(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        [id] = await numbered(desk, 1)
        await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=[id + 1])
        await desk.call("mailbox_delete", mailbox="box", ids=[id])
        await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="box", ids=[id])

    run(body, tmp_path, "box")


@pytest.mark.parametrize(
    ("name", "value"),
    [("delay_s", "soon"), ("ttl_s", -1), ("ttl_s", "60"), ("priority", "high"), ("tags", "a,b"), ("ttl", 60)],
)
def test_a_bad_number_or_priority_is_refused(tmp_path: Path, name: str, value: object) -> None:
    """There: a bad number was dropped in silence, a bad priority became normal."""

    async def body(desk: Desk) -> None:
        arguments: Reply = {"to": "box", "text": "x", name: value}
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", **arguments)
        assert name in error.message
        assert await desk.query() == []

    run(body, tmp_path, "box")


def test_binary_payloads_survive_byte_for_byte(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        payload = bytes(range(256)) + b"\xff\xfe\x00\xd8" * 100
        part = {"raw": base64.b64encode(payload).decode(), "mediaType": "application/octet-stream"}
        await desk.call("mailbox_send", to="box", parts=[part])
        await desk.restart()
        [message] = await desk.fetch()
        assert base64.b64decode(message["parts"][0]["raw"]) == payload

    run(body, tmp_path, "box")


def test_a_failed_message_neither_loops_hot_nor_is_acked_past(tmp_path: Path) -> None:
    """nack waits longer each time, counts attempts, and ends in the dead letters."""

    async def body(desk: Desk) -> None:
        await numbered(desk, 1)
        waits = []
        for attempt in range(1, 6):
            [message] = await desk.fetch()
            assert message["attempt"] == attempt
            await desk.settle(message, "nack", reason="boom")
            assert await desk.fetch() == []
            waited = 0
            while attempt < 5 and not await desk.query(state="waiting"):
                await desk.pass_time(0.5)
                waited += 1
            waits.append(waited)
        assert waits[:4] == sorted(waits[:4])
        assert waits[0] >= 2
        [letter] = await desk.fetch("box.dead")
        assert (letter["dead_letter"]["attempts"], letter["dead_letter"]["reason"]) == (5, "boom")

    run(body, tmp_path, "box")


def test_registering_again_is_a_new_version(tmp_path: Path) -> None:
    """There: registering again was a silent no-op."""

    async def body(desk: Desk) -> None:
        for version, word in ((1, "sawing"), (2, "welding")):
            card = {"name": "robot", "description": word}
            agent = (await desk.call("agent_register", card=card))["agent"]
            assert (agent["version"], agent["card"]["description"]) == (version, word)
        [found] = (await desk.call("agent_discover"))["agents"]
        assert found["card"]["description"] == "welding"

    run(body, tmp_path)


def test_discovery_has_scores_and_reasons(tmp_path: Path) -> None:
    """There: discovery had neither, and no order."""

    async def body(desk: Desk) -> None:
        for name, skill in (("baker", "bake bread"), ("cook", "cook soup and bread"), ("smith", "forge")):
            skills = [{"name": skill, "description": skill}]
            await desk.call("agent_register", card={"name": name, "description": name, "skills": skills})
        found = (await desk.call("agent_discover", text="bake bread"))["agents"]
        assert [one["name"] for one in found] == ["baker", "cook"]
        assert found[0]["score"] > found[1]["score"] > 0
        assert all(one["reason"] for one in found)

    run(body, tmp_path)


def test_a_task_that_failed_is_not_completed_afterwards(tmp_path: Path) -> None:
    """There: COMPLETED came after FAILED."""

    async def body(desk: Desk) -> None:
        task = (await desk.send(task=True))["task"]
        [message] = await desk.fetch()
        held = {"task": task, "lease": message["lease"]}
        await desk.call("task_update", "bob", **held, state="failed")
        error = await desk.refused("ILLEGAL_TRANSITION", "task_update", "bob", **held, state="completed")
        assert error.details["allowed"] == []
        assert (await desk.call("task_get", task=task))["task"]["state"] == "failed"

    run(body, tmp_path, "box")


def test_names_cannot_be_guessed_and_an_address_is_no_credential(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        made = [(await desk.call("mailbox_create"))["mailbox"]["address"] for _ in range(2)]
        assert len(set(made)) == 2
        assert all(len(set(address)) > 8 for address in made)
        stranger = {"agent": "eve", "principal": "stranger"}
        for command in ("mailbox_fetch", "mailbox_query"):
            await desk.refused("MAILBOX_NOT_FOUND", command, **stranger, mailbox=made[0])
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", **stranger, to=made[0], text="x")

    run(body, tmp_path)
