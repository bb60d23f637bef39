"""A seeded random caller: all commands with all their options, at times drawn from the edges."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any

from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.push_commands import PushReport
from mq9_mcp.domain.state import NEVER, Caller, Mailbox
from tests.engine.bench import Bench

Settings = dict[str, Any]
Act = Callable[[], Coroutine[Any, Any, None]]

BROKER = Caller("mq9", "mq9.broker", True)
AGENTS = ("ann", "ben", "cid")
AGENT_NAMES = ("ann", "ben", "robot")
GROUPS = ("default", "audit", "g3")
SESSIONS = ("s1", "s2")
TASK_STATES = (
    *("working", "working", "submitted", "input-required", "input-required", "auth-required"),
    *("completed", "failed", "canceled", "rejected"),
)
MAILBOXES: dict[str, Settings] = {
    "plain": {"max_attempts": 3},
    "ordered": {"ordered_by": "session", "max_attempts": 2, "retention": {"age_s": 60, "bytes": 5_000}},
    "once": {"exactly_once": True, "max_attempts": 0, "backoff_first_s": 0},
    "small": {"messages_max": 6, "bytes_max": 4_000, "max_attempts": 1, "dead_letter": "letters"},
    "letters": {"messages_max": 4, "max_attempts": 2},
    "tiny": {"dead_letter_expired": True, "max_attempts": 2, "retention": {"age_s": 5, "bytes": 600}},
    "short": {"ttl_s": 90, "dedup_window_s": 20},
    "strict": {"ordered_by": "session", "exactly_once": True, "dead_letter_expired": True},
}


class Driver:
    """Does one random thing after another on a bench and remembers what it was given."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rng: random.Random = bench.rng
        self.tokens: list[str] = []
        self.log: list[str] = []
        self.held: list[tuple[str, str]] = []  # task, lease
        self.tasks: list[str] = []
        self.done = 0
        self.acts: list[tuple[Act, int]] = [
            (self.send, 26),
            (self.fetch, 24),
            (self.settle, 28),
            (self.pass_time, 14),
            (self.delete, 2),
            (self.redrive, 3),
            (self.reset, 2),
            (self.end_group, 1),
            (self.update, 1),
            (self.drop, 1),
            (self.create, 2),
            (self.look, 2),
            (self.register, 2),
            (self.report, 3),
            (self.park, 5),
            (self.bench.unpark, 3),
            (self.unregister, 1),
            (self.end_session, 1),
            (self.update_task, 14),
            (self.cancel_task, 3),
            (self.push, 4),
            (self.report_push, 5),
        ]

    async def start(self) -> None:
        """Make the mailboxes."""
        for address, settings in MAILBOXES.items():
            await self.call("mailbox_create", address=address, settings=settings)

    async def step(self) -> None:
        """One random act."""
        act = self.rng.choices([act for act, _ in self.acts], [weight for _, weight in self.acts])[0]
        await act()

    async def call(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """A command by a random agent; a refusal is an answer like another."""
        agent = self.rng.choice(AGENTS)
        self.log.append(f"{self.bench.now} {agent} {name} {arguments}"[:400])
        try:
            reply = await self.bench.call(agent, name, arguments)
        except Refused as refusal:
            self.log.append(f"    {refusal}")
            return {}
        self.done += 1
        return reply

    # -- what it draws from

    def maybe(self, chance: float) -> bool:
        """True now and then."""
        return self.rng.random() < chance

    def address(self) -> str:
        """A mailbox, mostly one that exists."""
        known = sorted(self.bench.engine.state.addresses)
        return self.rng.choice(known) if known and self.maybe(0.97) else "nowhere"

    def mailbox(self) -> Mailbox | None:
        """A mailbox that exists."""
        return self.bench.engine.state.addresses.get(self.address())

    def message_id(self, mailbox: Mailbox | None = None) -> int:
        """A message, mostly one that is there."""
        state = self.bench.engine.state
        known = [id for id, mail in state.mails.items() if mailbox is None or mail.mailbox == mailbox.number]
        last = state.next_message
        return self.rng.choice(sorted(known)) if known and self.maybe(0.7) else self.rng.randint(1, last)

    def message(self) -> dict[str, Any]:
        """Random arguments of one message."""
        rng = self.rng
        message: dict[str, Any] = {"text": f"{rng.randint(0, 9)}" * rng.choice((1, 5, 90))}
        if self.maybe(0.35):
            message["priority"] = rng.choice(("critical", "urgent", "normal"))
        if self.maybe(0.4):
            message["tags"] = rng.sample(("red", "blue", "green"), rng.randint(1, 2))
        if self.maybe(0.5):
            message["session"] = rng.choice(SESSIONS)
        if self.maybe(0.3):
            message["state_key"] = rng.choice(("k1", "k2"))
        if self.maybe(0.25):
            message["delay_s"] = rng.choice((0.001, 1, 5, 30))
        if self.maybe(0.3):
            message["ttl_s"] = rng.choice((0.001, 2, 10, 60))
        message["to"] = self.address() if self.maybe(0.9) else rng.sample(sorted(MAILBOXES), 2)
        if self.maybe(0.2) or message["to"] in ("once", "strict"):
            message["dedup_key"] = f"key-{rng.randint(0, 40)}"
            message["text"] = message["text"][:1]
        if self.maybe(0.05):
            message["in_reply_to"] = self.message_id()
        if self.maybe(0.35):
            timeout = {"timeout_s": rng.choice((0.001, 20, 90))}
            message["task"] = rng.choice((True, True, timeout))
        elif self.tasks and self.maybe(0.25):
            message["task"] = rng.choice(self.tasks[-12:])
            if self.maybe(0.8):
                for name in ("to", "delay_s", "ttl_s", "state_key"):
                    message.pop(name, None)
        return message

    def start_of_group(self) -> str | int:
        """Where a group begins."""
        at = self.bench.now + self.rng.choice((-60_000, -5_000, -1, 0, 1, 20_000))
        near = self.bench.engine.state.next_message
        return self.rng.choice(
            (
                "earliest",
                "earliest",
                "latest",
                self.message_id(),
                near + self.rng.randint(0, 9),
                wire_time(at),
            )
        )

    # -- acts

    async def send(self) -> None:
        """One message, or a batch."""
        if self.maybe(0.8):
            reply = await self.call("mailbox_send", **self.message())
        else:
            messages = [self.message() for _ in range(self.rng.randint(1, 5))]
            reply = await self.call("mailbox_send", messages=messages)
        receipts = reply.get("receipts", ())
        self.tasks += [receipt["task"] for receipt in receipts if "task" in receipt]
        del self.tasks[:-60]

    async def fetch(self) -> None:
        """A fetch, plain or filtered, of one mailbox or several."""
        rng = self.rng
        arguments: dict[str, Any] = {"mailbox": self.address(), "group": rng.choice(GROUPS)}
        if self.maybe(0.6):
            arguments["group"] = "default"
        if self.maybe(0.15):
            arguments["mailbox"] = rng.sample(sorted(MAILBOXES), 3)
        arguments["max"] = rng.choice((1, 2, 3, 10, 50))
        arguments["lease_s"] = rng.choice((1, 5, 20, 300))
        arguments["deliver"] = self.start_of_group()
        if self.maybe(0.3):
            name = rng.choice(("tags_any", "tags_all", "tags_none"))
            arguments[name] = rng.sample(("red", "blue", "green"), 1)
        if self.maybe(0.15):
            arguments["priority_min"] = rng.choice(("critical", "urgent"))
        if self.maybe(0.1):
            arguments["session"] = rng.choice((*SESSIONS, f"mq9.{self.message_id()}"))
        reply = await self.call("mailbox_fetch", **arguments)
        self.tokens += [message["lease"] for message in reply.get("messages", ())]
        del self.tokens[:-200]
        self.held += [(m["task"], m["lease"]) for m in reply.get("messages", ()) if "task" in m]
        del self.held[:-60]

    async def settle(self) -> None:
        """Some leases, new and old, each with some outcome; now and then with a send."""
        if not self.tokens:
            return
        rng = self.rng
        items = [self.item() for _ in range(rng.choice((1, 1, 2, 4)))]
        arguments: dict[str, Any] = {"items": items}
        if self.maybe(0.25):
            arguments["send"] = self.message() if self.maybe(0.7) else [self.message(), self.message()]
            if self.maybe(0.5) and isinstance(arguments["send"], dict):
                answered = int(items[0]["lease"].split(".")[1], 16)
                arguments["send"] = {"text": "done", "in_reply_to": answered}
        if self.held and self.maybe(0.15):
            arguments["tasks"] = [self.task_update()]
        await self.call("mailbox_ack", **arguments)

    def item(self) -> dict[str, Any]:
        """One lease and its outcome."""
        rng = self.rng
        token = rng.choice(self.tokens[-12:] if self.maybe(0.7) else self.tokens)
        outcome = rng.choice(("ack", "ack", "ack", "nack", "release", "extend", "reject"))
        item: dict[str, Any] = {"lease": token, "outcome": outcome}
        if outcome == "nack" and self.maybe(0.5):
            item |= {"delay_s": rng.choice((0, 1, 30)), "reason": "busy"}
        if outcome == "extend":
            item["lease_s"] = rng.choice((1, 10, 100))
        return item

    def task_update(self) -> dict[str, Any]:
        """What a worker may say of a task, with a lease that may be an old one."""
        rng = self.rng
        task, lease = rng.choice(self.held[-6:] if self.maybe(0.7) else self.held)
        update: dict[str, Any] = {"task": task, "lease": lease}
        if self.maybe(0.7):
            update["state"] = rng.choice(TASK_STATES)
        if self.maybe(0.5):
            update["message"] = "a word"
        if self.maybe(0.3):
            update["progress"] = {"done": rng.randint(0, 9), "total": 9}
        if self.maybe(0.4):
            update["checkpoint"] = {"at": rng.randint(0, 99)}
        if self.maybe(0.3):
            update["artifacts"] = [{"artifact_id": "a", "text": "piece", "append": self.maybe(0.5)}]
        if self.maybe(0.3):
            update["lease_s"] = rng.choice((1, 10, 100))
        if self.maybe(0.1):
            update["expected_version"] = rng.randint(1, 6)
        return update

    async def update_task(self) -> None:
        """A worker tells how a task goes."""
        if self.held:
            await self.call("task_update", **self.task_update())

    async def cancel_task(self) -> None:
        """Somebody does not want a task any more, or looks at one."""
        if self.tasks:
            task = self.rng.choice(self.tasks)
            await self.call("task_cancel" if self.maybe(0.5) else "task_get", task=task)

    async def pass_time(self) -> None:
        """To just before, at or just after an edge; with or without the engine noticing by itself."""
        edges = sorted(set(self.edges()))
        if edges and self.maybe(0.8):
            edge = self.rng.choice(edges[: self.rng.choice((1, 3, 10))])
            self.bench.now = max(self.bench.now, edge + self.rng.choice((-1, 0, 0, 1)))
        else:
            self.bench.now += self.rng.choice((0, 1, 1_000, 10_000, 60_000))
        if self.maybe(0.015):
            self.bench.now += self.rng.choice((8, 8, 30, 61)) * 86_400_000
        self.log.append(f"{self.bench.now} is now")
        if self.maybe(0.5):
            await self.bench.tick()

    def edges(self) -> list[int]:
        """The times at which something changes."""
        found: list[int] = []
        for box in self.bench.engine.state.mailboxes.values():
            found += [at for at, _ in (*box.delayed, *box.expiries)]
            found += [box.expires_at or NEVER]
            found += [box.registered.away_at()] if box.registered is not None else []
            found += [at for at, _ in box.timeouts]
            for group in box.groups.values():
                found += [delivery.until for delivery in group.open.values()]
        return [at for at in found if self.bench.now <= at < NEVER]

    async def delete(self) -> None:
        """Messages in any state."""
        box = self.mailbox()
        if box is not None:
            ids = [self.message_id(box) for _ in range(self.rng.choice((1, 1, 3)))]
            await self.call("mailbox_delete", mailbox=box.address, ids=ids)

    async def redrive(self) -> None:
        """Dead letters go back, some at a rate."""
        dead = [one for one in sorted(self.bench.engine.state.addresses) if "dead" in one or one == "letters"]
        if dead:
            arguments: dict[str, Any] = {"mailbox": self.rng.choice(dead), "limit": self.rng.choice((1, 50))}
            if self.maybe(0.5):
                arguments["rate"] = self.rng.choice((1, 100))
            await self.call("mailbox_redrive", **arguments)

    async def reset(self) -> None:
        """A group begins again elsewhere."""
        group, to = self.rng.choice(GROUPS), self.start_of_group()
        await self.call("group_reset", mailbox=self.address(), group=group, to=to)

    async def end_group(self) -> None:
        """A group ends."""
        await self.call("group_delete", mailbox=self.address(), group=self.rng.choice(GROUPS))

    async def update(self) -> None:
        """A mailbox changes its mind."""
        changes: Settings = {
            "max_attempts": self.rng.choice((0, 1, 3)),
            "dead_letter_expired": self.maybe(0.5),
            "dedup_window_s": self.rng.choice((0, 5, 600)),
            "messages_max": self.rng.choice((3, 1_000)),
            "ttl_s": self.rng.choice((0, 40)),
            "retention": {"age_s": self.rng.choice((0, 5, 86_400)), "bytes": self.rng.choice((0, 1_000))},
        }
        names = self.rng.sample(sorted(changes), 2)
        settings = {name: changes[name] for name in names}
        await self.call("mailbox_update", address=self.address(), settings=settings, description="changed")

    async def drop(self) -> None:
        """A mailbox ends, and often begins a new life at once."""
        address = self.address()
        await self.call("mailbox_drop", address=address)
        if address in MAILBOXES and self.maybe(0.8):
            await self.call("mailbox_create", address=address, settings=MAILBOXES[address])

    async def create(self) -> None:
        """A mailbox is made, or renewed."""
        address = self.rng.choice(sorted(MAILBOXES))
        await self.call("mailbox_create", address=address, settings=MAILBOXES[address])

    async def park(self) -> None:
        """Work for an agent that may come."""
        message = self.message()
        for name in ("to", "in_reply_to", "reply_to"):
            message.pop(name, None)
        if isinstance(message.get("task"), str):
            del message["task"]
        intent = {"text": " ".join(self.rng.sample((*AGENT_NAMES, "plain", "once"), 2))}
        await self.call("mailbox_send", **message, intent=intent, park=True)

    async def register(self) -> None:
        """An agent of a mailbox that exists or not; its card is another one each time."""
        rng = self.rng
        skills = [
            {"name": f"skill {n}", "description": "does it", "tags": ["red", "blue"][:n]}
            for n in range(rng.randint(0, 3))
        ]
        card = {"name": rng.choice(AGENT_NAMES), "description": "d" * rng.randint(1, 9), "skills": skills}
        name = {"name": self.address()} if self.maybe(0.3) else {}
        await self.call("agent_register", card=card, **name)

    async def report(self) -> None:
        """A heartbeat of an agent, registered or not."""
        said: dict[str, Any] = {"status": self.rng.choice(("available", "available", "busy", "offline"))}
        if self.maybe(0.5):
            said |= {"load": self.rng.choice((0, 0.25, 1)), "note": "busy"}
        await self.call("agent_report", name=self.rng.choice((*AGENT_NAMES, self.address())), **said)

    async def unregister(self) -> None:
        """An agent ends, now and then with its mailbox."""
        name = self.rng.choice((*AGENT_NAMES, self.address()))
        await self.call("agent_unregister", name=name, delete_mail=self.maybe(0.3))

    async def end_session(self) -> None:
        """A session ends, or begins again; now and then one of the broker's own."""
        session = self.rng.choice((*SESSIONS, f"mq9.{self.message_id()}"))
        if self.maybe(0.3):
            await self.call("session_close", session=session)
        else:
            await self.call("session_reopen", session=session)

    async def push(self) -> None:
        """A push target of a task is set, set anew or deleted."""
        if not self.tasks:
            return
        task, id = self.rng.choice(self.tasks[-6:]), self.rng.choice(("p1", "p2", "p3"))
        if self.maybe(0.2):
            await self.call("push_delete", task=task, id=id)
        else:
            url = f"https://hooks.example/{self.rng.randrange(2)}"
            await self.call("push_set", task=task, id=id, url=url)

    async def report_push(self) -> None:
        """What became of posts to a target."""
        known = self.bench.engine.pushes()
        if not known:
            return
        push = self.rng.choice(known)
        over = push.task not in self.bench.engine.state.tasks
        fate: dict[str, Any] = self.rng.choice(
            (
                *({"number": push.number + 1}, {"number": max(0, push.number), "done": over}),
                *({"trouble": "503"}, {"trouble": "410", "disable": self.maybe(0.5)}),
            )
        )
        report = PushReport(task=push.task, id=push.id, made=push.made, **fate)
        await self.bench.engine.execute(BROKER, report, self.bench.ask())

    async def look(self) -> None:
        """Reads change nothing."""
        before = self.bench.engine.journal.last_seq
        heard: list[bool] = []  # a call of an agent that is away is a sign of life
        box = self.mailbox()
        if box is not None:
            await self.bench.tick()
            before = self.bench.engine.journal.last_seq
            heard = [one.status == "away" for one in self.bench.engine.state.agents.values()]
            await self.call("mailbox_query", mailbox=box.address, limit=100)
            await self.call("group_list", mailbox=box.address)
            await self.call("session_list")
            await self.call("session_get", session=self.rng.choice(SESSIONS), limit=5)
            await self.call("mailbox_get", address=box.address)
            await self.call("agent_discover", tags_any=["red"])
        assert self.bench.engine.journal.last_seq == before or any(heard), "a read changed something"
