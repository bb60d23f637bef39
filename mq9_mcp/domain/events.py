"""What the journal holds: one event per command on the hot path, a batch is one event with lists.

Events carry results, never questions: ``apply`` needs no clock, no randomness and no other record.
The names are the journal's format; a change of shape is a new ``RECORD_VERSION`` with a migration.
Times are integer milliseconds. Fields at their defaults are left out of the record.
"""

from __future__ import annotations

from msgspec import Struct

from mq9_mcp.domain.event import Event as Event
from mq9_mcp.domain.push_events import PushDeleted, PushDisabled, PushMoved, PushSet
from mq9_mcp.domain.records import Letter as Letter
from mq9_mcp.domain.records import Settings as Settings
from mq9_mcp.domain.records import Wish as Wish
from mq9_mcp.domain.registry import Status

RECORD_VERSION = 1


class Extra(Struct, frozen=True, omit_defaults=True, gc=False):
    """What few messages have, kept apart so that the many stay small."""

    state_key: str | None = None
    only_group: str | None = None
    letter: Letter | None = None
    task: str | None = None
    wish: Wish | None = None  # of a parked message


class Mail(Struct, array_like=True, gc=False):
    """A message as delivery knows it: its row in memory and in the journal. The parts are elsewhere.

    ``position`` is where the body lies: in a record the offset within its bodies, in memory the
    journal position (segment and offset). ``place`` is the mailbox log's index, -1 outside it.
    """

    id: int
    mailbox: int
    tier: int
    visible_at: int
    size: int
    sender: str
    position: int
    expires_at: int | None = None
    session: str | None = None
    tags: tuple[str, ...] | None = None
    extra: Extra | None = None
    place: int = -1


class DedupKey(Struct, array_like=True, gc=False):
    """A dedup_key as the mailbox remembers it: enough to repeat the first receipt and see a conflict."""

    key: str
    message: int
    at: int
    digest: int
    session: str | None = None
    task: str | None = None
    parked: bool = False  # the first receipt named the broker's own mailbox


class Step(Struct, array_like=True, gc=False):
    """One entry of a task's history. ``detail`` says where its words lie: within the record, later in the
    journal (offset and size)."""

    kind: str
    detail: tuple[int, int] | None = None
    message: int = 0
    reason: str | None = None


class SessionRecord(Struct, array_like=True, gc=False):
    """A session as memory knows it: what a send into it is checked against. The messages are elsewhere.

    ``at`` is when it last changed; without ``closed`` it ends by itself some time after that. A
    ``turns_max`` of 0 is the one that every session has.
    """

    name: str
    turns: int
    turns_max: int
    at: int
    mailboxes: tuple[int, ...]
    senders: tuple[str, ...]
    closed: bool = False


class Opened(Event, tag="opened", kw_only=True):
    """The broker is ready; open leases last at least until ``lease_floor``."""

    lease_floor: int


class MailboxCreated(Event, tag="mailbox_created", kw_only=True):
    """A new mailbox. ``agent`` marks the inbox that an agent's first call made."""

    mailbox: int
    address: str
    owner: str
    settings: Settings
    description: str | None = None
    expires_at: int | None = None
    agent: bool = False


class MailboxUpdated(Event, tag="mailbox_updated", kw_only=True):
    """New settings, description or lifetime of a mailbox."""

    mailbox: int
    settings: Settings
    description: str | None = None
    expires_at: int | None = None


class MailboxDropped(Event, tag="mailbox_dropped", kw_only=True):
    """A mailbox ended with all its messages, groups and dedup keys."""

    mailbox: int
    reason: str


class GroupMade(Event, tag="group_made", kw_only=True):
    """A group of a mailbox. It owes the messages with ``id >= start_id or visible_at > start_at``.

    ``history_*``: settled mail that it will read again, up to journal sequence ``history_through``.
    ``settled``: mail that it does not want and that no other group owes.
    """

    group: int
    mailbox: int
    name: str
    start_id: int
    start_at: int
    history_through: int = 0
    history_count: int = 0
    history_bytes: int = 0
    settled: list[int] = []


class GroupEnded(Event, tag="group_ended", kw_only=True):
    """A group is gone: deleted, idle, or replaced by a reset. ``settled`` no other group owes."""

    group: int
    reason: str
    settled: list[int] = []


