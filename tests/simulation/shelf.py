"""What the model keeps, and how it looks on the wire. Imports nothing of the product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

Shape = dict[str, Any]

FINAL = frozenset({"acked", "dead", "expired", "withdrawn"})
TIERS = ("critical", "urgent", "normal")
DEFAULTS: Shape = {
    "max_attempts": 5,
    "dead_letter_expired": False,
    "backoff_first_s": 1,
    "backoff_max_s": 300,
    "exactly_once": False,
    "retention": {"age_s": 604_800, "bytes": 2**30},
    "messages_max": 1_000_000,
    "bytes_max": 2**30,
    "dedup_window_s": 600,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def iso(at: int) -> str:
    """A time as the wire writes it."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")[:-6] + "Z"


@dataclass(slots=True)
class Place:
    """One message in one group; ``past`` is how earlier leases of it ended, with the receipts given then."""

    state: str = "waiting"
    attempts: int = 0  # failed ones
    fence: int = 0
    token: str = ""
    until: int = 0
    worker: str = ""
    principal: str = ""
    lapsed: bool = False
    first_at: int = 0
    last_at: int = 0
    outcome: str = ""  # what the worker said in the end
    receipts: list[Shape] | None = None
    past: dict[str, tuple[str, list[Shape] | None]] = field(default_factory=dict)

    def standing(self, now: int) -> str:
        """The state; a backoff that is over is no backoff any more."""
        return "waiting" if self.state == "backoff" and self.until <= now else self.state


@dataclass(slots=True)
class Wish:
    """What a parked message waits for, for whom, and what is to count where it goes."""

    intent: Shape
    who: tuple[str, str]
    at: int
    parts: list[Shape]
    state_key: str | None
    key: str | None  # dedup_key


@dataclass(slots=True)
class Mail:
    """One message in one mailbox; ``ended_at`` once no group owes it any more."""

    id: int
    tier: int
    at: int
    expires: int | None
    session: str
    tags: list[str]
    body: Shape
    key: str | None = None  # state_key
    only: str | None = None  # the group that it was redriven to
    letter: Shape | None = None
    task: str | None = None  # the one that it belongs to
    wish: Wish | None = None  # of a parked message
    shown: bool = False
    ending: str | None = None
    ended_at: int | None = None
    places: dict[int, Place] = field(default_factory=dict)

    @property
    def line(self) -> tuple[int, int, int]:
        """Line order."""
        return (self.tier, self.at, self.id)

    def fits(self, asked: Shape) -> bool:
        """True if the message has the tags and the session that a reader asks for."""
        tags = set(self.tags)
        return (
            asked.get("session") in (None, self.session)
            and (not asked.get("tags_any") or not tags.isdisjoint(asked["tags_any"]))
            and tags.issuperset(asked.get("tags_all", ()))
            and tags.isdisjoint(asked.get("tags_none", ()))
        )


@dataclass(slots=True)
class Group:
    """A reader; ``again`` is settled mail that its next fetch brings back for it."""

    number: int
    name: str
    start: tuple[int, int]
    fetched_at: int
    fuzzy: bool = False  # a restart since the last fetch: when that was is known roughly
    again: list[int] = field(default_factory=list)

    def wants(self, mail: Mail) -> bool:
        """True if the message lies after the group's beginning, or was redriven to it."""
        if mail.only is not None:
            return mail.only == self.name
        return mail.id >= self.start[0] or mail.at > self.start[1]

    def owes(self, mail: Mail) -> Place | None:
        """The message's place in the group while the group has not settled it."""
        place = mail.places.get(self.number)
        return place if place is not None and place.state not in FINAL else None


@dataclass(slots=True)
class Registration:
    """An agent; ``kept`` is what the last change of status said, all else of heartbeats is memory."""

    version: int
    card: Shape
    opened: bool  # the mailbox was private before
    status: str = "available"
    load: float | None = None
    note: str | None = None
    kept: tuple[float | None, str | None] = (None, None)
    seen_at: int = 0

    def become(self, status: str, load: float | None, note: str | None) -> None:
        """Another status, which is remembered for ever."""
        self.status, self.load, self.note = status, load, note
        self.kept = (load, note)


@dataclass(slots=True)
class Box:
    """One life of a mailbox; ``mails`` in the order of their ids."""

    number: int
    address: str
    owner: str
    settings: Shape
    agent: bool
    created_at: int
    expires: int | None
    registered: Registration | None = None
    mails: dict[int, Mail] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    keys: dict[str, tuple[int, int, Any, str, str | None, bool]] = field(default_factory=dict)
    closed_till: int = 0  # its dead letters were full: expired mail is looked at again then

    def live(self) -> list[Mail]:
        """The messages that are not settled."""
        return [mail for mail in self.mails.values() if mail.ended_at is None]

    def owed(self) -> Iterator[tuple[Group, Mail, Place]]:
        """What each group still has to settle."""
        for group in self.groups.values():
            for mail in self.live():
                if place := group.owes(mail):
                    yield group, mail, place

    def unsettled(self) -> int:
        """How many messages count towards the quota."""
        return len(self.live()) + max((len(group.again) for group in self.groups.values()), default=0)


# -- as the wire shows it


def mail_view(box: Box, mail: Mail) -> Shape:
    """A message without what belongs to a delivery."""
    view = {"id": mail.id, "mailbox": box.address, **mail.body, "session": mail.session}
    if mail.letter is not None:
        view["dead_letter"] = mail.letter
    if mail.task is not None:
        view["task"] = mail.task
    if mail.letter is not None or mail.only is not None:
        view.pop("expires_at", None)
    return view


def delivery_view(group: Group, mail: Mail, now: int) -> Shape | None:
    """Where a message stands in a group; None if it is none of the group's."""
    place = mail.places.get(group.number)
    if place is None and not group.wants(mail):
        return None
    if place is None:
        state = mail.ending or ("waiting" if mail.shown else "delayed")
        return {"group": group.name, "state": state, "attempt": 1}
    attempt = max(1, place.attempts + (place.state != "dead"))
    view = {"group": group.name, "state": place.standing(now), "attempt": attempt}
    return view | {"worker": place.worker} if place.worker else view


def box_view(box: Box) -> Shape:
    """A mailbox. Bytes are left out: how a message is encoded is the engine's own."""
    live = box.live()
    counts = {
        "unsettled": box.unsettled(),
        "delayed": sum(not mail.shown for mail in live),
        "settled": len(box.mails) - len(live),
        "groups": len(box.groups),
    }
    view = {"address": box.address, "owner": box.owner, "created_at": iso(box.created_at), "counts": counts}
    view["settings"] = {name: value for name, value in box.settings.items() if name != "ttl_s" or value}
    return view | {"expires_at": iso(box.expires)} if box.expires is not None else view


def group_view(box: Box, group: Group, now: int) -> Shape:
    """A group. When it last fetched is left out: after a restart that is known roughly."""
    states = [place.standing(now) for one, _, place in box.owed() if one is group]
    view = {"name": group.name, "mailbox": box.address, "waiting": states.count("waiting") + len(group.again)}
    return view | {"leased": states.count("leased"), "backoff": states.count("backoff")}
