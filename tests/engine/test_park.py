"""Parking: work for which no agent is there waits, and goes to the one that comes, with its id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain import park
from mq9_mcp.domain.names import PARKED
from tests.engine.cards import short, skill
from tests.routing.meaning import OFFICE, MeaningDesk, register
from tests.support import Reply, texts

RAIN = "do I need an umbrella tomorrow"
REFUND = "give a customer the money back for a broken lamp"


class ParkDesk(MeaningDesk):
    """A desk where work is parked."""

    async def park(self, wanted: str = RAIN, /, agent: str | None = "alice", **more: Any) -> Reply:
        """Send by intent, parked where nobody fits."""
        return await self.intent(wanted, agent, park=True, **more)

    async def come(self, *names: str) -> None:
        """Agents register; what is parked has met them when this returns, and is visible."""
        await register(self, {name: OFFICE[name] for name in names})
        await self.meet()

    async def meet(self) -> None:
        """Return when everything that is parked has met whoever is there."""
        await self.settle_index()
        await self.broker.parking.settled()
        await self.pass_time(0.001)

    async def parked(self, agent: str | None = "alice", **arguments: Any) -> list[int]:
        """The ids that the caller sees among what is parked."""
        reply = await self.call("mailbox_query", agent, mailbox=PARKED, **arguments)
        return [message["id"] for message in reply["messages"]]


Body = Callable[[ParkDesk], Coroutine[Any, Any, None]]


def run(body: Body, folder: Path, engine: Any = None) -> None:
    """Run a test on a desk that understands."""

    async def whole() -> None:
        async with asyncio.timeout(60):
            desk = ParkDesk(folder)
            desk.engine_of_meaning = engine
            await desk.open()
            try:
                await body(desk)
            finally:
                await desk.broker.close()

    asyncio.run(whole())


def test_a_parked_message_is_delivered_with_its_id_session_and_task(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        receipt = await desk.park(text="umbrella?", task=True, session="s", priority="urgent", tags=["red"])
        assert (receipt["mailbox"], receipt["session"], receipt["duplicate"]) == (PARKED, "s", False)
        assert "routed" not in receipt
        task = (await desk.call("task_get", task=receipt["task"]))["task"]
        assert (task["state"], task["mailbox"]) == ("submitted", PARKED)
        await desk.come("billing")
        assert await desk.parked() == [receipt["id"]], "billing tells no weather"
        await desk.come("weather")
        assert await desk.parked() == []
        task = (await desk.call("task_get", task=receipt["task"]))["task"]
        assert (task["state"], task["mailbox"]) == ("submitted", "weather")
        [mail] = await desk.fetch("weather", agent="weather")
        assert (mail["id"], mail["session"], mail["task"]) == (receipt["id"], "s", receipt["task"])
        assert (mail["from"], mail["priority"], mail["tags"]) == ("alice", "urgent", ["red"])
        assert "intent" not in str(mail)
        assert RAIN not in str(mail)
        await desk.call(
            "task_update", "weather", task=receipt["task"], lease=mail["lease"], state="completed"
        )
        [notice] = await desk.fetch("alice", agent="alice")
        assert (notice["in_reply_to"], notice["task_state"]) == (receipt["id"], "completed")
        joined = (await desk.call("session_get", "weather", session="s"))["session"]
        assert "weather" in joined["mailboxes"]

    run(body, tmp_path)


def test_where_an_agent_fits_nothing_is_parked(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        await desk.come("weather")
        receipt = await desk.park()
        assert (receipt["mailbox"], receipt["routed"]["agent"]) == ("weather", "weather")
        [mail] = await desk.fetch("weather", agent="weather")
        assert "expires_at" not in mail, "the day counts for parked messages alone"

    run(body, tmp_path)


@pytest.mark.parametrize("status", ["available", "busy"])
def test_an_agent_that_comes_back_gets_it(tmp_path: Path, status: str) -> None:
    async def body(desk: ParkDesk) -> None:
        await desk.come("weather")
        await desk.call("agent_report", "weather", status="offline")
        receipt = await desk.park()
        assert receipt["mailbox"] == PARKED
        await desk.meet()
        assert await desk.parked() == [receipt["id"]]
        await desk.call("agent_report", "weather", status=status)
        await desk.meet()
        [mail] = await desk.fetch("weather", agent="weather")
        assert mail["id"] == receipt["id"]

    run(body, tmp_path)


def test_what_is_parked_outlives_a_restart_and_is_given_after_one(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        first = await desk.park(dedup_key="k", state_key="latest", task={"timeout_s": 7_200})
        await desk.restart()
        assert await desk.parked() == [first["id"]]
        await desk.engine.folder.reach(desk.engine.journal.durable_seq)
        await desk.restart()
        assert await desk.parked() == [first["id"]]
        await desk.come("weather")
        again = await desk.park(dedup_key="k", state_key="latest")
        assert again == {**first, "duplicate": True}, "the first receipt, wherever the message is now"
        await desk.restart()
        assert await desk.park(dedup_key="k", state_key="latest") == {**first, "duplicate": True}
        known = await desk.send("weather", RAIN, dedup_key="k")
        assert (known["id"], known["mailbox"], known["duplicate"]) == (first["id"], "weather", True)
        newer = await desk.send("weather", "newer", state_key="latest")
        [mail] = await desk.fetch("weather", agent="weather")
        assert mail["id"] == newer["id"], "its state key counts in the agent's mailbox"
        task = (await desk.call("task_get", task=first["task"]))["task"]
        assert task["state"] == "canceled"

    run(body, tmp_path)


def test_an_agent_that_came_while_the_broker_was_down_a_moment_is_met_at_the_start(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        receipt = await desk.park()
        await desk.broker.parking.close()  # killed between the registration and the delivery
        await register(desk, {"weather": OFFICE["weather"]})
        await desk.restart()
        await desk.meet()
        [mail] = await desk.fetch("weather", agent="weather", max=10)
        assert mail["id"] == receipt["id"]
        await desk.restart()
        await desk.meet()
        assert await desk.fetch("weather", agent="weather") == []

    run(body, tmp_path)


def test_only_the_sender_sees_it_and_takes_it_back(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        one = await desk.park(task=True)
        two = await desk.park(REFUND)
        stranger: dict[str, Any] = {"principal": "stranger", "mailbox": PARKED}
        seen = await desk.call("mailbox_query", "eve", **stranger)
        assert seen == {"messages": [], "remaining": 0}
        with pytest.raises(Exception, match="of yours is parked"):
            await desk.call("mailbox_delete", "eve", **stranger, ids=[one["id"]])
        error = await desk.refused("MESSAGE_NOT_FOUND", "mailbox_delete", mailbox=PARKED, ids=[one["id"], 99])
        assert "nothing was deleted" in error.message
        assert await desk.parked() == [one["id"], two["id"]]
        assert await desk.parked(ids=[two["id"]]) == [two["id"]]
        await desk.call("mailbox_delete", mailbox=PARKED, ids=[one["id"]])
        assert await desk.parked() == [two["id"]]
        task = (await desk.call("task_get", task=one["task"]))["task"]
        assert task["state"] == "canceled"
        await desk.come("weather")
        assert await desk.fetch("weather", agent="weather") == []

    run(body, tmp_path)


def test_a_canceled_task_is_not_delivered(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        receipt = await desk.park(task=True)
        await desk.call("task_cancel", task=receipt["task"])
        assert await desk.parked() == []
        await desk.come("weather")
        assert await desk.fetch("weather", agent="weather") == []

    run(body, tmp_path)


def test_it_expires_after_a_day_and_the_asker_hears(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        plain = await desk.park(task=True)
        short_lived = await desk.park(task=True, ttl_s=10)
        await desk.pass_time(10)
        assert await desk.parked() == [plain["id"]]
        [notice] = await desk.fetch("alice", agent="alice")
        assert (notice["in_reply_to"], notice["task_state"]) == (short_lived["id"], "failed")
        assert notice["parts"][1]["data"]["code"] == "EXPIRED"
        await desk.pass_time(86_389)
        assert await desk.parked() == [plain["id"]]
        await desk.pass_time(1)
        assert await desk.parked() == []

    run(body, tmp_path)


def test_time_goes_on_after_the_delivery(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        brief = await desk.park(task=True, ttl_s=10)
        timed = await desk.park(task={"timeout_s": 20})
        await desk.come("weather")
        await desk.pass_time(10)
        assert (await desk.call("task_get", task=brief["task"]))["task"]["state"] == "failed"
        [mail] = await desk.fetch("weather", agent="weather")
        assert mail["id"] == timed["id"]
        await desk.pass_time(10)
        task = (await desk.call("task_get", task=timed["task"]))["task"]
        assert (task["state"], task["mailbox"]) == ("failed", "weather")

    run(body, tmp_path)


def test_a_delayed_message_is_parked_at_once_and_keeps_its_time(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        early = await desk.park(delay_s=60)
        late = await desk.park(REFUND, delay_s=60)
        await desk.come("weather")
        assert await desk.fetch("weather", agent="weather") == []
        await desk.pass_time(60)
        [mail] = await desk.fetch("weather", agent="weather")
        assert mail["id"] == early["id"]
        await desk.come("billing")
        [mail] = await desk.fetch("billing", agent="billing")
        assert mail["id"] == late["id"]

    run(body, tmp_path)


def test_in_a_batch_and_beside_an_ack(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        await desk.come("billing")
        batch = [
            {"intent": {"text": RAIN}, "park": True},
            {"intent": {"text": REFUND}, "park": True},
            {"to": "billing", "text": "x"},
        ]
        receipts = (await desk.call("mailbox_send", messages=batch))["receipts"]
        assert [one["mailbox"] for one in receipts] == [PARKED, "billing", "billing"]
        mail = (await desk.fetch("billing", agent="billing"))[0]
        reply = await desk.call(
            "mailbox_ack",
            "billing",
            items=[{"lease": mail["lease"]}],
            send={"intent": {"text": "where is order 7"}, "park": True},
        )
        assert reply["receipts"][0]["mailbox"] == PARKED
        error = await desk.refused("NO_MATCHING_AGENT", "mailbox_send", intent={"text": RAIN}, park=False)
        assert "park=true" in str(error.hint)
        await desk.come("parcels", "weather")
        assert [one["id"] for one in await desk.fetch("weather", agent="weather")] == [receipts[0]["id"]]
        [mail] = await desk.fetch("parcels", agent="parcels")
        assert mail["from"] == "billing"

    run(body, tmp_path)


def test_nobody_reaches_the_mailbox_by_name(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        await desk.park()
        await desk.refused("MAILBOX_NOT_FOUND", "mailbox_send", to=PARKED, text="x")
        for command in ("mailbox_update", "mailbox_drop", "mailbox_get"):
            await desk.refused("MAILBOX_NOT_FOUND", command, address=PARKED)
        for command in ("mailbox_fetch", "group_list"):
            await desk.refused("MAILBOX_NOT_FOUND", command, mailbox=PARKED)
        await desk.refused("INVALID_ARGUMENT", "mailbox_create", address=PARKED)
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="alice", text="x", park=True)
        assert "park: given without intent" in error.message
        assert (await desk.engine.figures()).parked == 1

    run(body, tmp_path)


def test_a_full_mailbox_leaves_it_parked_until_there_is_room(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        receipt = await desk.park()
        await desk.call("mailbox_create", "weather", address="weather", settings={"messages_max": 1})
        filler = await desk.send("weather", "filler", agent="weather")
        await desk.come("weather")
        assert await desk.parked() == [receipt["id"]]
        await desk.call("mailbox_delete", "weather", mailbox="weather", ids=[filler["id"]])
        await desk.call("agent_report", "weather", status="busy")
        await desk.meet()
        assert await desk.parked() == []

    run(body, tmp_path)


def test_an_exactly_once_mailbox_takes_what_has_a_key(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        without = await desk.park()
        keyed = await desk.park(text="keyed", dedup_key="k")
        twin = await desk.send("alice", "x")
        assert twin["id"] > keyed["id"]
        await desk.call("mailbox_create", "weather", address="weather", settings={"exactly_once": True})
        await desk.come("weather")
        assert await desk.parked() == [without["id"]]
        await desk.pass_time(700)
        again = await desk.send("weather", "keyed", dedup_key="k")
        assert (again["id"], again["duplicate"]) == (keyed["id"], True)

    run(body, tmp_path)


def test_rights_are_checked_again_then(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        own = await desk.park(agent="weather")
        other = await desk.park()
        await desk.come("weather")
        assert await desk.parked() == [own["id"]], "nobody's work goes to itself"
        [mail] = await desk.fetch("weather", agent="weather")
        assert mail["id"] == other["id"]
        await desk.call("agent_register", name="second", card=OFFICE["weather"])
        await desk.meet()
        [mail] = await desk.fetch("second", agent="second")
        assert mail["id"] == own["id"]

    run(body, tmp_path)


def test_delivery_wakes_who_waits(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        waiting = asyncio.create_task(desk.park(text="rain?", wait_for="replied", wait_s=20))
        while not desk.engine.state.parked:
            await desk.call("session_list")  # a read of the tables: others take their turn
        await register(desk, {"weather": OFFICE["weather"]})
        fetching = asyncio.create_task(desk.fetch("weather", agent="weather", wait_s=20))
        await desk.settle_index()
        await desk.broker.parking.settled()
        await desk.pass_time(0.001)
        [mail] = await fetching
        await desk.call(
            "mailbox_ack",
            "weather",
            items=[{"lease": mail["lease"]}],
            send={"in_reply_to": mail["id"], "text": "take one"},
        )
        receipt = await waiting
        assert (receipt["reached"], receipt["mailbox"], receipt["id"]) == ("replied", PARKED, mail["id"])
        assert texts([receipt["reply"]]) == ["take one"]

    run(body, tmp_path)


def test_a_named_skill_and_tags_count(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        named = await desk.park("please handle this", intent={"skill": "Tracking"})
        tagged = await desk.park(RAIN, intent={"tags": ["post"]})
        await desk.come("weather", "parcels")
        [mail] = await desk.fetch("parcels", agent="parcels")
        assert mail["id"] == named["id"]
        assert await desk.parked() == [tagged["id"]]

    run(body, tmp_path)


def test_a_follow_up_and_a_session_that_closed_do_not_hold_it_up(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        receipt = await desk.park(text="umbrella?", task=True, session="talk")
        await desk.send("alice", "mine", session="talk")
        follow_up = (await desk.call("mailbox_send", task=receipt["task"], text="in Rome"))["receipts"][0]
        assert follow_up["mailbox"] == PARKED
        await desk.call("session_close", session="talk")
        await desk.come("weather")
        [mail] = await desk.fetch("weather", agent="weather")
        assert mail["id"] == receipt["id"]
        assert texts(mail["follow_ups"]) == ["in Rome"]

    run(body, tmp_path)


@pytest.mark.parametrize("name", ["PARKED_MAX", "PARKED_PER_SENDER_MAX"])
def test_so_much_is_parked_and_no_more(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(park, name, 2)

    async def body(desk: ParkDesk) -> None:
        two = [{"intent": {"text": RAIN}, "park": True, "text": str(number)} for number in range(2)]
        three = [*two, {"intent": {"text": RAIN}, "park": True}]
        error = await desk.refused("MAILBOX_FULL", "mailbox_send", messages=three)
        assert error.details["limit"] in ("parked_messages_max", "parked_per_sender_max")
        assert await desk.parked() == []
        await desk.call("mailbox_send", messages=two)
        await desk.refused("MAILBOX_FULL", "mailbox_send", intent={"text": RAIN}, park=True)
        if name == "PARKED_MAX":
            await desk.refused("MAILBOX_FULL", "mailbox_send", "bob", intent={"text": RAIN}, park=True)
        else:
            await desk.park(agent="bob")
        await desk.come("weather")
        assert (await desk.park(REFUND))["mailbox"] == PARKED

    run(body, tmp_path)


def test_without_an_engine_keywords_find_the_agent_that_comes(tmp_path: Path) -> None:
    async def body(desk: ParkDesk) -> None:
        desk.broker.agents.index._encoder = None
        receipt = await desk.park("refund a payment")
        await desk.call(
            "agent_register", name="billing", card=short("Billing", skill("Refunds", description="payment"))
        )
        await desk.broker.parking.settled()
        await desk.pass_time(0.001)
        [mail] = await desk.fetch("billing", agent="billing")
        assert mail["id"] == receipt["id"]

    run(body, tmp_path)