class GroupSeen(Event, tag="group_seen", kw_only=True):
    """A group was fetched from; written rarely, only so that idleness survives a restart."""

    group: int


class Revived(Event, tag="revived", kw_only=True):
    """Settled messages that a group reads again, with the place (tier, visible_at, id) it has reached."""

    group: int
    mails: list[Mail]
    through: tuple[int, int, int] | None


class Sent(Event, tag="sent", kw_only=True):
    """Messages stored by one call. ``keys`` are their dedup keys, ``withdrawn`` what a state_key replaced.

    ``answers``: pairs of a message answered and the message that answers it. ``sessions``: those that
    the messages join and memory did not hold, as they were before. ``apart``: they count in no session.
    ``joined``: messages that no group has in line, as they reach the worker of a task as follow-ups.
    """

    mails: list[Mail]
    answers: list[tuple[int, int]] = []
    keys: list[tuple[int, DedupKey]] = []
    withdrawn: list[int] = []
    superseded: list[int] = []
    sessions: list[SessionRecord] = []
    apart: bool = False
    joined: list[int] = []


class Leased(Event, tag="leased", kw_only=True):
    """Messages handed to a worker: their tokens are (group, id, secret), their fence is the sequence."""

    group: int
    ids: list[int]
    secret: str
    until: int
    worker: str
    principal: str


class Settlement(Event, kw_only=True):
    """Something that ends a lease. ``receipts`` are those of the send in the same call, as JSON."""

    receipts: str | None = None


class Acked(Settlement, tag="acked", kw_only=True):
    """Messages settled for a group. ``kept`` are those that another group still owes."""

    group: int
    ids: list[int]
    kept: list[int] = []


class Nacked(Settlement, tag="nacked", kw_only=True):
    """A failed attempt, told by the worker; the message waits until ``until``.

    ``counted`` is false where the lease had run out before and the attempt was counted then.
    """

    group: int
    id: int
    until: int
    reason: str | None = None
    counted: bool = True


class Released(Settlement, tag="released", kw_only=True):
    """Messages given back at once, no attempt counted."""

    group: int
    ids: list[int]


class Extended(Event, tag="extended", kw_only=True):
    """Leases that last until ``until`` now."""

    group: int
    ids: list[int]
    until: int


class Lapsed(Event, tag="lapsed", kw_only=True):
    """Leases that ran out: a failed attempt each, the messages are back in line.

    With ``until`` it was the last attempt and there was no room among the dead letters: they wait till then.
    """

    group: int
    ids: list[int]
    until: int = 0


class Closed(Settlement, tag="closed", kw_only=True):
    """A lease of expired or superseded mail ended: it is not delivered again in this group.

    ``outcome`` is what the worker said, None where the lease ran out.
    """

    group: int
    id: int
    state: str
    kept: bool = False
    outcome: str | None = None


class Died(Settlement, tag="died", kw_only=True):
    """One group's delivery ended in the dead letters: ``copy`` is the letter, in its own mailbox.

    The copy's body is that of ``id``. ``kept``: the message itself does not end with it.
    Without ``group`` the message expired before any group was made. ``outcome`` is what the worker
    said, None where the lease ran out or the message expired.
    """

    mailbox: int
    id: int
    copy: Mail
    group: int | None = None
    kept: bool = False
    outcome: str | None = None


class Expired(Event, tag="expired", kw_only=True):
    """Messages past their expires_at, gone from every line. ``held``: a worker may still settle these."""

    mailbox: int
    ids: list[int]
    held: list[int] = []


class Due(Event, tag="due", kw_only=True):
    """Delayed messages that became visible, with what their state keys replaced."""

    mailbox: int
    ids: list[int]
    withdrawn: list[int] = []
    superseded: list[int] = []


class Deleted(Event, tag="deleted", kw_only=True):
    """Messages removed by a caller. ``settled_*`` count those that were settled already.

    ``histories``: (group, messages, bytes) of those that a group had still to read again.
    """

    mailbox: int
    ids: list[int]
    settled_count: int = 0
    settled_bytes: int = 0
    histories: list[tuple[int, int, int]] = []


