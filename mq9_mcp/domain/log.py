"""A mailbox's visible mail in line order, and the same by tag and session.

A log only grows at its end; what leaves it makes a hole. Holes at the front are cut off at little
cost and leave all places valid; others are packed away when they are the larger half.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mq9_mcp.domain.commands import TIERS
from mq9_mcp.domain.events import Mail

OUTSIDE = -1  # a message that only some group has in its line: revived or redriven
GONE = -2  # a message that left the mailbox
_CUT_FROM = 256
_PACK_FROM = 1024
TIER_RANGE = range(len(TIERS))
UP_TO = [range(tier + 1) for tier in TIER_RANGE]  # by the lowest tier: the tiers from the top down to it


class Log:
    """Messages in line order, with holes."""

    __slots__ = ("base", "front", "generation", "holes", "mails")

    def __init__(self) -> None:
        self.mails: list[Mail | None] = []
        self.base = 0  # the place of mails[0]
        self.front = 0  # so many holes lead
        self.holes = 0
        self.generation = 0

    @property
    def end(self) -> int:
        """The place that the next message will get."""
        return self.base + len(self.mails)

    def since(self, place: int) -> Iterator[Mail]:
        """The messages from ``place`` on."""
        mails: Any = iter(self.mails)
        if place > self.base:
            mails.__setstate__(place - self.base)  # an iterator that begins there, whatever the length
        found: Iterator[Mail] = filter(None, mails)
        return found

    def tidy(self) -> bool:
        """Cut the front off where it is holes by now.

        True when more than half of a long log is holes: it wants packing.
        """
        mails, front, end = self.mails, self.front, len(self.mails)
        while front < end and mails[front] is None:
            front += 1
        if front >= _CUT_FROM and front * 2 > end:
            del mails[:front]
            self.base += front
            self.holes -= front
            front = 0
        self.front = front
        inner = self.holes - front
        return inner >= _PACK_FROM and inner * 2 > len(mails)


class Logs:
    """All logs of one mailbox: one a tier, and an index by tag and by session."""

    __slots__ = ("indexes", "tiers")

    def __init__(self) -> None:
        self.tiers = [Log() for _ in TIER_RANGE]
        self.indexes: list[dict[str, Log]] = [{} for _ in TIER_RANGE]

    def append(self, mail: Mail) -> None:
        """Put a message that has become visible at the end of its tier."""
        log = self.tiers[mail.tier]
        mail.place = log.base + len(log.mails)
        log.mails.append(mail)
        if mail.tags is not None or mail.session is not None:
            for key in index_keys(mail):
                index = self.indexes[mail.tier].get(key)
                if index is None:
                    index = self.indexes[mail.tier][key] = Log()
                index.mails.append(mail)

    def extend(self, mails: list[Mail]) -> None:
        """Put messages of one tier, none with tags or a session, at its end."""
        log = self.tiers[mails[0].tier]
        for place, mail in enumerate(mails, log.end):
            mail.place = place
        log.mails.extend(mails)

    def remove(self, mail: Mail) -> None:
        """Take a message out for good and leave a hole; its tier wants to be tidied then."""
        log = self.tiers[mail.tier]
        log.mails[mail.place - log.base] = None
        log.holes += 1
        mail.place = GONE
        if mail.tags is not None or mail.session is not None:
            for key in index_keys(mail):
                self._forget(mail.tier, key)

    def _forget(self, tier: int, key: str) -> None:
        index = self.indexes[tier][key]
        index.holes += 1
        if index.holes == len(index.mails):
            del self.indexes[tier][key]
        elif index.holes * 2 > len(index.mails):
            index.mails = [mail for mail in index.mails if mail is not None and mail.place != GONE]
            index.holes = 0
            index.generation += 1

    def holds(self, mail: Mail) -> bool:
        """True if ``mail`` lies in these logs now."""
        log = self.tiers[mail.tier]
        index = mail.place - log.base
        return 0 <= index < len(log.mails) and log.mails[index] is mail

    def pack(self, tier: int) -> list[Mail | None]:
        """Close the holes of a tier and give new places; returns the old list, for cursors to follow."""
        log = self.tiers[tier]
        old = log.mails
        log.mails = [mail for mail in old if mail is not None]
        log.base = log.front = log.holes = 0
        for place, mail in enumerate(log.mails):
            assert mail is not None
            mail.place = place
        return old


def index_keys(mail: Mail) -> list[str]:
    """The index entries of a message: its tags, and its session where it is a named one."""
    keys = list(mail.tags or ())
    if mail.session is not None:
        keys.append(session_key(mail.session))
    return keys


def session_key(session: str) -> str:
    """The index key of a session; no tag can begin like it, as tags hold no control characters."""
    return "\0" + session
