"""Sessions of the model: who joins them, when they are over, what a caller sees of them.

Written from the contract alone, like all of the model. A session is kept for ever here; how it stands is
worked out from its last change whenever somebody asks.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tests.simulation.passing import Passing
from tests.simulation.shelf import Box, Shape, iso, mail_view

IDLE_MS = 30 * 86_400_000
TURNS_MAX = 1_000
TURNS_MOST = 1_000_000
Who = tuple[str, str]  # principal, agent
Ground = tuple[str, int, str]  # a message's session, mailbox and sender


class Refusal(Exception):
    """The command is refused with this code, and changes nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Talk:
    """What is remembered of a session that is named, or that a second message joined."""

    turns: int
    at: int
    most: int = TURNS_MAX
    closed: bool = False
    boxes: set[int] = field(default_factory=set)
    senders: set[str] = field(default_factory=set)

    def standing(self, now: int) -> str:
        """Open till it was idle for long, closed for as long again; then nobody knows of it."""
        rests = (now - self.at) // IDLE_MS + self.closed
        if rests:
            return "closed" if rests == 1 else "gone"
        return "halted" if self.turns >= self.most else "open"


class Talking(Passing):
    """Mailboxes with sessions across them."""

    @abstractmethod
    def states(self, who: Who, session: str) -> list[tuple[Any, ...]]:
        """To what states the tasks of a session came, each with its place there."""

    def _talk(self, name: str, ground: Ground | None = None) -> Talk | None:
        """The session; a message alone in its own is one of one message."""
        talk: Talk | None = self.talks.get(name)
        if talk is not None and talk.standing(self.now) != "gone":
            return talk
        firsts = [
            (name, box.number, mail.body["from"])
            for box in self.boxes.values()
            for mail in box.mails.values()
            if mail.session == name == f"mq9.{mail.id}"
        ]
        if ground is not None and ground[0] == name and name.startswith("mq9."):
            firsts.append(ground)
        if not firsts:
            return None
        _, box, sender = firsts[0]
        return Talk(1, self.now, boxes={box}, senders={sender})

    def _reads(self, who: Who, talk: Talk) -> list[Box]:
        return [box for box in self.boxes.values() if box.number in talk.boxes and box.owner == who[0]]

    def take_turn(self, who: Who, name: str, ground: Ground | None, box: Box) -> None:
        """One more message of ``who`` in the session, in ``box``; or a refusal."""
        talk = self._talk(name, ground)
        if talk is None:
            if name.startswith("mq9."):
                raise Refusal("SESSION_NOT_FOUND")
            talk = Talk(0, self.now, senders={who[1]})
        grant = ground is not None and ground[0] == name
        if not grant and who[1] not in talk.senders and not self._reads(who, talk):
            raise Refusal("SESSION_NOT_FOUND")
        standing = talk.standing(self.now)
        if standing != "open":
            raise Refusal("SESSION_CLOSED" if standing == "closed" else "LOOP_GUARD")
        self.turn(name, talk, who[1], box)

    def turn(self, name: str, talk: Talk, sender: str, box: Box) -> None:
        """One more message in the session."""
        boxes, senders = talk.boxes | {box.number}, talk.senders | {sender}
        self.talks[name] = replace(talk, turns=talk.turns + 1, at=self.now, boxes=boxes, senders=senders)

    def _managed(self, who: Who, name: str) -> Talk:
        talk = self._talk(name)
        if talk is None or not (self._reads(who, talk) or who[1] in talk.senders):
            raise Refusal("SESSION_NOT_FOUND")
        if not self._reads(who, talk):
            raise Refusal("FORBIDDEN")
        return talk

    def _talk_view(self, who: Who, name: str, talk: Talk) -> Shape:
        view = {"id": name, "state": talk.standing(self.now), "turns": talk.turns, "turns_max": talk.most}
        addresses = sorted(box.address for box in self._reads(who, talk))
        return view | {"mailboxes": addresses, "changed_at": iso(talk.at)}

    # -- the commands

    def _session_close(self, who: Who, asked: Shape, _: float) -> Shape:
        name = asked["session"]
        talk = self._managed(who, name)
        if talk.standing(self.now) != "closed":
            talk = self.talks[name] = replace(talk, closed=True, at=self.now)
        return {"session": self._talk_view(who, name, talk)}

    def _session_reopen(self, who: Who, asked: Shape, _: float) -> Shape:
        name = asked["session"]
        talk = self._managed(who, name)
        most = asked.get("turns_max", min(talk.turns + TURNS_MAX, TURNS_MOST))
        if most <= talk.turns:
            raise Refusal("INVALID_ARGUMENT")
        talk = self.talks[name] = replace(talk, closed=False, at=self.now, most=most)
        return {"session": self._talk_view(who, name, talk)}

    def _session_list(self, who: Who, asked: Shape, _: float) -> Shape:
        named = sorted((name, talk) for name, talk in self.talks.items() if talk.standing(self.now) != "gone")
        views = [
            self._talk_view(who, name, talk)
            for name, talk in named
            if who[1] in talk.senders or self._reads(who, talk)
        ]
        views = [view for view in views if asked.get("state") in (None, view["state"])]
        page = views[: asked["limit"]]
        reply: Shape = {"sessions": page, "remaining": min(1_000, len(views) - len(page))}
        return reply | ({"next_cursor": page[-1]["id"]} if reply["remaining"] else {})

    def _session_get(self, who: Who, asked: Shape, _: float) -> Shape:
        name = asked["session"]
        every = [
            (mail.id, box, mail)
            for box in self.boxes.values()
            for mail in box.mails.values()
            if mail.session == name
        ]
        mine = [one for one in every if one[1].owner == who[0] or one[2].body["from"] == who[1]]
        addresses = {box.address for _, box, _ in mine}
        talk = self.talks.get(name)
        if talk is not None and talk.standing(self.now) != "gone":
            reads = self._reads(who, talk)
            if not (mine or reads or who[1] in talk.senders):
                raise Refusal("SESSION_NOT_FOUND")
            state, turns = talk.standing(self.now), talk.turns
            addresses |= {box.address for box in reads}
        else:
            if not mine:
                raise Refusal("SESSION_NOT_FOUND")
            sent = sum(mail.letter is None and mail.only is None for _, _, mail in every)
            alone = name.startswith("mq9.") and sent <= 1
            state, turns = ("open", 1) if alone else ("closed", sent)
        after = asked.get("after", 0)
        found = [((mail.id, ""), {"kind": "message", **mail_view(box, mail)}) for _, box, mail in mine]
        found += self.states(who, name)
        shown = sorted((one for one in found if one[0] > (after, "")), key=lambda one: one[0])
        page: list[Any] = shown[: asked["limit"]]
        session = {"id": name, "state": state, "mailboxes": sorted(addresses), "turns": turns}
        reply: Shape = {"session": session, "entries": [view for _, view in page]}
        return reply | ({"next_after": _after(page[-1][0])} if len(shown) > len(page) else {})


def _after(place: tuple[Any, ...]) -> str:
    """How a place in a session is written: a message, or the state of a task behind one."""
    if len(place) == len(("message", "")):
        return str(place[0])
    message, at, first, number = place
    return f"{message}.{round(datetime.fromisoformat(at).timestamp() * 1000)}.{first}.{number}"
