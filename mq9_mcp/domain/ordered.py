"""A group's place in a mailbox ordered by session: one session's mail goes out in store order.

While a message of a session is leased or in backoff, the session is busy and nobody in the group
gets another of it. Sessions are ranked by their oldest unsettled message.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from mq9_mcp.domain.events import Mail
from mq9_mcp.domain.filters import Filter
from mq9_mcp.domain.log import TIER_RANGE, Logs
from mq9_mcp.domain.names import own_session

Rank = tuple[int, int, int, str]


class SessionLine:
    """The unsettled messages of one session, by id, and how many of them are out or in backoff."""

    __slots__ = ("busy", "ids")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.busy = 0


class OrderedLine:
    """The messages that wait for one group of a mailbox that is ordered by session."""

    __slots__ = ("find", "free", "logs", "ranks", "sessions", "waiting")

    def __init__(self, logs: Logs, find: Callable[[int], Mail | None]) -> None:
        self.logs = logs
        self.find = find
        self.sessions: dict[str, SessionLine] = {}
        self.ranks: list[Rank] = []
        self.waiting: set[int] = set()
        self.free = [0 for _ in TIER_RANGE]  # how many of them in each tier
        for tier in TIER_RANGE:
            for mail in logs.tiers[tier].since(0):
                self.add(mail)

    def add(self, mail: Mail) -> None:
        """A message became visible."""
        name = mail.session or own_session(mail.id)
        line = self.sessions.setdefault(name, SessionLine())
        insort(line.ids, mail.id)
        self.waiting.add(mail.id)
        self.free[mail.tier] += 1
        if not line.busy and line.ids[0] == mail.id:
            heappush(self.ranks, (mail.tier, mail.visible_at, mail.id, name))

    def add_all(self, mails: list[Mail]) -> None:
        """Messages became visible."""
        for mail in mails:
            self.add(mail)

    def take(self, mail: Mail) -> None:
        """A waiting message goes out; its session is busy."""
        self.waiting.remove(mail.id)
        self.free[mail.tier] -= 1
        self.sessions[mail.session or own_session(mail.id)].busy += 1

    def take_all(self, mails: list[Mail]) -> None:
        """Waiting messages go out."""
        for mail in mails:
            self.take(mail)

    def put_back(self, mail: Mail) -> None:
        """A message that was taken waits again, at its old place."""
        self.waiting.add(mail.id)
        self.free[mail.tier] += 1
        self._release(mail, done=False)

    def enter(self, mail: Mail) -> None:
        """A message from outside the log joins this line alone: revived or redriven."""
        self.add(mail)

    def drop(self, mail: Mail, waiting: bool) -> None:
        """The message is done for this group; ``waiting`` if nobody had taken it."""
        if waiting:
            self.take(mail)
        self._release(mail, done=True)

    def _release(self, mail: Mail, done: bool) -> None:
        name = mail.session or own_session(mail.id)
        line = self.sessions[name]
        line.busy -= 1
        if done:
            line.ids.remove(mail.id)
        if not line.ids:
            del self.sessions[name]
        elif not line.busy:
            head = self.find(line.ids[0])
            assert head is not None
            heappush(self.ranks, (head.tier, head.visible_at, head.id, name))

    def leave(self, mails: list[Mail]) -> None:
        """The messages are about to leave the log; their sessions let them go before."""

    def follow(self, tier: int, old: list[Mail | None], base: int) -> None:
        """The tier's log was packed; this line keeps ids, not places."""

    def waits_in_log(self, mail: Mail) -> bool:
        """True if the message waits for this group, touched before or not."""
        return mail.id in self.waiting

    def candidates(self, wish: Filter) -> Iterator[Mail]:
        """What may be delivered, best session first, each in store order.

        A message that does not fit ends its session's run: what follows it must not overtake it.
        """
        seen: list[Rank] = []
        try:
            while self.ranks:
                rank = heappop(self.ranks)
                if not self._holds(rank, seen):
                    continue
                seen.append(rank)
                yield from self._run(rank[3], wish)
        finally:
            for rank in seen:
                heappush(self.ranks, rank)

    def _holds(self, rank: Rank, seen: list[Rank]) -> bool:
        line = self.sessions.get(rank[3])
        if line is None or line.busy or line.ids[0] != rank[2]:
            return False
        return not seen or seen[-1] != rank

    def _run(self, name: str, wish: Filter) -> Iterator[Mail]:
        for id in self.sessions[name].ids:
            mail = self.find(id)
            assert mail is not None
            if mail.tier > wish.lowest_tier or not wish.accepts(mail):
                return
            yield mail

    def waiting_count(self) -> int:
        """How many messages wait, those behind a busy session included."""
        return len(self.waiting)

    def waiting_by_tier(self) -> list[int]:
        """How many messages wait in each tier."""
        return list(self.free)

    def remaining(self, wish: Filter, most: int) -> int:
        """How many messages could be fetched now, counted to ``most``."""
        count = 0
        for _ in self.candidates(wish):
            count += 1
            if count == most:
                break
        return count
