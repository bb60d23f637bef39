"""Agents of the model: registered, heard of, missed, unregistered; an agent is a part of its mailbox.

Written from the contract alone, like all of the model.
"""

from __future__ import annotations

import re
from typing import Any

from tests.simulation.sending import Sending
from tests.simulation.sessions import Refusal, Who
from tests.simulation.shelf import TIERS, Box, Registration, Shape

PRESENCE_MS = 120_000


class Registering(Sending):
    """Mailboxes that may be agents'."""

    # -- signs of life

    def hear(self, who: Who) -> Registration | None:
        """The agent that calls is alive; the one that a stranger of its name calls as is not."""
        box = self.boxes.get(who[1])
        if box is None or box.registered is None or box.owner != who[0]:
            return None
        box.registered.seen_at = self.now
        return box.registered

    def _answer_to_life(self, who: Who) -> None:
        """Who was away and calls is available."""
        agent = self.hear(who)
        if agent is not None and agent.status == "away":
            agent.become("available", agent.load, agent.note)
            self._record()

    # -- commands

    def _agent_register(self, who: Who, asked: Shape, _: float) -> Shape:
        card = asked["card"]
        name = asked.get("name") or re.sub("[^a-z0-9._-]+", "-", card["name"].lower())
        box = self.boxes.get(name)
        if box is not None and box.owner != who[0]:
            raise Refusal("MAILBOX_EXISTS")
        box = box or self._make_box(name, who[0], {}, agent=True)
        known = box.registered
        version = known.version + 1 if known else 1
        opened = known.opened if known else not box.agent
        box.registered = Registration(version, card, opened, seen_at=self.now)
        box.agent = True
        return {"agent": _view(box) | {"card": card}, "created": known is None}

    def _registered(self, who: Who, name: str) -> tuple[Box, Registration]:
        box = self.boxes.get(name)
        if box is None or box.registered is None:
            raise Refusal("AGENT_NOT_FOUND")
        if box.owner != who[0]:
            raise Refusal("FORBIDDEN")
        return box, box.registered

    def _agent_report(self, who: Who, asked: Shape, _: float) -> Shape:
        box, agent = self._registered(who, asked.get("name", who[1]))
        said = asked["status"], asked.get("load"), asked.get("note")
        if agent.status != asked["status"]:
            agent.become(*said)
        _, agent.load, agent.note = said
        agent.seen_at = self.now
        counts = dict.fromkeys(TIERS, 0)
        for tier in self._waiting(box):
            counts[TIERS[tier]] += 1
        return {
            "agent": _view(box),
            "cancel_requested": self.canceled_work(who, box.address),
            "waiting": counts,
        }

    def _waiting(self, box: Box) -> list[int]:
        """The tiers of what waits in ``default``, or would if it were made now; old mail aside."""
        group = box.groups.get("default")
        if group is not None:
            places = [(mail, place) for one, mail, place in box.owed() if one is group]
            return [mail.tier for mail, place in places if place.standing(self.now) == "waiting"]
        shown = [mail for mail in box.live() if mail.shown and not mail.ending]
        return [mail.tier for mail in shown if mail.only in (None, "default")]

    def _agent_unregister(self, who: Who, asked: Shape, _: float) -> Shape:
        box, agent = self._registered(who, asked["name"])
        box.registered = None
        box.agent = not agent.opened
        if asked.get("delete_mail"):
            self.note("dropped", self.boxes.pop(box.address))
        return {"unregistered": asked["name"]}

    def _agent_discover(self, _: Who, asked: Shape, __: float) -> Shape:
        found = []
        for _address, box in sorted(self.boxes.items()):
            agent = box.registered
            if agent is None or asked.get("status") not in (None, agent.status):
                continue
            tags = [tag for skill in agent.card["skills"] for tag in skill["tags"]]
            if not asked.get("tags_any") or set(tags) & set(asked["tags_any"]):
                found.append(_view(box) | {"card": agent.card})
        page = found[: asked.get("limit", 20)]
        return {"agents": page, "remaining": len(found) - len(page)}


def _view(box: Box) -> dict[str, Any]:
    agent = box.registered
    assert agent is not None
    view = {"name": box.address, "mailbox": box.address, "version": agent.version, "status": agent.status}
    said = {"load": agent.load, "note": agent.note}
    return view | {name: value for name, value in said.items() if value is not None}
