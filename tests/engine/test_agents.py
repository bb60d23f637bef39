"""Section 6: agents are registered, heard of, missed, unregistered; who may do it; what a restart keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.limits import limit
from tests.engine.cards import full, short, skill
from tests.support import Desk, Reply, run


async def register(desk: Desk, name: str = "robot", agent: str | None = "alice", **more: Any) -> Reply:
    """Register an agent; the reply's agent."""
    found: Reply = (await desk.call("agent_register", agent, card=short(name), **more))["agent"]
    return found


async def report(desk: Desk, status: str = "available", agent: str | None = "robot", **said: Any) -> Reply:
    """A heartbeat."""
    return await desk.call("agent_report", agent, status=status, **said)


async def status(desk: Desk, name: str = "robot") -> str:
    """An agent's status, asked by nobody in particular."""
    found = (await desk.call("agent_discover", None))["agents"]
    [view] = [one for one in found if one["name"] == name]
    said: str = view["status"]
    return said


# -- registered


def test_the_mailbox_is_made_and_everybody_may_send_to_it(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        reply = await desk.call("agent_register", card=short("robot"))
        assert reply["created"]
        agent = reply["agent"]
        assert {name: agent[name] for name in ("name", "mailbox", "version", "status")} == {
            "name": "robot",
            "mailbox": "robot",
            "version": 1,
            "status": "available",
        }
        sent = {"to": "robot", "text": "hello"}
        await desk.call("mailbox_send", "eve", principal="guest", **sent)
        assert [message["from"] for message in await desk.fetch("robot", "robot")] == ["eve"]

    run(body, tmp_path)


def test_the_same_name_and_owner_is_a_new_version(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for version in (1, 2, 3):
            reply = await desk.call("agent_register", card=short("robot", skill(f"s{version}")))
            assert (reply["agent"]["version"], reply["created"]) == (version, version == 1)
            await desk.send("robot", f"mail {version}")
            if version == 2:
                await desk.restart()
        [found] = (await desk.call("agent_discover"))["agents"]
        assert found["version"] == 3
        assert [one["name"] for one in found["card"]["skills"]] == ["s3"]
        assert len(await desk.query("robot")) == 3, "the mailbox is the same one"

    run(body, tmp_path)


def test_the_mailbox_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        settings = {"max_attempts": 2, "ordered_by": "session"}
        made = await desk.call("mailbox_create", address="robot", settings=settings)
        await desk.send("robot", "from before")
        await register(desk)
        box = (await desk.call("mailbox_get", address="robot"))["mailbox"]
        assert box["settings"] == made["mailbox"]["settings"]
        assert box["counts"]["unsettled"] == 1

    run(body, tmp_path)


def test_another_owners_mailbox_exists(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", "eve", principal="guest", address="robot")
        before = desk.engine.journal.last_seq
        error = await desk.refused("MAILBOX_EXISTS", "agent_register", card=short("robot"))
        assert error.details["mailbox"] == "robot"
        await desk.call("agent_register", "eve", principal="guest", card=short("robot"))
        await desk.refused("MAILBOX_EXISTS", "agent_register", card=short("robot"))
        assert desk.engine.journal.last_seq > before
        [found] = (await desk.call("agent_discover"))["agents"]
        assert found["version"] == 1

    run(body, tmp_path)


def test_a_private_mailbox_is_open_as_long_as_its_agent_is_registered(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="robot")
        sent = {"to": "robot", "text": "hello"}
        guest: dict[str, Any] = {"principal": "guest", **sent}
        for restart in (False, True):
            await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", "eve", **guest)
            await register(desk)
            await register(desk)
            if restart:
                await desk.restart()
            await desk.call("mailbox_send", "eve", **guest)
            await desk.call("agent_unregister", name="robot")
            if restart:
                await desk.restart()
            await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", "eve", **guest)

    run(body, tmp_path)


def test_the_inbox_of_an_agent_that_called_stays_open_without_a_registration(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.fetch("robot", "robot")
        await register(desk)
        await desk.call("agent_unregister", name="robot")
        await desk.restart()
        await desk.call("mailbox_send", "eve", principal="guest", to="robot", text="hello")

    run(body, tmp_path)


# -- unregistered


@pytest.mark.parametrize("delete_mail", [False, True])
def test_unregistering_keeps_the_mail_unless_told_otherwise(tmp_path: Path, delete_mail: bool) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        await desk.send("robot", "waits")
        reply = await desk.call("agent_unregister", name="robot", delete_mail=delete_mail)
        assert reply == {"unregistered": "robot"}
        assert (await desk.call("agent_discover"))["agents"] == []
        await desk.restart()
        assert (await desk.call("agent_discover"))["agents"] == []
        await desk.refused("AGENT_NOT_FOUND", "agent_unregister", name="robot")
        if delete_mail:
            await desk.refused("MAILBOX_NOT_FOUND", "mailbox_query", mailbox="robot")
        else:
            assert len(await desk.fetch("robot")) == 1
        assert (await register(desk))["version"] == 1, "a new registration"

    run(body, tmp_path)


@pytest.mark.parametrize("how", ["dropped", "expired"])
def test_an_agent_ends_with_its_mailbox(tmp_path: Path, how: str) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="robot", settings={"ttl_s": 60})
        await register(desk)
        if how == "dropped":
            await desk.call("mailbox_drop", address="robot")
        else:
            await desk.pass_time(60)
        for _ in range(2):
            assert (await desk.call("agent_discover"))["agents"] == []
            await desk.refused("AGENT_NOT_FOUND", "agent_report", "robot", status="busy")
            await desk.restart()
        await desk.call("mailbox_create", address="robot")
        assert (await desk.call("agent_discover"))["agents"] == [], "a later mailbox of the name is another"
        assert (await register(desk))["version"] == 1

    run(body, tmp_path)


# -- rights


def test_only_the_owner_reports_and_unregisters_and_everybody_finds(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        before = desk.engine.journal.last_seq
        guest = {"principal": "guest", "agent": "eve"}
        [found] = (await desk.call("agent_discover", **guest))["agents"]
        assert found["name"] == "robot"
        await desk.refused("FORBIDDEN", "agent_report", **guest, name="robot", status="busy")
        await desk.refused("FORBIDDEN", "agent_unregister", **guest, name="robot")
        await desk.refused("AGENT_NOT_FOUND", "agent_unregister", **guest, name="nobody")
        await desk.refused("AGENT_NOT_FOUND", "agent_report", **guest, status="busy")
        await desk.refused("INVALID_ARGUMENT", "agent_report", None, status="busy")
        assert desk.engine.journal.last_seq == before
        assert await status(desk) == "available"

    run(body, tmp_path)


def test_somebody_else_of_that_name_is_no_sign_of_life(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        await desk.pass_time(100)
        await desk.call("agent_discover", "robot", principal="guest")
        await desk.pass_time(20)
        assert await status(desk) == "away"
        await desk.call("agent_discover", "robot", principal="guest")
        assert await status(desk) == "away"

    run(body, tmp_path)


# -- heartbeats


def test_a_report_answers_with_the_agent_and_what_waits(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        for priority in ("critical", "normal", "normal", "urgent", "normal"):
            await desk.send("robot", "x", priority=priority)
        await desk.send("robot", "later", delay_s=60)
        counts = {"critical": 1, "urgent": 1, "normal": 3}
        said = await report(desk, "busy", load=0.5, note="at work")
        agent = {"name": "robot", "mailbox": "robot", "version": 1, "status": "busy", "load": 0.5}
        assert said == {"agent": agent | {"note": "at work"}, "cancel_requested": [], "waiting": counts}
        taken = await desk.fetch("robot", "robot", max=3)
        assert (await report(desk))["waiting"] == {"critical": 0, "urgent": 0, "normal": 2}
        await desk.settle(taken[0], agent="robot")
        await desk.settle(taken[1], "release", agent="robot")
        await desk.settle(taken[2], "nack", agent="robot", delay_s=5)
        assert (await report(desk))["waiting"] == {"critical": 0, "urgent": 1, "normal": 2}
        await desk.pass_time(5)
        assert (await report(desk))["waiting"] == {"critical": 0, "urgent": 1, "normal": 3}

    run(body, tmp_path)


def test_what_waits_in_an_ordered_mailbox_is_counted_too(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("mailbox_create", address="robot", settings={"ordered_by": "session"})
        await register(desk)
        for session, priority in (("a", "normal"), ("a", "critical"), ("b", "urgent")):
            await desk.send("robot", "x", session=session, priority=priority)
        assert (await report(desk))["waiting"] == {"critical": 1, "urgent": 1, "normal": 1}
        await desk.fetch("robot", "robot", max=1)
        assert (await report(desk))["waiting"] == {"critical": 1, "urgent": 0, "normal": 1}
        await desk.restart()
        assert (await report(desk))["waiting"] == {"critical": 1, "urgent": 0, "normal": 1}

    run(body, tmp_path)


def test_a_report_says_all_there_is_to_say(tmp_path: Path) -> None:
    """What is left out of a heartbeat is not known any more."""

    async def body(desk: Desk) -> None:
        await register(desk)
        await report(desk, "busy", load=1, note="full")
        assert (await desk.call("agent_discover"))["agents"][0]["load"] == 1
        await report(desk, "busy", load=0.25)
        [found] = (await desk.call("agent_discover"))["agents"]
        assert (found["load"], "note" in found) == (0.25, False)
        await report(desk, "available")
        assert "load" not in (await desk.call("agent_discover"))["agents"][0]

    run(body, tmp_path)


def test_heartbeats_live_in_memory_and_changes_of_status_in_the_journal(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        before = desk.engine.journal.last_seq
        for load in (0.1, 0.9):
            await report(desk, "available", load=load)
        assert desk.engine.journal.last_seq == before
        await report(desk, "busy", load=0.5)
        await report(desk, "busy", load=0.75)
        assert desk.engine.journal.last_seq == before + 1
        await desk.restart()
        [found] = (await desk.call("agent_discover"))["agents"]
        assert (found["status"], found["load"]) == ("busy", 0.5), "as of the change"

    run(body, tmp_path)


def test_after_presence_s_of_silence_available_becomes_away(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        await desk.pass_time(limit("presence_s") - 0.001)
        assert await status(desk) == "available"
        await desk.pass_time(0.001)
        assert await status(desk) == "away"
        await desk.restart()
        assert await status(desk) == "away"
        assert (await desk.send("robot", "still routable"))["mailbox"] == "robot"
        assert (await report(desk))["agent"]["status"] == "available"
        assert await status(desk) == "available"

    run(body, tmp_path)


def test_time_passes_for_those_whom_nobody_calls(tmp_path: Path) -> None:
    """The broker's own clock brings the change; the journal tells it."""

    async def body(desk: Desk) -> None:
        await register(desk)
        before = desk.engine.journal.last_seq
        assert desk.engine.next_due() <= desk.time.now + limit("presence_s") * 1000
        await desk.pass_time(limit("presence_s"))
        assert desk.engine.journal.last_seq == before + 1

    run(body, tmp_path)


@pytest.mark.parametrize("said", ["busy", "offline"])
def test_who_is_busy_or_offline_stays_so(tmp_path: Path, said: str) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        await report(desk, said)
        await desk.pass_time(100_000)
        assert await status(desk) == said
        await desk.fetch("robot", "robot")
        assert await status(desk) == said

    run(body, tmp_path)


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("mailbox_send", {"to": "alice", "text": "x"}),
    ("mailbox_fetch", {}),
    ("mailbox_ack", {"items": [{"lease": "1.1.none"}]}),
    ("mailbox_query", {}),
    ("group_list", {}),
    ("agent_discover", {}),
    ("agent_report", {"status": "available"}),
    ("mailbox_drop", {"address": "nowhere"}),
]


@pytest.mark.parametrize(("command", "arguments"), CALLS, ids=[name for name, _ in CALLS])
def test_any_call_as_the_agent_is_a_sign_of_life(
    tmp_path: Path, command: str, arguments: dict[str, Any]
) -> None:
    """Refused or not, a read or a change; and who was away is back."""

    async def call(desk: Desk) -> None:
        if command == "mailbox_drop":
            await desk.refused("MAILBOX_NOT_FOUND", command, "robot", **arguments)
        else:
            await desk.call(command, "robot", **arguments)

    async def body(desk: Desk) -> None:
        await desk.fetch("alice", "alice")
        await register(desk)
        await desk.pass_time(100)
        await call(desk)
        await desk.pass_time(119.999)
        assert await status(desk) == "available"
        await desk.pass_time(0.001)
        assert await status(desk) == "away"
        await call(desk)
        assert await status(desk) == "available"
        await desk.pass_time(119.999)
        assert await status(desk) == "available"

    run(body, tmp_path)


def test_after_a_restart_agents_get_their_time_anew(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        await desk.pass_time(119)
        await desk.restart()
        await desk.pass_time(119)
        assert await status(desk) == "available"
        await desk.pass_time(1)
        assert await status(desk) == "away"

    run(body, tmp_path)


def test_registering_again_is_a_sign_of_life(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await register(desk)
        for before in ("busy", "offline"):
            await report(desk, before, load=1)
            assert (await register(desk))["status"] == "available"
            assert "load" not in (await desk.call("agent_discover"))["agents"][0]
        await desk.pass_time(120)
        assert (await register(desk))["status"] == "available"
        await desk.pass_time(119.999)
        assert await status(desk) == "available"

    run(body, tmp_path)


def test_an_agent_in_a_rebuilt_state_is_not_forgotten(tmp_path: Path) -> None:
    """A failed write rebuilds memory from the disk; signs of life are only in memory."""

    async def body(desk: Desk) -> None:
        await register(desk)
        await desk.pass_time(100)
        await report(desk, "available")
        rebuilt = await desk.engine._rebuilt()
        from mq9_mcp.engine.embedded.agents import keep_heartbeats

        keep_heartbeats(desk.engine.state, rebuilt)
        assert rebuilt.agents["robot"].seen_at == desk.time.now

    run(body, tmp_path)


# -- listed


def test_without_text_it_lists_by_name_a_page_at_a_time(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        names = [f"a{number}" for number in range(7)]
        for name in reversed(names):
            await register(desk, name)
        seen: list[str] = []
        cursor: dict[str, Any] = {}
        for left in (4, 1, 0):
            page = await desk.call("agent_discover", limit=3, **cursor)
            seen += [one["name"] for one in page["agents"]]
            assert page["remaining"] == left
            assert ("next_cursor" in page) == bool(left)
            cursor = {"cursor": page.get("next_cursor")}
        assert seen == names
        assert "score" not in page["agents"][0]

    run(body, tmp_path)


def test_filters_narrow_the_list(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("agent_register", card=short("one", skill("Refunds", "pay", "back")))
        await desk.call("agent_register", card=full("two"))
        await desk.call("agent_register", card=short("three", skill("Weather", "sky")))
        await report(desk, "busy", "three")

        async def found(**wish: Any) -> list[str]:
            return [one["name"] for one in (await desk.call("agent_discover", **wish))["agents"]]

        assert await found(skill="refunds") == ["one", "two"]
        assert await found(skill="REFUNDS") == ["one", "two"]
        assert await found(tags_any=["back", "sky"]) == ["one", "three"]
        assert await found(tags_any=["back"], skill="Weather") == []
        assert await found(status="busy") == ["three"]
        assert await found(status="away") == []
        [two] = (await desk.call("agent_discover", skill="Refunds", tags_any=["refund"]))["agents"]
        assert two["skill"] == "refunds"
        await desk.refused("INVALID_ARGUMENT", "agent_discover", status="asleep")
        error = await desk.refused("INVALID_ARGUMENT", "agent_discover", cursor="next")
        assert "next_cursor" in error.message

    run(body, tmp_path)


def test_a_page_has_fewer_cards_rather_than_more_bytes(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        big = "x" * (limit("card_bytes_max") - 2_000)
        for number in range(20):
            await desk.call("agent_register", card={**full(f"a{number:02}"), "description": big})
        page = await desk.call("agent_discover", limit=20)
        assert len(page["agents"]) == limit("discover_bytes_max") // len(str(page["agents"][0]["card"]))
        rest = await desk.call("agent_discover", limit=20, cursor=page["next_cursor"])
        assert [one["name"] for one in page["agents"] + rest["agents"]] == [f"a{n:02}" for n in range(20)]

    run(body, tmp_path)


def test_a_report_tells_which_tasks_the_agent_should_stop(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.call("agent_register", "bob", card={"name": "bob", "description": "works"})
        tasks = [(await desk.send("bob", "work", "alice", task=True))["task"] for _ in range(3)]
        held = await desk.fetch("bob", "bob")
        for task in tasks[1:]:
            await desk.call("task_cancel", "alice", task=task)
        assert (await desk.call("agent_report", "bob", status="busy"))["cancel_requested"] == tasks[1:]
        await desk.settle(held[1], "release", agent="bob")
        assert (await desk.call("agent_report", "bob", status="busy"))["cancel_requested"] == tasks[2:]

    run(body, tmp_path)
