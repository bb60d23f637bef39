"""The contract for every engine behind the seam, promise by promise (contract, sections 2, 3, 6, 8 and 9).

A new engine is one folder in ``mq9_mcp/engine`` and a short test that calls ``exercise`` with a function
that opens it; see ``test_embedded_exercise``. Nothing here knows more of an engine than the seam. Each
promise stands on mailboxes of its own, so that one engine serves them all; some restart it on the way.
What it promises of tasks is in ``exercise_tasks``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from mq9_mcp.domain.errors import Mq9Error
from tests.engine.exercise_tasks import TASKS
from tests.engine.stage import OpenEngine, Promise, Stage
from tests.support import Reply, texts

PROMISES: list[Promise] = [*TASKS]


def promise(check: Promise) -> Promise:
    """Make ``check`` part of the exercise."""
    PROMISES.append(check)
    return check


@asynccontextmanager
async def _opened(open_engine: OpenEngine, folder: Path) -> AsyncIterator[Stage]:
    stage = Stage(open_engine, folder)
    await stage.open()
    try:
        yield stage
    finally:
        with suppress(Mq9Error):
            await stage.broker.close()


def exercise(open_engine: OpenEngine, folder: Path) -> None:
    """Prove every promise on one engine; the one that fails is named."""

    async def body() -> None:
        async with asyncio.timeout(120), _opened(open_engine, folder) as stage:
            for check in PROMISES:
                try:
                    await check(stage)
                except BaseException as error:
                    error.add_note(f"the promise {check.__name__!r} is broken")
                    raise

    asyncio.run(body())


# -- storing


@promise
async def a_message_comes_as_it_was_sent(stage: Stage) -> None:
    parts = [{"data": {"amount": 12345678901234567890}}, {"raw": "AAEC", "mediaType": "x/y"}]
    await stage.box("whole")
    receipt = (await stage.call("mailbox_send", to="whole", parts=parts, tags=["a"], metadata={"b": [1]}))[
        "receipts"
    ][0]
    [message] = await stage.fetch("whole")
    assert message["id"] == receipt["id"]
    assert (message["parts"], message["tags"], message["metadata"]) == (parts, ["a"], {"b": [1]})
    assert (message["from"], message["verified"], message["attempt"]) == ("alice", False, 1)


@promise
async def the_line_is_strict_by_tier_and_in_order_within(stage: Stage) -> None:
    await stage.box("line")
    for text, priority in (("3", "normal"), ("1", "critical"), ("2", "urgent"), ("4", "normal")):
        await stage.send("line", text, priority=priority)
    await stage.send("line", "5", delay_s=5)
    await stage.pass_time(4)
    await stage.send("line", "late")
    await stage.pass_time(1)
    assert texts(await stage.fetch("line")) == ["1", "2", "3", "4", "late", "5"]


@promise
async def what_comes_back_keeps_its_place(stage: Stage) -> None:
    await stage.box("back")
    for text in ("1", "2", "3"):
        await stage.send("back", text)
    first, second = await stage.fetch("back", max=2)
    await stage.settle(first, "release")
    await stage.settle(second, "nack", delay_s=0)
    assert texts(await stage.fetch("back")) == ["1", "2", "3"]


@promise
async def a_batch_and_a_fan_out_are_stored_all_or_none(stage: Stage) -> None:
    await stage.box("many-a")
    await stage.box("many-b", messages_max=1)
    batch = [{"to": "many-a", "text": "1"}, {"to": "many-b", "text": "2"}, {"to": "many-b", "text": "3"}]
    await stage.refused("MAILBOX_FULL", "mailbox_send", messages=batch)
    await stage.refused("MAILBOX_NOT_FOUND", "mailbox_send", to=["many-a", "nowhere"], text="x")
    assert await stage.fetch("many-a") == []
    receipts = (await stage.call("mailbox_send", to=["many-b", "many-a"], text="x"))["receipts"]
    assert [receipt["mailbox"] for receipt in receipts] == ["many-b", "many-a"]
    assert receipts[1]["id"] == receipts[0]["id"] + 1


@promise
async def a_dedup_key_stores_once(stage: Stage) -> None:
    await stage.box("keys", dedup_window_s=60)
    first = await stage.send("keys", "one", dedup_key="k")
    [message] = await stage.fetch("keys")
    await stage.settle(message)
    await stage.restart()
    await stage.pass_time(59.999)
    again = await stage.send("keys", "one", dedup_key="k")
    assert again == {**first, "duplicate": True}
    await stage.refused("DEDUP_CONFLICT", "mailbox_send", to="keys", text="other", dedup_key="k")
    await stage.pass_time(0.001)
    assert (await stage.send("keys", "one", dedup_key="k"))["id"] > first["id"]


@promise
async def the_latest_state_wins(stage: Stage) -> None:
    await stage.box("latest")
    await stage.send("latest", "held", state_key="k")
    [held] = await stage.fetch("latest")
    await stage.send("latest", "old", state_key="k")
    await stage.send("latest", "new", state_key="k")
    await stage.settle(held, "nack", delay_s=0)
    assert await stage.states("latest") == {"held": "withdrawn", "old": "withdrawn", "new": "waiting"}


@promise
async def delayed_mail_waits_and_expired_mail_is_never_delivered(stage: Stage) -> None:
    await stage.box("times")
    await stage.fetch("times")
    await stage.send("times", "short", delay_s=5, ttl_s=5)
    await stage.send("times", "long", delay_s=5)
    await stage.pass_time(4.999)
    assert await stage.fetch("times") == []
    assert set((await stage.states("times")).values()) == {"delayed"}
    await stage.pass_time(5.001)
    assert texts(await stage.fetch("times")) == ["long"]
    assert (await stage.states("times"))["short"] == "expired"


@promise
async def who_holds_expired_mail_may_still_settle_it(stage: Stage) -> None:
    await stage.box("late")
    await stage.send("late", "acked", ttl_s=5)
    await stage.send("late", "lost", ttl_s=5)
    acked, _ = await stage.fetch("late", lease_s=10)
    await stage.pass_time(6)
    assert (await stage.settle(acked))["ok"]
    await stage.pass_time(6)
    assert await stage.states("late") == {"acked": "acked", "lost": "expired"}


# -- leases


@promise
async def a_lease_is_exclusive_and_ends_on_time(stage: Stage) -> None:
    await stage.box("lease")
    await stage.send("lease", "one")
    [first] = await stage.fetch("lease", lease_s=10)
    await stage.pass_time(9.999)
    assert await stage.fetch("lease") == []
    await stage.pass_time(0.001)
    [second] = await stage.fetch("lease")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert second["fence"] > first["fence"]
    lost = await stage.settle(first)
    assert (lost["ok"], lost["error"]["code"]) == (False, "LEASE_LOST")
    assert (await stage.settle(second))["ok"]


@promise
async def an_expired_lease_settles_until_it_is_replaced(stage: Stage) -> None:
    await stage.box("kind")
    await stage.box("unkind", exactly_once=True)
    for address in ("kind", "unkind"):
        await stage.send(address, "one", dedup_key="k")
    [kind], [unkind] = await stage.fetch("kind", lease_s=1), await stage.fetch("unkind", lease_s=1)
    await stage.pass_time(5)
    assert (await stage.settle(kind))["ok"]
    assert (await stage.settle(unkind))["error"]["code"] == "LEASE_LOST"


@promise
async def a_token_is_its_owners(stage: Stage) -> None:
    await stage.box("owner")
    await stage.send("owner", "one")
    [message] = await stage.fetch("owner")
    items = [{"lease": message["lease"]}]
    [stolen] = (await stage.call("mailbox_ack", principal="thief", items=items))["results"]
    assert stolen["error"]["code"] == "LEASE_LOST"
    assert (await stage.settle(message))["ok"]


@promise
async def extend_keeps_and_release_gives_back(stage: Stage) -> None:
    await stage.box("extend")
    await stage.send("extend", "one")
    [message] = await stage.fetch("extend", lease_s=5)
    await stage.pass_time(4)
    assert "leased_until" in await stage.settle(message, "extend", lease_s=5)
    await stage.pass_time(4)
    assert await stage.fetch("extend") == []
    await stage.settle(message, "release")
    [again] = await stage.fetch("extend")
    assert again["attempt"] == 1


@promise
async def a_repeated_outcome_succeeds_and_another_does_not(stage: Stage) -> None:
    await stage.box("repeat")
    await stage.send("repeat", "one")
    [message] = await stage.fetch("repeat")
    assert (await stage.settle(message))["ok"]
    await stage.restart()
    assert (await stage.settle(message))["ok"]
    assert (await stage.settle(message, "nack"))["error"]["code"] == "LEASE_LOST"


@promise
async def an_ack_and_its_send_are_one(stage: Stage) -> None:
    await stage.box("work")
    await stage.box("answers", messages_max=1)
    await stage.send("work", "one")
    await stage.send("work", "two")
    one, two = await stage.fetch("work")
    send = {"to": "answers", "text": "done"}
    settle: Reply = {"items": [{"lease": one["lease"]}], "send": send}
    first = await stage.call("mailbox_ack", **settle)
    assert (await stage.call("mailbox_ack", **settle))["receipts"] == first["receipts"]
    full: Reply = {"items": [{"lease": two["lease"]}], "send": send}
    await stage.refused("MAILBOX_FULL", "mailbox_ack", **full)
    assert await stage.states("work") == {"one": "acked", "two": "leased"}
    stale: Reply = {
        "items": [{"lease": two["lease"]}, {"lease": "none"}],
        "send": {"to": "work", "text": "x"},
    }
    await stage.refused("LEASE_LOST", "mailbox_ack", **stale)
    assert await stage.states("work") == {"one": "acked", "two": "leased"}
    assert texts(await stage.fetch("answers")) == ["done"]


@promise
async def a_failure_waits_longer_each_time(stage: Stage) -> None:
    await stage.box("retry", backoff_first_s=10, max_attempts=0)
    await stage.send("retry", "one")
    for wait in (10, 20):
        [message] = await stage.fetch("retry")
        await stage.settle(message, "nack")
        await stage.pass_time(wait - 0.001)
        assert await stage.fetch("retry") == []
        await stage.pass_time(wait * 0.2 + 0.001)
    [message] = await stage.fetch("retry")
    assert message["attempt"] == 3


# -- groups, order, dead letters


@promise
async def groups_are_independent(stage: Stage) -> None:
    await stage.box("groups")
    await stage.send("groups", "one")
    [mine] = await stage.fetch("groups")
    await stage.settle(mine)
    assert texts(await stage.fetch("groups", group="audit")) == ["one"]
    assert await stage.fetch("groups", group="new", deliver="latest") == []
    await stage.send("groups", "two")
    assert texts(await stage.fetch("groups", group="new")) == ["two"]
    assert await stage.states("groups") == {"one": "acked", "two": "waiting"}
    await stage.call("group_reset", mailbox="groups", group="default", to="earliest")
    assert texts(await stage.fetch("groups")) == ["one", "two"]
    await stage.call("group_delete", mailbox="groups", group="audit")
    groups = (await stage.call("group_list", mailbox="groups"))["groups"]
    assert sorted(group["name"] for group in groups) == ["default", "new"]


@promise
async def filters_take_what_fits_and_leave_the_rest(stage: Stage) -> None:
    await stage.box("filter")
    for text, tags in (("1", ["red"]), ("2", ["blue"]), ("3", ["red", "blue"])):
        await stage.send("filter", text, tags=tags)
    assert texts(await stage.fetch("filter", tags_all=["red"], tags_none=["blue"])) == ["1"]
    assert texts(await stage.fetch("filter", tags_any=["blue"], max=1)) == ["2"]
    assert texts(await stage.fetch("filter")) == ["3"]


@promise
async def an_ordered_session_goes_one_after_the_other(stage: Stage) -> None:
    await stage.box("ordered", ordered_by="session")
    await stage.send("ordered", "a1", session="a")
    await stage.send("ordered", "b1", session="b")
    await stage.send("ordered", "a2", session="a", priority="critical")
    first, second = await stage.fetch("ordered", max=2)
    assert texts([first, second]) == ["a1", "a2"]
    assert texts(await stage.fetch("ordered")) == ["b1"]
    await stage.settle(second, "release")
    assert await stage.fetch("ordered") == []
    await stage.settle(first, "nack", delay_s=10)
    assert await stage.fetch("ordered") == []
    await stage.pass_time(10)
    assert texts(await stage.fetch("ordered")) == ["a1", "a2"]


@promise
async def a_poisoned_message_goes_to_the_dead_letters_and_back(stage: Stage) -> None:
    await stage.box("poison", max_attempts=2, backoff_first_s=0)
    await stage.send("poison", "bad")
    await stage.send("poison", "worse")
    for _ in range(2):
        bad = (await stage.fetch("poison", max=1))[0]
        await stage.settle(bad, "nack", delay_s=0, reason="why")
    [worse] = await stage.fetch("poison")
    await stage.settle(worse, "reject", reason="no")
    letters = await stage.fetch("poison.dead")
    shown = [(one["dead_letter"]["reason"], one["dead_letter"]["attempts"]) for one in letters]
    assert shown == [("why", 2), ("no", 1)]
    for letter in letters:
        await stage.settle(letter, "release")
    await stage.refused("LEASE_LOST", "mailbox_redrive", mailbox="poison.dead", ids=[await _held(stage)])
    back = (await stage.call("mailbox_redrive", mailbox="poison.dead", limit=1))["redriven"]
    assert [one["letter"] for one in back] == [letters[1]["id"]]
    [again] = await stage.fetch("poison")
    assert (again["attempt"], texts([again])) == (1, ["worse"])


async def _held(stage: Stage) -> int:
    [letter] = await stage.fetch("poison.dead", max=1)
    id: int = letter["id"]
    return id


@promise
async def expired_mail_goes_to_the_dead_letters_where_that_is_on(stage: Stage) -> None:
    await stage.box("care", dead_letter_expired=True)
    await stage.fetch("care")
    await stage.send("care", "one", ttl_s=1)
    await stage.pass_time(1)
    [letter] = await stage.fetch("care.dead")
    assert letter["dead_letter"]["reason"] == "expired"


# -- mailboxes


@promise
async def a_full_mailbox_refuses_and_never_drops(stage: Stage) -> None:
    await stage.box("full", messages_max=2)
    for text in ("1", "2"):
        await stage.send("full", text)
    await stage.refused("MAILBOX_FULL", "mailbox_send", to="full", text="3")
    one, _ = await stage.fetch("full")
    await stage.settle(one)
    await stage.send("full", "3")
    assert await stage.states("full") == {"1": "acked", "2": "leased", "3": "waiting"}


@promise
async def deleting_is_all_or_none_and_ends_leases(stage: Stage) -> None:
    await stage.box("delete")
    receipt = await stage.send("delete", "one")
    later = await stage.send("delete", "later", delay_s=60)
    [message] = await stage.fetch("delete")
    ids = [receipt["id"], later["id"]]
    await stage.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox="delete", ids=[*ids, 2**50])
    assert (await stage.call("mailbox_delete", mailbox="delete", ids=ids))["deleted"] == 2
    assert (await stage.settle(message))["error"]["code"] == "LEASE_LOST"
    assert await stage.states("delete") == {}


@promise
async def a_later_mailbox_of_the_name_is_a_new_one(stage: Stage) -> None:
    await stage.box("life", ttl_s=60)
    await stage.send("life", "one", dedup_key="k")
    await stage.refused("MAILBOX_EXISTS", "mailbox_create", address="life", settings={"ttl_s": 61})
    await stage.pass_time(59)
    assert not (await stage.call("mailbox_create", address="life", settings={"ttl_s": 60}))["created"]
    await stage.pass_time(60)
    await stage.refused("MAILBOX_NOT_FOUND", "mailbox_fetch", mailbox="life")
    await stage.box("life")
    assert await stage.fetch("life") == []
    assert not (await stage.send("life", "one", dedup_key="k"))["duplicate"]


@promise
async def what_is_not_mine_looks_like_nothing(stage: Stage) -> None:
    await stage.box("mine")
    for name, arguments in (
        ("mailbox_fetch", {"mailbox": "mine"}),
        ("mailbox_send", {"to": "mine", "text": "x"}),
        ("mailbox_drop", {"address": "mine"}),
    ):
        await stage.refused("MAILBOX_NOT_FOUND", name, principal="stranger", **arguments)


# -- agents


def _card(name: str, word: str) -> Reply:
    """A card in the short form whose only skill is called ``word``."""
    return {"name": name, "description": "works", "skills": [{"name": word, "description": "it"}]}


async def _found(stage: Stage, **wish: Any) -> dict[str, str]:
    """Name and status of what discovery finds."""
    found = (await stage.call("agent_discover", **wish))["agents"]
    return {one["name"]: one["status"] for one in found}


@promise
async def an_agent_is_registered_with_its_mailbox_and_ends_with_it(stage: Stage) -> None:
    reply = await stage.call("agent_register", card=_card("Robot One", "welding"))
    assert (reply["agent"]["name"], reply["agent"]["version"], reply["created"]) == ("robot-one", 1, True)
    await stage.restart()
    reply = await stage.call("agent_register", card=_card("Robot One", "sawing"))
    assert (reply["agent"]["version"], reply["created"]) == (2, False)
    await stage.call("mailbox_send", principal="stranger", to="robot-one", text="from anybody")
    await stage.refused(
        "MAILBOX_EXISTS", "agent_register", principal="stranger", card=_card("Robot One", "x")
    )
    await stage.refused("FORBIDDEN", "agent_unregister", principal="stranger", name="robot-one")
    assert await stage.call("agent_unregister", name="robot-one") == {"unregistered": "robot-one"}
    assert texts(await stage.fetch("robot-one")) == ["from anybody"]
    await stage.call("agent_register", card=_card("Robot One", "sawing"))
    await stage.call("mailbox_drop", address="robot-one")
    await stage.refused("AGENT_NOT_FOUND", "agent_report", name="robot-one", status="busy")
    assert "robot-one" not in await _found(stage)


@promise
async def a_silent_agent_is_away_until_it_is_heard_of(stage: Stage) -> None:
    await stage.call("agent_register", card=_card("alice", "listening"))
    await stage.call("agent_register", card=_card("silent", "listening"))
    await stage.pass_time(119)
    await stage.call("mailbox_query", mailbox="alice")  # alice calls, and lives
    await stage.pass_time(1)
    assert await _found(stage, skill="listening") == {"alice": "available", "silent": "away"}
    await stage.restart()
    assert (await _found(stage, skill="listening"))["silent"] == "away"
    said = await stage.call("agent_report", name="silent", status="busy", load=0.5)
    assert said["waiting"] == {"critical": 0, "urgent": 0, "normal": 0}
    await stage.pass_time(1_000)
    assert (await _found(stage, skill="listening"))["silent"] == "busy"
    for name in ("alice", "silent"):
        await stage.call("agent_unregister", name=name)


@promise
async def an_agent_is_found_by_what_it_can_do(stage: Stage) -> None:
    for name, word in (("baker", "bread"), ("smith", "iron"), ("cook", "soup and bread")):
        await stage.call("agent_register", card=_card(name, word))
    assert list(await _found(stage, text="fresh bread, please")) == ["baker", "cook"]
    assert await _found(stage, text="nothing of that") == {}
    assert list(await _found(stage)) == ["baker", "cook", "smith"]
    [first] = (await stage.call("agent_discover", text="bread", limit=1))["agents"]
    assert 0 < first["score"] <= 1
    assert "bread" in first["reason"]
    assert list(await _found(stage, status="away")) == []


@promise
async def a_bad_card_is_refused_with_the_field_at_fault(stage: Stage) -> None:
    bad = {**_card("bad", "x"), "skills": [{"name": "x"}]}
    error = await stage.refused("INVALID_ARGUMENT", "agent_register", card=bad)
    assert "card.skills[0].description" in error.message
    await stage.refused("INVALID_ARGUMENT", "agent_register", card=_card("bad", "x"), mcp_server={})
    await stage.refused("INVALID_ARGUMENT", "agent_register")
    assert "bad" not in await _found(stage)


@promise
async def a_session_is_one_view_until_it_is_closed_or_full(stage: Stage) -> None:
    for address in ("talk-a", "talk-b"):
        await stage.box(address)
    for number, address in enumerate(("talk-a", "talk-b", "talk-a")):
        await stage.send(address, str(number), session="talk")
    page = await stage.call("session_get", session="talk", limit=2)
    rest = await stage.call("session_get", session="talk", after=page["next_after"])
    assert texts(page["entries"] + rest["entries"]) == ["0", "1", "2"]
    assert rest["session"] == {"id": "talk", "state": "open", "mailboxes": ["talk-a", "talk-b"], "turns": 3}
    await stage.call("session_reopen", session="talk", turns_max=4)
    await stage.send("talk-a", "3", session="talk")
    await stage.refused("LOOP_GUARD", "mailbox_send", to="talk-a", text="x", session="talk")
    await stage.restart()
    await stage.refused("LOOP_GUARD", "mailbox_send", to="talk-a", text="x", session="talk")
    await stage.call("session_close", session="talk")
    await stage.refused("SESSION_CLOSED", "mailbox_send", to="talk-a", text="x", session="talk")
    assert len(await stage.fetch("talk-a")) == 3
    await stage.refused("SESSION_NOT_FOUND", "session_get", principal="stranger", session="none")
    alone = await stage.send("talk-a", "alone")
    own = await stage.call("session_get", session=alone["session"])
    assert (texts(own["entries"]), own["session"]["turns"]) == (["alone"], 1)


# -- durability


@promise
async def everything_acknowledged_survives(stage: Stage) -> None:
    await stage.box("kept", max_attempts=3)
    for text in ("acked", "leased", "failed", "waiting"):
        await stage.send("kept", text)
    await stage.send("kept", "delayed", delay_s=600)
    acked, leased, failed = await stage.fetch("kept", max=3, lease_s=100)
    await stage.settle(acked)
    await stage.settle(failed, "nack", delay_s=300)
    before = await stage.states("kept")
    await stage.restart()
    assert await stage.states("kept") == before
    assert before == {
        "acked": "acked",
        "leased": "leased",
        "failed": "backoff",
        "waiting": "waiting",
        "delayed": "delayed",
    }
    assert (await stage.settle(leased))["ok"]
    await stage.pass_time(300)
    assert [message["attempt"] for message in await stage.fetch("kept")] == [2, 1]


@promise
async def a_lease_outlives_a_restart_by_a_while(stage: Stage) -> None:
    await stage.box("pause")
    await stage.send("pause", "one")
    [message] = await stage.fetch("pause", lease_s=1)
    await stage.restart()
    await stage.pass_time(29)
    assert await stage.fetch("pause") == []
    assert (await stage.settle(message))["ok"]


@promise
async def a_waiting_fetch_gets_what_arrives(stage: Stage) -> None:
    await stage.box("wait")
    fetch = asyncio.create_task(stage.fetch("wait", wait_s=50))
    while not (await stage.call("group_list", mailbox="wait"))["groups"]:
        await asyncio.sleep(0)
    await stage.send("wait", "now")
    assert texts(await fetch) == ["now"]


@promise
async def the_journal_tells_everything_in_order(stage: Stage) -> None:
    await stage.box("told")
    receipt = await stage.send("told", "one")
    following = stage.broker.engine.follow(0)
    last = 0
    async for record in following:
        assert last == 0 or record.seq == last + 1
        last = record.seq
        if any(receipt["id"] in [mail.id for mail in getattr(event, "mails", ())] for event in record.events):
            break
