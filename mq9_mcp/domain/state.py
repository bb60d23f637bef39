"""The state that delivery needs, in memory: mailboxes, groups, unsettled mail, leases, dedup keys.

No payloads: a message's body is found by its position. Whatever is settled leaves; DuckDB has it.
Only ``apply`` changes what stands here; logs, lines and heaps are indexes over it.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import TypeVar

from msgspec import Struct

from mq9_mcp.domain.delivery import WAITING, Delivery
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import DedupKey, Extra, Mail, Settings
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.line import Line
from mq9_mcp.domain.log import Logs
from mq9_mcp.domain.names import BROKER, DEFAULT_GROUP
from mq9_mcp.domain.ordered import OrderedLine
from mq9_mcp.domain.past import GroupPlace, Past, Place
from mq9_mcp.domain.push_target import Push
from mq9_mcp.domain.registry import Agent
from mq9_mcp.domain.session_memory import Sessions
from mq9_mcp.domain.task import Task

T = TypeVar("T")

NEVER = 2**62
GROUP_IDLE_MS = limit("group_idle_s") * 1000
IDLE_GRACE = GROUP_IDLE_MS // 100
PRUNE_STEP = 1024 * 1024
_TIMERS_MIN = 1024


def due_now(heap: list[tuple[int, T]], now: int) -> list[T]:
    """What in ``heap`` has its time come by ``now``; looks at nothing else, takes nothing out."""
    found, stack = [], [0]
    while stack:
        index = stack.pop()
        if index < len(heap) and heap[index][0] <= now:
            found.append(heap[index][1])
            stack += (2 * index + 1, 2 * index + 2)
    return found


class Caller(Struct, frozen=True, dict=True):
    """Who is calling, as proved by a credential: the principal, and the agent it acts as."""

    principal: str
    agent: str | None = None
    verified: bool = False

    @cached_property
    def name(self) -> str:
        """What ``from`` says: the agent acted as, else ``principal:<name>`` (contract, section 11)."""
        return self.agent or f"principal:{self.principal}"


SYSTEM = Caller(BROKER, "mq9.broker", True)


class History(Struct):
    """Settled mail that a new or reset group still has to read again, and how far it has come."""

    through: int  # settled at or before this journal sequence
    count: int
    bytes: int
    after: tuple[int, int, int] = (-1, -1, -1)  # tier, visible_at, id


class Group:
    """An independent reader of one mailbox: its line, and the messages it has touched."""

    def __init__(self, number: int, mailbox: Mailbox, name: str, start_id: int, start_at: int) -> None:
        self.number = number
        self.mailbox = mailbox
        self.name = name
        self.start_id = start_id
        self.start_at = start_at
        self.seen_at = 0  # last journaled sign of a reader
        self.fetched_at = 0  # last fetch, in memory
        self.grace = 0  # after a restart the last fetch may have been so much later
        self.open: dict[int, Delivery] = {}
        self.leased = 0
        self.history: History | None = None
        self.timers: list[tuple[int, list[int]]] = []  # (lease or backoff end, messages), some stale
        self.timed = 0  # messages in timers
        self.line: Line | OrderedLine = mailbox.new_line()

    def owes(self, mail: Mail) -> bool:
        """True while the group has not settled the message."""
        return mail.id in self.open or self.line.waits_in_log(mail)

    def history_key(self, mail: Mail) -> tuple[int, int, int]:
        """The order in which history is read again: line order, in ordered mailboxes store order."""
        return self.order_key(mail.tier, mail.visible_at, mail.id)

    def order_key(self, tier: int, visible_at: int, id: int) -> tuple[int, int, int]:
        """``history_key`` of a message that is not in memory."""
        return (0, 0, id) if self.mailbox.settings.ordered_by else (tier, visible_at, id)

    def watch(self, until: int, messages: list[int]) -> None:
        """Remember to look at leases or backoffs when they end; let go of those that settled messages had."""
        timers, touched = self.timers, self.open
        while timers:
            first = timers[0][1]
            if first[0] in touched or (len(first) > 1 and not touched.keys().isdisjoint(first)):
                break
            self.timed -= len(heappop(timers)[1])
        heappush(timers, (until, messages))
        self.timed += len(messages)
        if self.timed > _TIMERS_MIN and self.timed > 4 * len(self.open):
            self.timers = [
                (delivery.until, [id]) for id, delivery in self.open.items() if delivery.state is not WAITING
            ]
            self.timed = len(self.timers)
            heapify(self.timers)

    def idle_at(self) -> int:
        """When the group ends for want of a reader; ``default`` never does."""
        return NEVER if self.name == DEFAULT_GROUP else self.fetched_at + self.grace + GROUP_IDLE_MS

    def next_timer(self) -> int:
        """When the next lease or backoff ends, ``NEVER`` if there is none."""
        while self.timers:
            until, messages = self.timers[0]
            for message in messages:
                if self.runs(message, until):
                    return until
            self.timed -= len(heappop(self.timers)[1])
        return NEVER

    def runs(self, message: int, until: int) -> bool:
        """True if a lease or backoff of the message ends at ``until``."""
        delivery = self.open.get(message)
        return delivery is not None and delivery.until == until and delivery.state is not WAITING


class Mailbox:
    """One life of an address: settings, mail, groups, keys. A later mailbox of the name is another."""

    def __init__(self, state: State, number: int, address: str, owner: str, settings: Settings) -> None:
        self.state = state
        self.number = number
        self.address = address
        self.owner = owner
        self.set(settings)
        self.description: str | None = None
        self.created_at = 0
        self.expires_at: int | None = None
        self.agent = False
        self.registered: Agent | None = None
        self.logs = Logs()
        self.groups: dict[str, Group] = {}
        # Oldest first; a plain dictionary would walk over all forgotten keys to find its oldest.
        self.dedup: OrderedDict[str, DedupKey] = OrderedDict()
        self.dedup_spilled = False  # some live keys are only in DuckDB
        self.state_keys: dict[str, list[int]] = {}  # visible copies, oldest first
        self.delayed: list[tuple[int, int]] = []
        self.expiries: list[tuple[int, int]] = []
        self.timeouts: list[tuple[int, str]] = []  # of tasks
        self.expire_from = 0  # the dead letters were full: expired mail is looked at again then
        self.outside: set[int] = set()  # visible mail that is in no log: revived or redriven
        self.ending: dict[int, str] = {}  # expired or withdrawn, but somebody holds a lease
        self.unsettled = 0
        self.unsettled_bytes = 0
        self.settled = 0
        self.settled_bytes = 0
        self.settled_since = NEVER  # no settled mail ended before this
        self.history_version = 0  # rises when settled mail is read again or removed
        self.alarm = NEVER  # the time at which the state will look at this mailbox

    def new_line(self) -> Line | OrderedLine:
        """An empty place in this mailbox, of the kind that its order asks for."""
        kind = OrderedLine if self.settings.ordered_by else Line
        return kind(self.logs, self.state.mails.get)

    def set(self, settings: Settings) -> None:
        """Let ``settings`` count from now on."""
        self.settings = settings
        # Settled bytes at which retention is worth a run: a little over what is to stay.
        self.prune_above = settings.retention_bytes + settings.retention_bytes // 16 + PRUNE_STEP

    def history(self) -> tuple[int, int]:
        """Messages and bytes of settled mail that some group will read again: unsettled once more."""
        waiting = [group.history for group in self.groups.values() if group.history]
        return max(((one.count, one.bytes) for one in waiting), default=(0, 0))

    def delayed_ids(self) -> list[int]:
        """The messages that are not visible yet."""
        return [id for _, id in self.delayed if id in self.state.mails]

    def _expired(self, id: int) -> bool:
        return id not in self.state.mails or id in self.ending

    def next_due(self) -> int:
        """When time changes something here next."""
        due = self.expires_at if self.expires_at is not None else NEVER
        while self.delayed and self.delayed[0][1] not in self.state.mails:
            heappop(self.delayed)
        while self.expiries and self._expired(self.expiries[0][1]):
            heappop(self.expiries)
        if self.delayed:
            due = min(due, self.delayed[0][0])
        if self.expiries:
            due = min(due, max(self.expiries[0][0], self.expire_from))
        if self.registered is not None:
            due = min(due, self.registered.away_at())
        while self.timeouts and self.timeouts[0][1] not in self.state.tasks:
            heappop(self.timeouts)
        if self.timeouts:
            due = min(due, self.timeouts[0][0])
        for group in self.groups.values():
            due = min(due, group.next_timer(), group.idle_at())
        return due


class State:
    """Everything the broker knows in memory; a fold of the journal up to ``seq``."""

    def __init__(self) -> None:
        self.seq = 0
        self.at = 0
        self.next_message = 1
        self.next_mailbox = 1
        self.next_group = 1
        self.mailboxes: dict[int, Mailbox] = {}
        self.addresses: dict[str, Mailbox] = {}
        self.groups: dict[int, Group] = {}
        self.agents: dict[str, Agent] = {}
        self.registry = object()  # another one whenever a card comes or goes
        self.mails: dict[int, Mail] = {}
        self.sessions = Sessions()
        self.dedup_keys = 0
        self.unsettled_bytes = 0
        self.past = Past()
        self.overfull: set[int] = set()  # mailboxes with more settled bytes than they retain
        self.alarms: list[tuple[int, int]] = []
        self.tasks: dict[str, Task] = {}  # open ones
        self.ended_tasks: OrderedDict[str, Task] = OrderedDict()  # the last few, for who just waited for them
        self.requests: dict[tuple[int, str], str] = {}  # by mailbox and name: the open task
        self.pushes: dict[str, dict[str, Push]] = {}  # by task and name: with something to post, or open
        self.task_news: dict[str, set[str]] = {}  # by worker: tasks of which it is to be told something
        self.parked: dict[int, Mail] = {}  # what waits for an agent, in the broker's own mailbox
        self.came: dict[str, int] = {}  # by agent: the record with which it last registered or came back
        self.parking_mark = 0  # rises with each of both

    def mailbox(self, address: str) -> Mailbox:
        """The mailbox at ``address``, or ``MAILBOX_NOT_FOUND``."""
        found = self.addresses.get(address)
        if found is None:
            raise no_mailbox(address)
        return found

    def place(self, number: int) -> Place | None:
        """What the number of a mailbox stands for, or stood for until lately."""
        found = self.mailboxes.get(number)
        return Place(found.address, found.owner) if found is not None else self.past.mailboxes.get(number)

    def group_place(self, number: int) -> GroupPlace | None:
        """What the number of a group stands for, or stood for until lately."""
        found = self.groups.get(number)
        if found is not None:
            return GroupPlace(found.name, found.mailbox.number)
        return self.past.groups.get(number)

    def watch(self, mailbox: Mailbox, due: int) -> None:
        """Remember to look at a mailbox at ``due``."""
        if due < mailbox.alarm:
            mailbox.alarm = due
            heappush(self.alarms, (due, mailbox.number))

    def awaits_default(self, mailbox: Mailbox, mail: Mail, without: Group | None = None) -> bool:
        """True if the message is the work of an open task, and no group ``default`` is there to owe it."""
        if mail.extra is None or mail.extra.task is None or mail.id in mailbox.ending:
            return False
        default = mailbox.groups.get(DEFAULT_GROUP)
        task = self.tasks.get(mail.extra.task)
        return (default is None or default is without) and task is not None and task.work == mail.id

    def next_alarm(self) -> int:
        """When time changes something anywhere next; may be early, never late."""
        while self.alarms:
            due, number = self.alarms[0]
            mailbox = self.mailboxes.get(number)
            if mailbox is not None and mailbox.alarm == due:
                return due
            heappop(self.alarms)
        return NEVER

    def alarmed(self, now: int) -> list[Mailbox]:
        """The mailboxes in which time changes something by ``now``."""
        numbers = sorted(set(due_now(self.alarms, now)) & self.mailboxes.keys())
        return [box for number in numbers if (box := self.mailboxes[number]).alarm <= now]

    def count(self, mailbox: Mailbox, messages: int, size: int) -> None:
        """Keep count of unsettled mail."""
        mailbox.unsettled += messages
        mailbox.unsettled_bytes += size
        self.unsettled_bytes += size

    def note_coming(self, agent: str) -> None:
        """An agent registered or came back: parked messages may be for it."""
        self.came[agent] = self.seq
        self.parking_mark += 1

    def park(self, mail: Mail) -> None:
        """A message waits for an agent."""
        self.parked[mail.id] = mail
        self.parking_mark += 1

    def settle(self, mailbox: Mailbox, mails: list[Mail], at: int) -> None:
        """Messages that no group owes any more leave memory; DuckDB keeps them under retention."""
        mailbox.settled += len(mails)
        mailbox.settled_bytes += self.forget(mailbox, mails)
        if at < mailbox.settled_since:
            mailbox.settled_since = at
        if mailbox.settled_bytes > mailbox.prune_above:
            self.overfull.add(mailbox.number)

    def forget(self, mailbox: Mailbox, mails: list[Mail]) -> int:
        """Messages of one mailbox, which its groups have let go of, leave memory; returns their bytes."""
        known, logs, size = self.mails, mailbox.logs, 0
        tiers: list[int] = []
        for group in mailbox.groups.values():
            group.line.leave(mails)
        for mail in mails:
            size += mail.size
            del known[mail.id]
            if mail.place >= 0:
                logs.remove(mail)
                if mail.tier not in tiers:
                    tiers.append(mail.tier)
            if mail.extra is not None:
                self._forget_extra(mailbox, mail.id, mail.extra)
        if mailbox.outside:
            mailbox.outside.difference_update(mail.id for mail in mails)
        if mailbox.ending:
            for mail in mails:
                mailbox.ending.pop(mail.id, None)
        mailbox.unsettled -= len(mails)
        mailbox.unsettled_bytes -= size
        self.unsettled_bytes -= size
        for tier in tiers:
            if logs.tiers[tier].tidy():
                self._pack(mailbox, tier)
        return size

    def _forget_extra(self, mailbox: Mailbox, id: int, extra: Extra) -> None:
        if extra.state_key is not None:
            self._forget_state_key(mailbox, extra.state_key, id)
        if extra.wish is not None:
            del self.parked[id]

    @staticmethod
    def _forget_state_key(mailbox: Mailbox, state_key: str, id: int) -> None:
        copies = mailbox.state_keys.get(state_key, [])
        if id in copies:
            copies.remove(id)
        if not copies:
            mailbox.state_keys.pop(state_key, None)

    def _pack(self, mailbox: Mailbox, tier: int) -> None:
        base = mailbox.logs.tiers[tier].base
        old = mailbox.logs.pack(tier)
        for group in mailbox.groups.values():
            group.line.follow(tier, old, base)


def key_counts(mailbox: Mailbox, key: DedupKey, now: int) -> bool:
    """True while a dedup key counts: within the window, or as long as an exactly-once mailbox lives."""
    return mailbox.settings.exactly_once or now - key.at < mailbox.settings.dedup_window_s * 1000


def no_mailbox(address: str) -> Refused:
    """The refusal for an address that leads nowhere, or nowhere that the caller may know of."""
    return Refused(
        "MAILBOX_NOT_FOUND",
        f"there is no mailbox {address!r}",
        "mailbox_create makes one; agent_discover lists agents",
        mailbox=address,
    )
