"""``kill -9`` of the broker between an agent's registration and the delivery of what is parked for it."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from pathlib import Path

from tests.crash.line import Line, Reply
from tests.crash.processes import BrokerProcess, deadline, working_in

ROUNDS = int(os.environ.get("MQ9_CRASH_ROUNDS", "3"))
PARKED = 150  # several commands' worth


def card(agent: str) -> Reply:
    """It fits the work that is parked for it, and no other."""
    return {"name": agent, "description": f"serves {agent}", "skills": []}


def park(line: Line, agent: str) -> dict[int, str]:
    """Work for an agent that is not there; the tasks by message."""
    messages = [
        {"intent": {"text": f"serve {agent}"}, "text": f"{agent} {n}", "park": True, "task": True}
        for n in range(PARKED)
    ]
    receipts: list[Reply] = line.call("mailbox_send", messages=messages)["receipts"]
    assert {one["mailbox"] for one in receipts} == {"mq9.parked"}
    return {one["id"]: one["task"] for one in receipts}


def take_all(agent: str, count: int) -> dict[int, str]:
    """What the agent is given, each message once; the tasks by message."""
    line, found = Line(agent), list[Reply]()
    for _ in deadline(60):
        reply = line.call("mailbox_fetch", max=1000, wait_s=1 if len(found) < count else 0)
        if not reply["messages"] and len(found) >= count:
            break
        found += reply["messages"]
    line.close()
    ids = [message["id"] for message in found]
    assert len(set(ids)) == len(ids), "each is delivered once"
    assert all(message["attempt"] == 1 for message in found)
    return {message["id"]: message["task"] for message in found}


def test_a_kill_between_registration_and_delivery_loses_nothing(tmp_path: Path) -> None:
    rng = random.Random(int(os.environ.get("MQ9_CRASH_SEED", "4")))
    with working_in(tmp_path / "life"), ExitStack() as stack:
        for number in range(ROUNDS):
            agent = f"agent-{number}"
            broker = BrokerProcess()
            stack.callback(broker.kill)
            broker.ready()
            line = Line("asker")
            tasks = park(line, agent)
            line.begin("agent_register", card=card(agent))
            broker.lives_for(rng.uniform(0.0, 0.1))
            broker.kill()
            line.close()

            broker = BrokerProcess()
            stack.callback(broker.kill)
            broker.ready()
            line = Line("asker")
            if agent not in [one["name"] for one in line.call("agent_discover", limit=100)["agents"]]:
                line.call("agent_register", card=card(agent))
            assert take_all(agent, PARKED) == tasks
            assert line.call("mailbox_query", mailbox="mq9.parked")["messages"] == []
            line.close()
            assert broker.end() == 0