class Redriven(Event, tag="redriven", kw_only=True):
    """Letters given back: ``letters[i]`` left its dead letter mailbox and became ``mails[i]``."""

    letters: list[int]
    mails: list[Mail]


class Unparked(Event, tag="unparked", kw_only=True):
    """Parked messages that one agent gets: they leave the broker's mailbox and keep their ids.

    ``visible``: when each becomes visible in ``mailbox``, whose address and owner stand beside it.
    ``tasks``: those that the messages are the work of. ``keys``: dedup keys that count there from now on.
    """

    mailbox: int
    address: str
    owner: str
    ids: list[int]
    visible: list[int]
    tasks: list[str] = []
    keys: list[DedupKey] = []


class Pruned(Event, tag="pruned", kw_only=True):
    """Retention removed the settled messages that ended at or before journal sequence ``through``.

    ``oldest``: no settled mail that is left ended before this time.
    """

    mailbox: int
    through: int
    count: int
    bytes: int
    oldest: int


class AgentRegistered(Event, tag="agent_registered", kw_only=True):
    """An agent's new card, and the agent itself with its first one; it is available.

    ``card`` is the AgentCard as JSON. ``opened``: the mailbox was its owner's alone before, and is again
    after the agent.
    """

    agent: str
    owner: str
    mailbox: int
    version: int
    card: str
    opened: bool = False


class AgentStatus(Event, tag="agent_status", kw_only=True):
    """An agent's status changed: it said so, it was silent for too long, or it is heard of again."""

    agent: str
    mailbox: int
    status: Status
    load: float | None = None
    note: str | None = None


class AgentUnregistered(Event, tag="agent_unregistered", kw_only=True):
    """An agent is none any more. Its mailbox stays, unless it is dropped too."""

    agent: str
    mailbox: int


class SessionClosed(Event, tag="session_closed", kw_only=True):
    """A session takes no more messages. ``mailboxes``: those that it has messages in.

    ``record``: as it was before, if memory did not hold it.
    """

    session: str
    mailboxes: list[int]
    record: SessionRecord | None = None


class SessionReopened(Event, tag="session_reopened", kw_only=True):
    """A session takes messages again, up to ``turns_max`` in all; the rest as when it was closed."""

    session: str
    mailboxes: list[int]
    turns_max: int
    record: SessionRecord | None = None


class TaskOpened(Event, tag="task_opened", kw_only=True):
    """A task began with ``message``, the first entry of its history; ``body`` is that message's.

    ``request``: the name by which a client that sends the same again is known.
    """

    task: str
    message: int
    mailbox: int
    address: str
    owner: str
    tier: int
    asker: str
    principal: str
    body: tuple[int, int]
    session: str | None = None
    reply_to: str | None = None
    timeout_at: int | None = None
    request: str | None = None


class TaskMoved(Event, tag="task_moved", kw_only=True):
    """Entries of a task's history, numbered on from its last one, and the state after them.

    ``work`` is the task's new work message. ``told``: so many follow-ups has the holder of the lease
    been given. ``secret``: the lease under which the task was settled. ``withdrawn`` and ``superseded``
    are messages that end with it where no group ``default`` does that; held by somebody, the latter.
    """

    task: str
    mailbox: int
    state: str
    by: str
    steps: list[Step] = []
    worker: str | None = None
    work: int = 0
    tier: int | None = None
    told: int | None = None
    secret: str | None = None
    withdrawn: list[int] = []
    superseded: list[int] = []
    request: str | None = None


AnyEvent = (
    Opened
    | MailboxCreated
    | MailboxUpdated
    | MailboxDropped
    | GroupMade
    | GroupEnded
    | GroupSeen
    | Revived
    | Sent
    | Leased
    | Acked
    | Nacked
    | Released
    | Extended
    | Lapsed
    | Closed
    | Died
    | Expired
    | Due
    | Deleted
    | Redriven
    | Unparked
    | Pruned
    | AgentRegistered
    | AgentStatus
    | AgentUnregistered
    | SessionClosed
    | SessionReopened
    | TaskOpened
    | TaskMoved
    | PushSet
    | PushDeleted
    | PushMoved
    | PushDisabled
)
