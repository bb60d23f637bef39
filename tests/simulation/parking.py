"""Intents of the model: who gets work that names nobody, what waits for an agent, and who comes for it.

Written from the contract alone, like all of the model. How well an agent fits is a matter of the text: here
it says so itself, as "ann=0.9 ben=0.3-", where a dash stands behind whoever does not fit.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.simulation.agents import Registering
from tests.simulation.sessions import Refusal, Who
from tests.simulation.shelf import Box, Group, Mail, Shape, Wish

PARKED = "mq9.parked"
NEAR = 0.02
DAY_S = 86_400
STATUSES = ("available", "busy", "away")


class Fit(NamedTuple):
    """How well an agent fits, as the text has it."""

    name: str
    score: float
    fits: bool


def fits_in(text: str) -> list[Fit]:
    """Who is named in the text of an intent."""
    named = (word.split("=") for word in text.split())
    return [Fit(name, float(score.rstrip("-")), not score.endswith("-")) for name, score in named]


class Parking(Registering):
    """Mailboxes of agents that work may find without an address."""

    # -- sending by intent

    def routed(self, who: Who, asked: Shape, parts: list[Shape]) -> list[Shape] | Shape:
        """The receipts of a repeated send; else the message with its address, or with what it waits for."""
        box = self.boxes.get(PARKED)
        if "dedup_key" in asked:
            box = box or self._make_box(PARKED, "mq9", {})
            known = self._known(box, asked, parts)
            if known is not None:
                found = self._find(known[0])
                address = PARKED if known[5] or found is None else found[0].address
                return [self._receipt(address, known, True)]
        chosen = self._best(who, asked["intent"])
        if chosen is not None:
            return {**asked, "to": chosen.address}
        if not asked.get("park"):
            raise Refusal("NO_MATCHING_AGENT")
        box = box or self._make_box(PARKED, "mq9", {})
        wish = Wish(asked["intent"], who, self.now, parts, asked.get("state_key"), asked.get("dedup_key"))
        parked = {**asked, "to": PARKED, "wish": wish}
        if "ttl_s" not in asked and "expires_at" not in asked:
            parked["ttl_s"] = DAY_S
        return parked

    def _best(self, who: Who, intent: Shape, mail: Mail | None = None) -> Box | None:
        """The readiest of those that fit nearly as well as the best; ``mail``: it must be able to take it."""
        able = [(fit, box) for fit, box in self._able(who, intent) if mail is None or self._takes(box, mail)]
        if not able:
            return None
        best = max(fit.score for fit, _ in able)
        near = [(self._readiness(fit, box), box) for fit, box in able if best - fit.score <= NEAR]
        return min(near, key=lambda one: one[0])[1]

    def _able(self, who: Who, intent: Shape) -> list[tuple[Fit, Box]]:
        found = []
        for fit in fits_in(intent["text"]):
            box = self.boxes.get(fit.name)
            if box is None or box.registered is None or fit.name == who[1]:
                continue
            skills = box.registered.card["skills"]
            tags = {tag for skill in skills for tag in skill["tags"]}
            if intent.get("tags") and not tags & set(intent["tags"]):
                continue
            if "skill" in intent and intent["skill"] not in [skill["id"] for skill in skills]:
                continue
            if box.registered.status != "offline" and (fit.fits or "skill" in intent):
                found.append((fit, box))
        return found

    def _readiness(self, fit: Fit, box: Box) -> tuple[int, float, float, str]:
        agent = box.registered
        assert agent is not None
        load = 0.5 if agent.load is None else agent.load
        return STATUSES.index(agent.status), round(load, 1), -fit.score, fit.name

    # -- what waits

    def waits(self) -> dict[int, Mail]:
        """What is parked."""
        box = self.boxes.get(PARKED)
        return {mail.id: mail for mail in box.live() if mail.wish} if box is not None else {}

    def _own_waits(self, who: Who) -> dict[int, Mail]:
        return {id: mail for id, mail in self.waits().items() if mail.wish and mail.wish.who[0] == who[0]}

    def take_back(self, who: Who, ids: list[int]) -> Shape:
        """A sender deletes what it parked."""
        own = self._own_waits(who)
        if not own.keys() >= set(ids):
            raise Refusal("MESSAGE_NOT_FOUND")
        box = self.boxes[PARKED]
        for id in dict.fromkeys(ids):
            self.note("deleted", box, None, own[id])
            del box.mails[id]
        return {"deleted": len(set(ids))}

    # -- who comes for it

    def _unpark(self, _: Who, asked: Shape, __: float) -> Shape:
        given: dict[str, list[int]] = {}
        held = []
        for id in asked["ids"]:
            mail = self.waits().get(id)
            if mail is None or mail.wish is None:
                continue
            box = self._best(mail.wish.who, mail.wish.intent, mail)
            if box is not None:
                self._give(mail, mail.wish, box)
                given.setdefault(box.address, []).append(id)
            elif self._able(mail.wish.who, mail.wish.intent):
                held.append(id)
        delivered = [{"id": id, "mailbox": address} for address, ids in given.items() for id in ids]
        return {"delivered": delivered, "held": held}

    def _takes(self, box: Box, mail: Mail) -> bool:
        wish, default = mail.wish, box.groups.get("default")
        assert wish is not None
        if default is not None and not _wants(default, mail, max(self.now + 1, mail.at)):
            return False
        if wish.key is None and box.settings["exactly_once"]:
            return False
        known = box.keys.get(wish.key) if wish.key is not None else None
        if known is not None and self._counts(box, known[1]):
            return False
        return self._full(box) is None

    def _counts(self, box: Box, at: int) -> bool:
        once: bool = box.settings["exactly_once"]
        return once or self.now - at < box.settings["dedup_window_s"] * 1000

    def _give(self, mail: Mail, wish: Wish, box: Box) -> None:
        """The message moves, with its id, to the end of the line; its task and session with it."""
        del self.boxes[PARKED].mails[mail.id]
        mail.at, mail.shown, mail.key, mail.wish = max(self.now + 1, mail.at), False, wish.state_key, None
        mail.places = {}
        box.mails = dict(sorted((box.mails | {mail.id: mail}).items()))
        task = self.tasks.get(mail.task or "")
        if task is not None and task.work == mail.id:
            task.box, task.address, task.owner = box.number, box.address, box.owner
        talk = self.talks.get(mail.session)
        if talk is not None:
            talk.boxes = talk.boxes | {box.number}
        if wish.key is not None and self._counts(box, wish.at):
            box.keys[wish.key] = (mail.id, wish.at, wish.parts, mail.session, mail.task, False)


def _wants(group: Group, mail: Mail, at: int) -> bool:
    return mail.id >= group.start[0] or at > group.start[1]
