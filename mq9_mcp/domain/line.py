"""A group's place in a plain mailbox: strict tiers, line order in each, its own exceptions.

The shared logs hold the mail; a group is a cursor into each tier, the ids that a filtered fetch
took ahead of the cursor, and the messages that came back to it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import chain

from mq9_mcp.domain.events import Mail
from mq9_mcp.domain.filters import Filter
from mq9_mcp.domain.log import TIER_RANGE, UP_TO, Log, Logs, session_key

_MARK_REACH = 64  # a mark is kept once it saves looking at so many entries
_MARKS_MAX = 256  # marks a group: filters beyond that many tags start from the front again


def line_key(mail: Mail) -> tuple[int, int]:
    """Line order within a tier (contract, section 2)."""
    return (mail.visible_at, mail.id)


class Line:
    """The messages that wait for one group of a mailbox without order by session."""

    __slots__ = ("ahead", "cursors", "find", "free", "logs", "marks", "returned")

    def __init__(self, logs: Logs, find: Callable[[int], Mail | None]) -> None:
        self.logs = logs
        self.find = find
        self.cursors = [log.base for log in logs.tiers]
        self.ahead: set[int] = set()
        self.free = [len(log.mails) - log.holes for log in logs.tiers]
        self.returned: list[list[tuple[int, int]]] = [[] for _ in TIER_RANGE]
        self.marks: dict[tuple[int, str], tuple[Log, int, int]] = {}

    def add(self, mail: Mail) -> None:
        """A message joined the log."""
        self.free[mail.tier] += 1

    def add_all(self, mails: list[Mail]) -> None:
        """Messages of one tier joined the log."""
        self.free[mails[0].tier] += len(mails)

    def waits_in_log(self, mail: Mail) -> bool:
        """True if the group has not touched the message in the log yet."""
        return mail.place >= self.cursors[mail.tier] and mail.id not in self.ahead

    def take(self, mail: Mail) -> None:
        """A waiting message leaves the line: leased, or settled without a lease."""
        tier, place = mail.tier, mail.place
        cursor = self.cursors[tier]
        if place < cursor or mail.id in self.ahead:
            returned = self.returned[tier]
            index = bisect_left(returned, line_key(mail))
            assert returned[index] == line_key(mail)
            del returned[index]
            return
        self.free[tier] -= 1
        if place == cursor:
            self._advance(tier, place + 1)
        else:
            self.ahead.add(mail.id)

    def take_all(self, mails: list[Mail]) -> None:
        """Waiting messages leave the line; at less cost where they are the next ones of a tier."""
        first = mails[0]
        tier, begin, end = first.tier, first.place, first.place + len(mails)
        next_ones = begin == self.cursors[tier] and not self.ahead
        if next_ones and [mail.place for mail in mails if mail.tier == tier] == list(range(begin, end)):
            self.free[tier] -= len(mails)
            self._advance(tier, end)
            return
        for mail in mails:
            self.take(mail)

    def _advance(self, tier: int, place: int) -> None:
        """Everything before ``place`` was taken: move the cursor there, or behind what was taken ahead."""
        log = self.logs.tiers[tier]
        index = place - log.base
        if index < len(log.mails) and (self.ahead or log.mails[index] is None):
            place = log.base + self._skip(log, index)
        self.cursors[tier] = place

    def _skip(self, log: Log, index: int) -> int:
        """The first place from ``index`` on that holds a message which was not taken ahead."""
        ahead, mails = self.ahead, log.mails
        while index < len(mails):
            mail = mails[index]
            if mail is not None:
                if mail.id not in ahead:
                    break
                ahead.discard(mail.id)
            index += 1
        return index

    def put_back(self, mail: Mail) -> None:
        """A message that was taken waits again, at its old place."""
        insort(self.returned[mail.tier], line_key(mail))

    def enter(self, mail: Mail) -> None:
        """A message from outside the log joins this line alone: revived or redriven."""
        insort(self.returned[mail.tier], line_key(mail))

    def drop(self, mail: Mail, waiting: bool) -> None:
        """The message is done for this group; ``waiting`` if nobody had taken it."""
        if waiting:
            self.take(mail)

    def leave(self, mails: list[Mail]) -> None:
        """The messages are about to leave the log."""
        if self.ahead:
            self.ahead.difference_update([mail.id for mail in mails])

    def follow(self, tier: int, old: list[Mail | None], base: int) -> None:
        """The tier's log was packed; move the cursor along. ``base`` is where the old list began."""
        taken = old[: max(0, self.cursors[tier] - base)]
        self.cursors[tier] = sum(mail is not None for mail in taken)

    def candidates(self, wish: Filter) -> Iterator[Mail]:
        """What may be delivered, best first."""
        free, returned, busy = self.free, self.returned, []
        for tier in UP_TO[wish.lowest_tier]:
            if free[tier] or returned[tier]:
                busy.append(tier)
        if wish.everything and len(busy) == 1 and not self.ahead and not returned[busy[0]]:
            return self.logs.tiers[busy[0]].since(self.cursors[busy[0]])
        return self._of_tiers(busy, wish)

    def _of_tiers(self, tiers: list[int], wish: Filter) -> Iterator[Mail]:
        mails = chain.from_iterable(self._tier(tier, wish) for tier in tiers)
        return mails if wish.everything else filter(wish.accepts, mails)

    def _tier(self, tier: int, wish: Filter) -> Iterator[Mail]:
        fresh = self._from_log(tier, wish)
        if not self.returned[tier]:
            return fresh
        back = (self.find(id) for _, id in self.returned[tier])
        return merge((mail for mail in back if mail is not None), fresh, key=line_key)

    def _from_log(self, tier: int, wish: Filter) -> Iterator[Mail]:
        if not self.free[tier]:
            return iter(())
        if wish.session is not None:
            return self._from_session(tier, wish, wish.session)
        if wish.all_of:
            index = self.logs.indexes[tier]
            return self._from_index(tier, min(wish.all_of, key=lambda tag: _length(index.get(tag))))
        if wish.any_of:
            return _distinct(merge(*(self._from_index(tier, tag) for tag in wish.any_of), key=line_key))
        log = self.logs.tiers[tier]
        if not self.ahead:
            return log.since(self.cursors[tier])
        return (mail for mail in log.since(self.cursors[tier]) if mail.id not in self.ahead)

    def _from_session(self, tier: int, wish: Filter, session: str) -> Iterator[Mail]:
        named = self._from_index(tier, session_key(session))
        if wish.own_message is None:
            return named
        own = self.find(wish.own_message)
        if own is None or own.tier != tier or not self.logs.holds(own) or not self.waits_in_log(own):
            return named
        return merge([own], named, key=line_key)

    def _from_index(self, tier: int, key: str) -> Iterator[Mail]:
        """Waiting messages of a tag or session; remembers how far the index is of no more use."""
        log = self.logs.indexes[tier].get(key)
        if log is None:
            return
        known, generation, start = self.marks.get((tier, key), (log, log.generation, 0))
        if known is not log or generation != log.generation:
            start = 0
        useless = True
        for index in range(start, len(log.mails)):
            mail = log.mails[index]
            assert mail is not None
            if self.waits_in_log(mail):
                useless = False
                yield mail
            elif useless and index - start >= _MARK_REACH:
                if len(self.marks) >= _MARKS_MAX:
                    self.marks.clear()
                self.marks[tier, key] = (log, log.generation, index + 1)

    def waiting_count(self) -> int:
        """How many messages wait."""
        return sum(self.free) + sum(map(len, self.returned))

    def waiting_by_tier(self) -> list[int]:
        """How many messages wait in each tier."""
        return [self.free[tier] + len(self.returned[tier]) for tier in TIER_RANGE]

    def remaining(self, wish: Filter, most: int) -> int:
        """How many messages wait and fit, counted to ``most``."""
        if wish.everything:
            free, returned, waiting = self.free, self.returned, 0
            for tier in UP_TO[wish.lowest_tier]:
                waiting += free[tier]
                if returned[tier]:
                    waiting += len(returned[tier])
            return waiting if waiting < most else most
        count = 0
        for _ in self.candidates(wish):
            count += 1
            if count == most:
                break
        return count


def _length(log: Log | None) -> int:
    return len(log.mails) if log is not None else 0


def _distinct(mails: Iterator[Mail]) -> Iterator[Mail]:
    last = 0
    for mail in mails:
        if mail.id != last:
            yield mail
        last = mail.id
