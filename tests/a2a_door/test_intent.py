"""The broker itself as an A2A agent: who says what is to be done need not know who does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mq9_a2a.words import ROUTED

from tests.a2a_door.site import Peer, both, run_peer, update, working
from tests.support import Desk, Reply

AGENTS = {
    "billing": "Answers questions about invoices and payments.",
    "travel": "Books flights and hotels for journeys.",
}
ASK = "Please answer questions about invoices and payments."


async def agents(peer: Peer) -> None:
    for name, description in AGENTS.items():
        card = {
            "name": name,
            "description": description,
            "skills": [{"name": name, "description": description}],
        }
        await peer.desk.call("agent_register", name, card=card)


async def complete(desk: Desk, message: Reply) -> None:
    await update(desk, message, "completed", message="paid")


@both
def test_the_agent_whose_skills_fit_gets_the_task(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        await agents(peer)
        task = await peer.send(ASK)
        told = task["metadata"][ROUTED]
        assert (told["mailbox"], told["agent"]) == ("billing", "billing")
        assert told["score"] > 0
        assert [one["agent"] for one in told["candidates"]] in ([], ["travel"])
        [message] = await peer.desk.fetch("billing", agent="billing")
        assert message["task"] == task["id"]
        assert message["a2a"]["messageId"] == "m1"
        assert (await peer.call("GetTask", id=task["id"]))["status"]["state"] == "TASK_STATE_WORKING"
        assert [one["id"] for one in (await peer.call("ListTasks"))["tasks"]] == [task["id"]]

    run_peer(test, tmp_path, binding, root=True)


@both
def test_what_is_sent_again_is_one_task_wherever_it_went(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        await agents(peer)
        task = await peer.send(ASK)
        await peer.desk.call("agent_report", "billing", status="offline")
        again = await peer.send(ASK)
        assert again["id"] == task["id"]
        other = await peer.failure("SendMessage", **asked(ASK, id="m2"))
        assert other.info["metadata"]["code"] == "NO_MATCHING_AGENT"
        canceled = await peer.call("CancelTask", id=task["id"])
        assert canceled["status"]["state"] == "TASK_STATE_CANCELED"
        await peer.desk.call("agent_report", "billing", status="available")
        assert (await peer.send(ASK))["id"] != task["id"]

    run_peer(test, tmp_path, binding, root=True)


@both
def test_turns_go_on_at_the_broker_itself(tmp_path: Path, binding: str) -> None:
    async def question(desk: Desk, message: Reply) -> None:
        asked = message["parts"][0]["text"] == ASK
        await update(desk, message, "input-required" if asked else "completed", message="of 2026?")

    async def test(peer: Peer) -> None:
        await agents(peer)
        async with working(peer.desk, question, "billing"):
            waits = await peer.send(ASK, wait=True)
            assert waits["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
            done = await peer.send("yes", id="m2", wait=True, taskId=waits["id"])
            assert (done["id"], done["status"]["state"]) == (waits["id"], "TASK_STATE_COMPLETED")
            async with peer.stream(
                "SendStreamingMessage", **asked("Questions about payments of invoices", id="m3")
            ) as events:
                assert (await anext(events))["event"]["task"]["metadata"][ROUTED]["agent"] == "billing"

    run_peer(test, tmp_path, binding, root=True)


@both
def test_nobody_fits(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        await agents(peer)
        failed = await peer.failure("SendMessage", **asked("qwertz asdf"))
        assert (failed.code, failed.info["reason"]) == (
            -32602 if binding == "JSONRPC" else 404,
            "AGENT_NOT_FOUND",
        )
        assert failed.info["metadata"]["code"] == "NO_MATCHING_AGENT"
        assert "/a2a/{address}" in failed.info["metadata"]["hint"]
        assert "park" not in str(failed), "no client of A2A can say so"
        empty = {"messageId": "m2", "role": "ROLE_USER", "parts": [{"data": {"a": 1}}]}
        failed = await peer.failure("SendMessage", message=empty)
        assert "no text" in failed.message
        assert (await peer.call("ListTasks"))["tasks"] == []

    run_peer(test, tmp_path, binding, root=True)


def test_a_long_text_is_routed_by_its_beginning(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        await agents(peer)
        text = ASK + " x" * 50_000
        await peer.send(text)
        [message] = await peer.desk.fetch("billing", agent="billing")
        assert message["parts"] == [{"text": text}]

    run_peer(test, tmp_path, "JSONRPC", root=True)


def asked(text: str, id: str = "m1") -> dict[str, Any]:
    return {"message": {"messageId": id, "role": "ROLE_USER", "parts": [{"text": text}]}}
