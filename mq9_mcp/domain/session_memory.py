"""The sessions that memory knows, least recently changed first: named ones, and own ones that were joined.

How a session stands follows from its record and the time; no event says that it has become idle. What
is gone by time, or was pushed out by younger ones, leaves from the front.
"""

from __future__ import annotations

from collections import OrderedDict
from sys import intern

from mq9_mcp.domain.events import SessionRecord
from mq9_mcp.domain.limits import limit

IDLE_MS = limit("session_idle_s") * 1000
TURNS_MAX = limit("turns_max")
PLACES_MAX = limit("session_places_in_memory")


def status(record: SessionRecord, now: int) -> str:
    """``open``, ``halted``, ``closed``, or ``gone``: closed for so long that its name is free again."""
    rests = now - record.at
    if record.closed:
        return "closed" if rests < IDLE_MS else "gone"
    if rests >= IDLE_MS:
        return "closed" if rests < 2 * IDLE_MS else "gone"
    return "halted" if record.turns >= turns_max(record) else "open"


def turns_max(record: SessionRecord) -> int:
    """How many messages the session takes in all."""
    return record.turns_max or TURNS_MAX


def places(record: SessionRecord) -> int:
    """What the record costs in memory, in places."""
    return 1 + len(record.mailboxes) + len(record.senders)


class Sessions:
    """Records by name. ``spilled``: the tables may have some that are not here."""

    __slots__ = ("known", "places", "spilled")

    def __init__(self) -> None:
        self.known: OrderedDict[str, SessionRecord] = OrderedDict()
        self.places = 0
        self.spilled = False

    def get(self, name: str) -> SessionRecord | None:
        """The record of a session, if memory has it."""
        return self.known.get(name)

    def keep(self, record: SessionRecord) -> None:
        """Know a session as ``record`` says, whatever was known of it before."""
        self.forget(record.name)
        self.known[record.name] = record
        self.places += places(record)

    def forget(self, name: str) -> None:
        """Know nothing of a session."""
        record = self.known.pop(name, None)
        if record is not None:
            self.places -= places(record)

    def join(self, name: str, mailbox: int, sender: str, at: int) -> None:
        """A message was stored in the session, which it opens at need."""
        record = self.known.get(name)
        if record is not None and status(record, at) == "gone":
            self.forget(name)
            record = None
        if record is None:
            self.keep(SessionRecord(name, 1, 0, at, (mailbox,), (intern(sender),)))
        else:
            record.turns += 1
            record.at = at
            if mailbox not in record.mailboxes:
                record.mailboxes += (mailbox,)
                self.places += 1
            if sender not in record.senders:
                record.senders += (intern(sender),)
                self.places += 1
            self.known.move_to_end(name)
        self.trim(at)

    def attach(self, name: str, mailbox: int, at: int) -> None:
        """A message of the session moved into another mailbox; that is no turn, and no sign of life."""
        record = self.known.get(name)
        if record is not None and mailbox not in record.mailboxes:
            record.mailboxes += (mailbox,)
            self.places += 1
            self.trim(at)

    def close(self, name: str, at: int) -> None:
        """The session takes no more messages."""
        record = self.known[name]
        record.closed, record.at = True, at
        self.known.move_to_end(name)
        self.trim(at)

    def reopen(self, name: str, turns_max: int, at: int) -> None:
        """The session takes messages again."""
        record = self.known[name]
        record.closed, record.at, record.turns_max = False, at, turns_max
        self.known.move_to_end(name)
        self.trim(at)

    def trim(self, now: int) -> None:
        """Drop from the front what is gone by ``now``, and what there is no room for."""
        while self.known:
            oldest = next(iter(self.known.values()))
            if status(oldest, now) != "gone":
                if self.places <= PLACES_MAX:
                    return
                self.spilled = True
            self.forget(oldest.name)
