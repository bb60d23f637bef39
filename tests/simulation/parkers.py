"""Callers at random who send by intent, park, take back, and a broker that brings together who fits."""

from __future__ import annotations

from tests.simulation.callers import AGENTS, TAGS, Call
from tests.simulation.model import Model
from tests.simulation.parking import PARKED
from tests.simulation.shelf import Shape
from tests.simulation.workers import Workers

BROKER = ("mq9", "mq9.broker")
SHARE = 0.4  # of all commands


class Parkers(Workers):
    """Beside all other commands, those about work that names nobody."""

    def draw(self, model: Model) -> Call:
        """Any command."""
        if self.maybe(1 - SHARE):
            return super().draw(model)
        kinds = [(self.wish, 9), (self.come, 6), (self.take_back, 1), (self.look_at_parked, 1)]
        kinds += [(self.register_one, 4), (self.report, 2)]
        [kind] = self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        call = kind(model)
        self.recent.append(call)
        return call

    def address(self, model: Model) -> str:
        """A mailbox, the broker's own aside, which has calls of its own."""
        found = super().address(model)
        return found if found != PARKED else "nowhere"

    def wish(self, model: Model) -> Call:
        """Work for whoever fits, mostly parked where nobody does."""
        message = self.message(model)
        for name in ("to", "in_reply_to"):
            message.pop(name, None)
        if isinstance(message.get("task"), str):
            del message["task"]
        if self.maybe(0.4):
            message |= {"dedup_key": f"key-{self.rng.randint(0, 5)}", "text": "same"}
        intent: Shape = {"text": self.fits(model)}
        if self.maybe(0.1):
            intent["tags"] = self.rng.sample(TAGS, 1)
        if self.maybe(0.1):
            intent["skill"] = self.rng.choice(("s", "none"))
        message |= {"intent": intent, "park": self.maybe(0.85)}
        return Call(self.who(), "mailbox_send", message)

    def fits(self, model: Model) -> str:
        """Who fits, as the text of an intent says it; the shares are far from all that is decided by them."""
        known = sorted(address for address, box in model.boxes.items() if box.registered)
        names = self.rng.sample(sorted({*AGENTS, "robot-one", "once", "small", *known}), 3)
        scores = ("0.9", "0.89", "0.5", "0.4-")
        return " ".join(f"{name}={self.rng.choice(scores)}" for name in names)

    def register_one(self, model: Model) -> Call:
        """An agent of the house, whose mailbox is sometimes one of a special kind."""
        call = self.register(model)
        call.asked["name"] = self.rng.choice((*AGENTS, "robot-one", "once", "small"))
        return call._replace(who=self.local())

    def come(self, model: Model) -> Call:
        """The broker compares what is parked with who is there."""
        waiting = sorted(model.waits())
        ids = self.rng.sample(waiting, min(len(waiting), self.rng.choice((1, 2, 20))))
        return Call(BROKER, "unpark", {"ids": [*ids, self.rng.randint(1, 2**40)]})

    def take_back(self, model: Model) -> Call:
        """A sender does not want it any more, or somebody tries."""
        waiting = sorted(model.waits()) or [1]
        ids = [self.rng.choice(waiting) for _ in range(self.rng.choice((1, 2)))]
        return Call(self.who(), "mailbox_delete", {"mailbox": PARKED, "ids": ids})

    def look_at_parked(self, model: Model) -> Call:
        """What of one's own waits."""
        asked: Shape = {"mailbox": PARKED, "limit": self.rng.choice((1, 100))}
        if self.maybe(0.3):
            asked["ids"] = [mail.id for mail in [self.mail(model)] if mail] or [1]
        return Call(self.who(), "mailbox_query", asked)
