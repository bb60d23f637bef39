"""What time does to a mailbox of the model, and what can happen to a message in it.

Written from the contract alone, like all of the model. Where the contract leaves the broker a freedom, a
comment that begins with "Freedom" names the choice that both make, or what is not compared.
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, NamedTuple, Self

from tests.simulation.shelf import DEFAULTS, Box, Group, Mail, Place, Shape, iso

NEVER = 2**62
IDLE_MS = 604_800_000
GRACE_MS = IDLE_MS // 100
RESTART_MS = 30_000
PAST_MAX = 16


BROKER = "mq9.broker"


class Note(NamedTuple):
    """Something that happened to a message, a group or a mailbox, for what hangs on them."""

    what: str
    box: Box
    group: Group | None = None
    mail: Mail | None = None
    more: Any = None


class Passing(ABC):
    """All mailboxes, and the time."""

    def __init__(self) -> None:
        self.now = 0
        self.next = {"mail": 1, "box": 1, "group": 1, "lease": 1, "fetch": 1}
        self.boxes: dict[str, Box] = {}
        self.leases: dict[str, tuple[str, int, int]] = {}  # token: address, message, group
        self.talks: dict[str, Any] = {}  # sessions by name
        self.notes: list[Note] = []  # of the change under way
        self.by = BROKER  # who makes it
        self.trail: list[bytes] | None = None  # the model after each change, while somebody asks for it

    def save(self) -> bytes:
        """Everything it knows."""
        return pickle.dumps((self.now, self.next, self.boxes, self.leases, self.talks))

    def load(self, saved: bytes) -> None:
        """Become what was saved."""
        self.now, self.next, self.boxes, self.leases, self.talks = pickle.loads(saved)
        self.notes = []

    def loaded(self, saved: bytes) -> Self:
        """The same, to go on with."""
        self.load(saved)
        return self

    def plain(self) -> list[Any]:
        """What can ever be seen of it; groups may have other numbers in the same order."""
        boxes = list(self.boxes.values())
        numbers = {number for box in boxes for mail in box.mails.values() for number in mail.places}
        numbers |= {group.number for box in boxes for group in box.groups.values()}
        rank = {number: index for index, number in enumerate(sorted(numbers))}
        plain: list[Any] = [self.next["mail"]]
        addresses = {box.number: box.address for box in boxes}
        for name, talk in sorted(self.talks.items()):
            plain.append(
                (name, replace(talk, boxes={addresses[one] for one in talk.boxes & addresses.keys()}))
            )
        for box in boxes:
            groups = {name: replace(group, number=rank[group.number]) for name, group in box.groups.items()}
            mails = {id: replace(mail, places={}) for id, mail in box.mails.items()}
            for id, mail in box.mails.items():
                for number, place in mail.places.items():
                    token = "?" if place.token.startswith("?") else place.token
                    mails[id].places[rank[number]] = replace(place, token=token)
            plain.append(replace(box, number=0, groups=groups, mails=mails))
        return plain

    def _record(self, *boxes: Box) -> None:
        """A change is over: what no group owes any more is settled."""
        self.follow()
        for box in boxes:
            owed = {mail.id for _, mail, _ in box.owed()}
            for mail in box.live():
                if mail.shown and box.groups and mail.id not in owed and not self.awaited(box, mail):
                    mail.ended_at = self.now
        if self.trail is not None:
            self.trail.append(self.save())

    def note(self, what: str, box: Box, *about: Any) -> None:
        """Remember what happened until the change is over."""
        self.notes.append(Note(what, box, *about))

    @abstractmethod
    def follow(self) -> None:
        """What the change under way means to tasks."""

    @abstractmethod
    def awaited(self, box: Box, mail: Mail) -> bool:
        """True if the message waits for the group ``default``, which is not there."""

    @abstractmethod
    def _timeouts(self, box: Box) -> bool:
        """Tasks whose time is over."""

    def _number(self, kind: str) -> int:
        self.next[kind] += 1
        return self.next[kind] - 1

    # -- time

    def pass_time(self, now: int) -> None:
        """Do what has come due. Freedom: what falls due together is done in these stages, by mailbox."""
        self.now = now
        who, self.by = self.by, BROKER
        self._show_due()
        for stage in (
            self._lives,
            self._lapses,
            self._expiries,
            self._idle,
            self._away,
            self._timeouts,
        ):
            for box in list(self.boxes.values()):
                if stage(box):
                    self._record(box)
        self.by = who

    def restart(self, now: int | None) -> None:
        """After a restart leases last a while; a rebuild in place (``None``) leaves them as they are."""
        for box in self.boxes.values():
            box.closed_till = 0  # Freedom: full dead letters are tried again at once
            for _, _, place in box.owed():
                if now is not None and place.state == "leased":
                    place.until = max(place.until, now + RESTART_MS)
            for group in box.groups.values():
                group.fuzzy = True
            if box.registered is not None:
                box.registered.load, box.registered.note = box.registered.kept
                box.registered.seen_at = max(box.registered.seen_at, now or 0)

    def clear_of(self, now: int) -> int:
        """Freedom: after a restart idle groups have a grace. The first time from ``now`` on outside of it."""
        groups = [group for box in self.boxes.values() for group in box.groups.values() if group.fuzzy]
        for idle in sorted(group.fetched_at + IDLE_MS for group in groups if group.name != "default"):
            now = idle + GRACE_MS if idle - GRACE_MS <= now < idle + GRACE_MS else now
        return now

    def spent(self, box: Box, now: int) -> list[int]:
        """Freedom: when exactly retention removes settled mail that is old enough."""
        last = now - box.settings["retention"]["age_s"] * 1000
        return [mail.id for mail in box.mails.values() if mail.ended_at is not None and mail.ended_at <= last]

    def _lives(self, box: Box) -> bool:
        if box.expires is not None and box.expires <= self.now:
            self.note("dropped", self.boxes.pop(box.address))
        return box.address not in self.boxes

    def _show_due(self) -> None:
        """Delayed mail of every mailbox, before anything follows from it."""
        notes = []
        for box in list(self.boxes.values()):
            if self._visible(box):
                notes.append((box, self.notes))
                self.notes = []
        if notes:
            for _, self.notes in notes:
                self.follow()
            self._record(*(box for box, _ in notes))

    def _visible(self, box: Box) -> bool:
        if box.expires is not None and box.expires <= self.now:
            return False
        due = [mail for mail in box.live() if not mail.shown and mail.at <= self.now]
        for mail in sorted(due, key=lambda one: (one.at, one.id)):
            self._show(box, mail)
            if mail.only is not None and mail.only not in box.groups and box.groups:
                self._supersede(box, mail, "withdrawn")  # its group has ended meanwhile
        new = {mail.id for mail in due}
        self.notes.sort(key=lambda note: note.mail is None or note.mail.id not in new)  # Freedom
        return bool(due)

    def _lapses(self, box: Box) -> bool:
        due = [one for one in box.owed() if one[2].state == "leased" and one[2].until <= self.now]
        for group, mail, place in due:
            full = None
            if mail.ending:
                self._close(box, group, mail, place, "")
                continue
            if self._last(box, place):
                full = self._die(box, group, mail, "max_attempts", place.attempts + 1)
                if full is None:
                    continue
            place.attempts += 1
            place.lapsed = True
            place.state = "backoff" if full else "waiting"
            place.until = self.now + self._patience(box)
            self.note("returned", box, group, mail, "lease_expired")
        return bool(due)

    def _expiries(self, box: Box) -> bool:
        letters = box.settings["dead_letter_expired"]
        if letters and self.now < box.closed_till:
            return False
        due = [mail for mail in box.live() if not mail.ending and (mail.expires or NEVER) <= self.now]
        for mail in due:
            if letters and not self._letters(box, mail):
                box.closed_till = self.now + self._patience(box)
            else:
                self._supersede(box, mail, "expired")
        return bool(due)

    def _letters(self, box: Box, mail: Mail) -> bool:
        """A dead letter for every group that has not settled the expired message and does not hold it."""
        if not box.groups:
            return self._die(box, None, mail, "expired", 0) is None
        for group in box.groups.values():
            place = group.owes(mail)
            if place and place.state != "leased" and self._die(box, group, mail, "expired", place.attempts):
                return False
        return True

    def _idle(self, box: Box) -> bool:
        over = [
            group
            for group in box.groups.values()
            if group.name != "default" and group.fetched_at + IDLE_MS + group.fuzzy * GRACE_MS <= self.now
        ]
        for group in over:
            self._end_group(box, group, "idle")
            self._record(box)
        return bool(over)

    def _away(self, box: Box) -> bool:
        """Who is available and silent for too long is away; all others said what they are."""
        agent = box.registered
        missed = agent is not None and agent.status == "available" and agent.seen_at + 120_000 <= self.now
        if agent is not None and missed:
            agent.become("away", agent.load, agent.note)
        return missed

    # -- what happens to a message

    def _show(self, box: Box, mail: Mail) -> None:
        if mail.key is not None:
            self._replace(box, mail.key)
        mail.shown = True
        for group in box.groups.values():
            if mail.only in (None, group.name):
                mail.places[group.number] = Place()

    def _replace(self, box: Box, key: str) -> None:
        """Latest wins. Freedom: settled mail that a group is about to read again is no older copy."""
        owed = {mail.id for _, mail, _ in box.owed()}
        for mail in box.live():
            if mail.key == key and mail.shown and not mail.ending and (mail.id in owed or not box.groups):
                self._supersede(box, mail, "withdrawn")

    def _supersede(self, box: Box, mail: Mail, state: str) -> None:
        """Expired or replaced: whoever holds a lease may still settle, all others let go."""
        mail.ending = state
        self.note("superseded", box, None, mail)
        places = [place for group in box.groups.values() if (place := group.owes(mail))]
        for place in places:
            place.state = place.state if place.state == "leased" else state
        if all(place.state == state for place in places):
            mail.ended_at = self.now

    def _close(self, box: Box, group: Group, mail: Mail, place: Place, outcome: str) -> None:
        """The lease on a message that has expired or was replaced is over."""
        assert mail.ending
        attempts = place.attempts + (outcome != "release")
        letter = mail.ending == "expired" and box.settings["dead_letter_expired"]
        if not letter or self._die(box, group, mail, "expired", attempts, outcome=outcome):
            place.state, place.outcome = mail.ending, outcome
            self.note("closed", box, group, mail)

    def _forget_lease(self, place: Place, outcome: str) -> None:
        place.past[place.token] = (outcome, None)
        while len(place.past) > PAST_MAX:
            del place.past[next(iter(place.past))]
        place.lapsed = False

    def _back_off(self, place: Place, wait: int) -> None:
        place.attempts += not place.lapsed  # a lease that ran out was counted then
        self._forget_lease(place, "nack")
        place.state, place.until = "backoff", self.now + wait

    def _nack(self, box: Box, group: Group, mail: Mail, place: Place, item: Shape, chance: float) -> None:
        first, attempts = box.settings["backoff_first_s"], place.attempts + (not place.lapsed)
        wait = round((first << min(max(1, attempts) - 1, 32)) * 1000 * (1 + 0.2 * chance))
        wait = min(wait, box.settings["backoff_max_s"] * 1000)
        if item.get("delay_s") is not None:
            wait = round(item["delay_s"] * 1000)
        if not place.lapsed and self._last(box, place):
            reason = item.get("reason") or "max_attempts"
            if self._die(box, group, mail, reason, attempts, outcome="nack") is None:
                return
            wait = self._patience(box)
        self._back_off(place, wait)

    def _last(self, box: Box, place: Place) -> bool:
        most: int = box.settings["max_attempts"]
        return 0 < most <= place.attempts + 1

    def _patience(self, box: Box) -> int:
        """Freedom: how long a message waits that finds its dead letters full."""
        longest: int = box.settings["backoff_max_s"]
        return max(1, longest) * 1000

    def _full(self, box: Box) -> str | None:
        return "MAILBOX_FULL" if box.unsettled() >= box.settings["messages_max"] else None

    def _die(
        self, box: Box, group: Group | None, mail: Mail, reason: str, attempts: int, **extra: str | None
    ) -> str | None:
        """A copy goes to the dead letters; the code of what is in the way, if something is."""
        address = box.settings["dead_letter"]
        target = self.boxes.get(address) or self._make_box(address, box.owner, {"max_attempts": 0})
        if target.owner != box.owner:
            return "FORBIDDEN"
        if full := self._full(target):
            return full
        place = mail.places[group.number] if group else Place()
        letter = {"id": mail.id, "source": box.address, "group": group.name if group else "default"}
        letter |= {"reason": reason, "attempts": attempts}
        if extra.get("description") is not None:
            letter["description"] = extra["description"]
        if place.first_at:
            letter |= {"first_attempt_at": iso(place.first_at), "last_attempt_at": iso(place.last_at)}
        self._copy(mail, target, self.now, letter=letter)
        self.note("died", box, group, mail, (letter, extra.get("outcome")))
        place.state, place.attempts, place.outcome = "dead", attempts, extra.get("outcome") or ""
        return None

    def _copy(self, mail: Mail, to: Box, at: int, **extra: Any) -> Mail:
        copy = Mail(self._number("mail"), mail.tier, at, None, mail.session, mail.tags, mail.body, **extra)
        to.mails[copy.id] = copy
        if at <= self.now:
            self._show(to, copy)
        return copy

    # -- lives

    def _make_box(self, address: str, owner: str, given: Shape, agent: bool = False) -> Box:
        settings = {**DEFAULTS, "dead_letter": f"{address}.dead", **given}
        ttl = settings.get("ttl_s")
        expires = self.now + ttl * 1000 if ttl else None
        box = Box(self._number("box"), address, owner, settings, agent, self.now, expires)
        self.boxes[address] = box
        return box

    def _make_group(self, box: Box, name: str, start: tuple[int, int]) -> None:
        group = Group(self._number("group"), name, start, self.now)
        for mail in box.mails.values():
            if not mail.shown or mail.ending or not group.wants(mail):
                continue
            if mail.ended_at is None:
                mail.places[group.number] = Place()
            elif mail.only is None:
                group.again.append(mail.id)
        box.groups[name] = group
        self.note("group_made", box, group)

    def _end_group(self, box: Box, group: Group, reason: str) -> None:
        """Its leases are lost; what waited only for the mailbox's last group waits for the next."""
        del box.groups[group.name]
        for mail in box.mails.values():
            if group.owes(mail):
                self.note("group_ended", box, group, mail, f"group_{reason}")
                del mail.places[group.number]
                if mail.ending and not any(other.owes(mail) for other in box.groups.values()):
                    mail.ended_at = self.now
