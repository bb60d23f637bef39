"""Many callers at random: all commands with all that they may say, drawn from what the model knows."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any, NamedTuple

from tests.simulation.agents import PRESENCE_MS
from tests.simulation.model import Model
from tests.simulation.shelf import Box, Mail, Shape, iso

DAY_MS = 86_400_000
SESSION_IDLE_MS = 30 * DAY_MS
AGENTS = ("ann", "ben", "cid")
GROUPS = ("default", "default", "default", "audit", "g3")
SESSIONS = ("s1", "s2", "s3")
TAGS = ("red", "blue", "green")
KEEP = 2**30


def _box(age_s: int = 600, **settings: Any) -> Shape:
    return {"retention": {"age_s": age_s, "bytes": KEEP}, **settings}


MAILBOXES: dict[str, Shape] = {
    "plain": _box(max_attempts=3),
    "ordered": _box(60, ordered_by="session", max_attempts=2),
    "once": _box(exactly_once=True, max_attempts=0, backoff_first_s=0),
    "small": _box(messages_max=6, max_attempts=1, dead_letter="letters"),
    "letters": _box(messages_max=4, max_attempts=2),
    "tiny": _box(5, dead_letter_expired=True, max_attempts=2),
    "short": _box(ttl_s=90, dedup_window_s=20),
    "strict": _box(ordered_by="session", exactly_once=True, dead_letter_expired=True, backoff_max_s=5),
}


class Call(NamedTuple):
    """A command of a caller."""

    who: tuple[str, str]
    name: str
    asked: Shape


class Callers:
    """Draws the next command; remembers what the engine handed out."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.tokens: list[str] = []
        self.recent: deque[Call] = deque(maxlen=12)

    def start(self) -> list[Call]:
        """The commands that make the mailboxes."""
        names = MAILBOXES.items()
        return [Call(("local", "ann"), "mailbox_create", {"address": a, "settings": s}) for a, s in names]

    def draw(self, model: Model) -> Call:
        """Any command."""
        kinds = [
            (self.send, 27),
            (self.fetch, 24),
            (self.settle, 30),
            (self.retry, 5),
            (self.delete, 2),
            (self.redrive, 3),
            (self.reset, 1.5),
            (self.end_group, 1),
            (self.update, 1),
            (self.drop, 0.7),
            (self.create, 1.3),
            (self.look, 4),
            (self.register, 1.5),
            (self.report, 2.5),
            (self.unregister, 0.7),
            (self.find, 1),
            (self.end_session, 1),
            (self.look_at_session, 2),
        ]
        [kind] = self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        call = kind(model)
        self.recent.append(call)
        return call

    def draw_together(self, model: Model, count: int) -> list[Call]:
        """Commands of several callers at once that need nothing but memory: their order is known."""
        owed = [(box, *one) for box in model.boxes.values() for one in box.owed() if box.owner == "local"]
        held = [(group, mail, place) for _, group, mail, place in owed if place.state == "leased"]
        ready = [
            (box.address, name)
            for box in model.boxes.values()
            for name, group in box.groups.items()
            if box.owner == "local" and not group.again
        ]
        calls: list[Call] = []
        for _ in range(count):
            if held and self.maybe(0.5):
                place = held.pop(self.rng.randrange(len(held)))[2]
                if place.token in self.tokens:
                    asked = {"items": [self.item(place.token)]}
                    calls.append(Call(("local", "ann"), "mailbox_ack", asked))
                continue
            message = {"to": "plain", **self.message(model)}
            message.pop("in_reply_to", None)
            if not str(message.get("session")).startswith("mq9."):
                calls.append(Call(self.local(), "mailbox_send", message))
        if ready:  # last, as it may have to read old mail first
            address, group = self.rng.choice(ready)
            wish: Shape = {"mailbox": address, "group": group, "max": 2, "lease_s": self.lease()}
            calls.append(Call(self.local(), "mailbox_fetch", wish))
        return calls

    # -- what it draws from

    def maybe(self, chance: float) -> bool:
        """True now and then."""
        return self.rng.random() < chance

    def local(self) -> tuple[str, str]:
        """Somebody of the house."""
        return ("local", self.rng.choice(AGENTS))

    def who(self) -> tuple[str, str]:
        """Mostly somebody of the house."""
        return self.local() if self.maybe(0.97) else ("guest", "eve")

    def lease(self) -> float:
        """How long a lease lasts."""
        return self.rng.choice((1, 5, 5, 20, 300))

    def address(self, model: Model) -> str:
        """A mailbox, mostly one that exists."""
        if self.maybe(0.6):
            return self.rng.choice(list(MAILBOXES))
        return self.rng.choice(sorted(model.boxes)) if self.maybe(0.96) else "nowhere"

    def mail(self, model: Model, box: Box | None = None) -> Mail | None:
        """A message in any state."""
        boxes = [box] if box else list(model.boxes.values())
        mails = [mail for one in boxes for mail in one.mails.values()]
        return self.rng.choice(mails) if mails else None

    def message(self, model: Model) -> Shape:
        """Everything that a message may have."""
        rng = self.rng
        message: Shape = {"text": f"{rng.randint(0, 9)}" * rng.choice((1, 5, 90, 900))}
        if self.maybe(0.35):
            message["priority"] = rng.choice(("critical", "urgent", "normal"))
        if self.maybe(0.4):
            message["tags"] = rng.sample(TAGS, rng.randint(1, 2))
        if self.maybe(0.5):
            message["session"] = rng.choice(SESSIONS)
        if self.maybe(0.25):
            message["state_key"] = rng.choice(("k1", "k2"))
        message |= self.times(model.now)
        message["to"] = self.address(model) if self.maybe(0.9) else rng.sample(sorted(MAILBOXES), 2)
        if self.maybe(0.25) or message["to"] in ("once", "strict"):
            message["dedup_key"] = f"key-{rng.randint(0, 12)}"
            message["text"] = message["text"][0] if self.maybe(0.3) else "same"
        if self.maybe(0.06) and (mail := self.mail(model)) is not None:
            message["in_reply_to"] = mail.id
            if self.maybe(0.5):
                del message["to"]
            if self.maybe(0.3):
                message["session"] = mail.session
        if self.maybe(0.05):
            message["reply_to"] = rng.choice((*AGENTS, "plain"))
        return message

    def times(self, now: int) -> Shape:
        """Delay and lifetime, as a number of seconds or as a time."""
        rng = self.rng
        times: Shape = {}
        if self.maybe(0.2):
            times["delay_s"] = rng.choice((0.001, 1, 5, 30))
        elif self.maybe(0.05):
            times["deliver_at"] = iso(now + rng.choice((-1, 0, 1, 5_000)))
        if self.maybe(0.25):
            times["ttl_s"] = rng.choice((0.001, 2, 10, 60))
        elif self.maybe(0.05):
            times["expires_at"] = iso(now + rng.choice((0, 1, 1_000, 40_000)))
        return times

    def begin(self, model: Model) -> str | int:
        """Where a group begins."""
        at = iso(model.now + self.rng.choice((-60_000, -5_000, -1, 0, 1, 20_000)))
        mail = self.mail(model)
        id = mail.id if mail else 1
        return self.rng.choice(("earliest", "earliest", "latest", id, model.next["mail"] + 3, at))

    # -- the commands

    def send(self, model: Model) -> Call:
        """One message, or a batch."""
        if self.maybe(0.85):
            return Call(self.who(), "mailbox_send", self.message(model))
        messages = [self.message(model) for _ in range(self.rng.randint(1, 5))]
        return Call(self.who(), "mailbox_send", {"messages": messages})

    def fetch(self, model: Model) -> Call:
        """Plain or filtered, of one mailbox or several."""
        rng = self.rng
        asked: Shape = {"mailbox": self.address(model), "group": rng.choice(GROUPS)}
        if self.maybe(0.1):
            asked["mailbox"] = rng.sample(sorted(model.boxes), min(3, len(model.boxes)))
        asked |= {"max": rng.choice((1, 2, 3, 10, 50)), "lease_s": self.lease()}
        asked["deliver"] = self.begin(model)
        if self.maybe(0.25):
            asked[rng.choice(("tags_any", "tags_all", "tags_none"))] = rng.sample(TAGS, rng.randint(1, 2))
        if self.maybe(0.15):
            asked["priority_min"] = rng.choice(("critical", "urgent"))
        if self.maybe(0.1):
            mail = self.mail(model)
            asked["session"] = mail.session if mail else "s1"
        return Call(self.who(), "mailbox_fetch", asked)

    def settle(self, model: Model) -> Call:
        """Leases new and old, each with some outcome; now and then with a send."""
        if not self.tokens:
            return self.fetch(model)
        asked: Shape = {"items": [self.item() for _ in range(self.rng.choice((1, 1, 1, 2, 4)))]}
        if self.maybe(0.25):
            one = self.maybe(0.7)
            asked["send"] = self.message(model) if one else [self.message(model), self.message(model)]
        return Call(self.who(), "mailbox_ack", asked)

    def item(self, token: str | None = None) -> Shape:
        """One lease and its outcome."""
        rng = self.rng
        if token is None:
            token = rng.choice(self.tokens[-12:] if self.maybe(0.7) else self.tokens)
        outcome = rng.choice(("ack", "ack", "ack", "nack", "nack", "release", "extend", "reject"))
        item: Shape = {"lease": token, "outcome": outcome}
        if outcome == "nack" and self.maybe(0.5):
            item |= {"delay_s": rng.choice((0, 1, 30)), "reason": "busy"}
        if outcome == "extend":
            item["lease_s"] = rng.choice((1, 10, 100))
        if outcome == "reject" and self.maybe(0.5):
            item |= {"reason": "bad", "description": "it is bad"}
        return item

    def retry(self, model: Model) -> Call:
        """The same call again, as one whose reply was lost does."""
        return self.rng.choice(self.recent) if self.recent else self.send(model)

    def delete(self, model: Model) -> Call:
        """Messages in any state."""
        box = model.boxes.get(self.address(model)) or next(iter(model.boxes.values()))
        mails = [mail for _ in range(self.rng.choice((1, 1, 3))) if (mail := self.mail(model, box))]
        ids = [mail.id for mail in mails] + ([self.rng.randint(1, 2**40)] if self.maybe(0.1) else [])
        return Call(self.who(), "mailbox_delete", {"mailbox": box.address, "ids": ids or [1]})

    def redrive(self, model: Model) -> Call:
        """Dead letters go back, some of them by name, some at a rate."""
        dead = [a for a, box in model.boxes.items() if any(mail.letter for mail in box.mails.values())]
        asked: Shape = {"mailbox": self.rng.choice(sorted(dead) or ["letters"])}
        asked["limit"] = self.rng.choice((1, 50))
        box = model.boxes.get(asked["mailbox"])
        if self.maybe(0.3) and (mail := self.mail(model, box)):
            asked["ids"] = [mail.id]
        if self.maybe(0.4):
            asked["rate"] = self.rng.choice((1, 100))
        return Call(self.who(), "mailbox_redrive", asked)

    def reset(self, model: Model) -> Call:
        """A group begins again elsewhere."""
        asked = {"mailbox": self.address(model), "group": self.rng.choice(GROUPS), "to": self.begin(model)}
        return Call(self.who(), "group_reset", asked)

    def end_group(self, model: Model) -> Call:
        """A group ends."""
        asked = {"mailbox": self.address(model), "group": self.rng.choice(GROUPS)}
        return Call(self.who(), "group_delete", asked)

    def update(self, model: Model) -> Call:
        """A mailbox changes its mind."""
        changes: Shape = {
            "max_attempts": self.rng.choice((0, 1, 3)),
            "dead_letter_expired": self.maybe(0.5),
            "dedup_window_s": self.rng.choice((0, 5, 600)),
            "messages_max": self.rng.choice((3, 1_000)),
            "ttl_s": self.rng.choice((0, 40)),
            "retention": {"age_s": self.rng.choice((0, 5, 600)), "bytes": KEEP},
        }
        names = self.rng.sample(sorted(changes), 2)
        asked = {"address": self.address(model), "settings": {name: changes[name] for name in names}}
        return Call(self.who(), "mailbox_update", asked)

    def drop(self, model: Model) -> Call:
        """A mailbox ends."""
        return Call(self.who(), "mailbox_drop", {"address": self.address(model)})

    def create(self, _: Model) -> Call:
        """A mailbox is made, or renewed."""
        address = self.rng.choice(sorted(MAILBOXES))
        asked = {"address": address, "settings": MAILBOXES[address]}
        return Call(self.who(), "mailbox_create", asked)

    def register(self, model: Model) -> Call:
        """An agent, of a new mailbox or one that is there."""
        tags = self.rng.sample(TAGS, self.rng.randint(0, 2))
        skill = {"id": "s", "name": "s", "description": "s", "tags": tags, "examples": ["e"]}
        card: Shape = {"name": self.rng.choice(("Ann", "Robot  One")), "description": "works", "version": "1"}
        card |= {
            "capabilities": {},
            "defaultInputModes": ["text/plain"],
            "defaultOutputModes": ["text/plain"],
        }
        web = {"url": "https://example.org", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        card |= {"supportedInterfaces": [web], "skills": [skill] * self.rng.randint(0, 1)}
        asked: Shape = {"card": card} | ({"name": self.agent(model)} if self.maybe(0.6) else {})
        return Call(self.who(), "agent_register", asked)

    def agent(self, model: Model) -> str:
        """An agent that may be registered, or any mailbox."""
        known = sorted(address for address, box in model.boxes.items() if box.registered)
        if known and self.maybe(0.6):
            return self.rng.choice(known)
        return self.rng.choice((*AGENTS, "robot-one")) if self.maybe(0.8) else self.address(model)

    def report(self, model: Model) -> Call:
        """A heartbeat."""
        said: Shape = {"status": self.rng.choice(("available", "available", "busy", "offline"))}
        if self.maybe(0.5):
            said |= {"load": self.rng.choice((0.25, 1.0)), "note": "busy"}
        return Call(
            self.who(), "agent_report", said | ({"name": self.agent(model)} if self.maybe(0.8) else {})
        )

    def unregister(self, model: Model) -> Call:
        """An agent ends, now and then with its mailbox."""
        asked = {"name": self.agent(model), "delete_mail": self.maybe(0.2)}
        return Call(self.who(), "agent_unregister", asked)

    def find(self, _: Model) -> Call:
        """Agents by status and tags."""
        asked: Shape = {"limit": 100}
        if self.maybe(0.5):
            asked["status"] = self.rng.choice(("available", "busy", "away", "offline"))
        if self.maybe(0.5):
            asked["tags_any"] = self.rng.sample(TAGS, 2)
        return Call(self.who(), "agent_discover", asked)

    def session(self, model: Model) -> str:
        """A session, named or of the broker's own."""
        mail = self.mail(model)
        return mail.session if mail is not None and self.maybe(0.5) else self.rng.choice((*SESSIONS, "none"))

    def end_session(self, model: Model) -> Call:
        """A session ends, goes on, or is given room for a few more messages."""
        asked: Shape = {"session": self.session(model)}
        if self.maybe(0.35):
            return Call(self.who(), "session_close", asked)
        talk = model.talks.get(asked["session"])
        if talk is not None and self.maybe(0.5):
            asked["turns_max"] = max(1, talk.turns + self.rng.choice((0, 1, 1, 2, 5)))
        return Call(self.who(), "session_reopen", asked)

    def look_at_session(self, model: Model) -> Call:
        """A conversation, or the list of them."""
        if self.maybe(0.2):
            asked: Shape = {"limit": self.rng.choice((1, 100))}
            if self.maybe(0.5):
                asked["state"] = self.rng.choice(("open", "halted", "closed"))
            return Call(self.who(), "session_list", asked)
        asked = {"session": self.session(model), "limit": self.rng.choice((1, 5, 100))}
        if self.maybe(0.3) and (mail := self.mail(model)) is not None:
            asked["after"] = mail.id
        return Call(self.who(), "session_get", asked)

    def look(self, model: Model) -> Call:
        """A query, plain or filtered."""
        rng = self.rng
        asked: Shape = {"mailbox": self.address(model), "limit": rng.choice((1, 5, 100))}
        if self.maybe(0.3):
            asked[rng.choice(("tags_any", "tags_all", "tags_none"))] = rng.sample(TAGS, 1)
        if self.maybe(0.2):
            asked["priority"] = rng.choice(("critical", "urgent", "normal"))
        if self.maybe(0.2):
            asked["session"] = rng.choice(SESSIONS)
        if self.maybe(0.3):
            states = ("delayed", "waiting", "leased", "backoff", "acked", "dead", "expired", "withdrawn")
            asked |= {"state": rng.choice(states), "group": rng.choice(GROUPS)}
        if self.maybe(0.3):
            asked["order"] = "desc"
        return Call(self.who(), "mailbox_query", asked)


def edges(model: Model) -> list[int]:
    """The times at which something changes, soonest first."""
    found: set[int] = set()
    for box in model.boxes.values():
        window = box.settings["dedup_window_s"] * 1000
        found |= {key[1] + window for key in box.keys.values()}
        found |= {box.registered.seen_at + PRESENCE_MS} if box.registered else set()
        found |= {mail.at for mail in box.live()} | {mail.expires or 0 for mail in box.live()}
        found |= {place.until for _, _, place in box.owed()} | {box.expires or 0}
    found |= {talk.at + times * SESSION_IDLE_MS for talk in model.talks.values() for times in (1, 2)}
    found |= {time for task in model.tasks.values() for time in task.times()}
    return sorted(at for at in found if at >= model.now)
