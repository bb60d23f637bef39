"""A decision in the making: the events so far, and what they will have changed once applied.

``decide`` functions read the state and write only here; the state changes when the events of a
finished plan are applied, so a refusal halfway leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from msgspec import Struct, field

from mq9_mcp.domain.access import may_send
from mq9_mcp.domain.delivery import LEASED
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import DedupKey, Event, Mail, MailboxCreated, SessionRecord, Settings
from mq9_mcp.domain.push_target import Push
from mq9_mcp.domain.registry import Heartbeat, Match
from mq9_mcp.domain.state import Caller, Group, Mailbox, State, no_mailbox
from mq9_mcp.domain.task import Task


class PagedMessage(Struct, frozen=True):
    """What ``prepare`` found about a message that a command refers to."""

    mailbox: int
    sender: str
    session: str
    reply_to: str | None
    task: str | None = None


class PagedDelivery(Struct, frozen=True):
    """A delivery that is settled and has left memory."""

    secret: str
    state: str
    outcome: str | None  # what the worker said, None where the broker ended it
    attempts: int
    principal: str
    receipts: str | None


class HistoryPage(Struct, frozen=True):
    """The next settled messages of a group's history; ``through`` is where it ends, None at its end."""

    mails: list[Mail]
    through: tuple[int, int, int] | None


class HistorySize(Struct, frozen=True):
    """How much settled mail lay behind a place in a mailbox, when it had ``settled`` (messages, bytes)."""

    count: int
    bytes: int
    settled: tuple[int, int]


class PagedSettled(Struct, frozen=True):
    """A settled message that is to be deleted."""

    size: int
    ended_seq: int
    tier: int
    visible_at: int
    again: bool  # a group that reads settled mail again would get it


class Paged(Struct, frozen=True):
    """What memory does not hold and this command needs, brought in before it is decided."""

    messages: dict[int, PagedMessage] = field(default_factory=dict)
    keys: dict[tuple[int, str], DedupKey] = field(default_factory=dict)
    deliveries: dict[tuple[int, int], PagedDelivery] = field(default_factory=dict)
    histories: dict[int, HistorySize] = field(default_factory=dict)
    settled: dict[int, PagedSettled] = field(default_factory=dict)
    sessions: dict[str, SessionRecord] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    pushes: dict[str, list[Push]] = field(default_factory=dict)  # of a task, all of them
    sought: set[Any] = field(default_factory=set)  # what was looked for so far, found or not


NOTHING_PAGED = Paged()


Words = tuple[str, dict[str, Any]]  # a task, and a part of the reply with places of its words


class Ask(Struct):
    """What comes from outside: the time, fresh secrets and chance, and what was paged in."""

    now: int
    secret: str
    chance: float = 0.5
    paged: Paged = NOTHING_PAGED  # shared: whoever pages something in brings a fresh one
    stored: Callable[[list[int]], None] | None = None  # told the ids of a send before anything can move them
    card: dict[str, Any] | None = None  # what card_url or mcp_server led to
    renewed: bool = False  # by the worker of an agent that is registered, and by nobody else
    ranking: dict[str, Match] | None = None  # which agents fit a text, and how well
    intents: dict[str, dict[str, Match]] | None = None  # the same for the texts of intents
    words: list[Words] | None = None  # parts of the reply that name words of tasks by their places


class Unprepared(Exception):
    """The command needs what memory does not hold: it is brought in, and the command decided again."""


class Plan(Struct, dict=True):
    """The events of one command, and an overlay of their effect for what the same command decides next.

    It begins with nothing, at ``now``, the time of ``ask``.
    """

    state: State
    caller: Caller
    ask: Ask
    now: int
    events: list[Event] = []
    bodies: list[bytes] = []
    body_bytes: int = 0
    tasks: dict[str, Task] | None = None  # as they are after what this plan holds
    heartbeat: Heartbeat | None = None
    fresh_work: dict[int, str] | None = None  # messages of this plan that open tasks
    parking: int = 0  # messages that this plan parks
    parked: int = -1  # that the sender had parked before, once counted
    followed: bool = False  # tasks have followed what this plan does to their messages
    request: str | None = None  # names the client's request that this plan answers, once it is known
    repeats: bool = False  # an ack with task updates that was done before
    completing: set[int] | None = None  # work messages that this call acks with a reply
    new_mailboxes: dict[str, Mailbox] = {}  # that this plan makes, by address
    new_messages: int = 0
    new_groups: int = 0
    held: dict[int, list[int]] = {}  # by mailbox: messages and bytes in it after this plan

    @property
    def seq(self) -> int:
        """The sequence of the record that the plan becomes."""
        return self.state.seq + 1

    @cached_property
    def settled(self) -> set[tuple[int, int]]:
        """Pairs of group and message that this plan settles, where that is not plain from its events."""
        return set()

    @cached_property
    def outcomes(self) -> dict[tuple[int, int], str]:
        """By group and message: what the worker said in this call."""
        return {}

    @cached_property
    def brought(self) -> set[str]:
        """Sessions whose records this plan brings into memory."""
        return set()

    @property
    def paged(self) -> Paged:
        """What was brought in for this command; raises ``Unprepared`` if nobody looked yet."""
        if self.ask.paged is NOTHING_PAGED:
            raise Unprepared
        return self.ask.paged

    def add_body(self, body: bytes) -> int:
        """Keep a body for the record; returns its offset there."""
        offset = self.body_bytes
        self.bodies.append(body)
        self.body_bytes += len(body)
        return offset

    def new_message(self) -> int:
        """The next message id."""
        id = self.state.next_message + self.new_messages
        self.new_messages += 1
        return id

    def new_group(self) -> int:
        """The next group number."""
        number = self.state.next_group + self.new_groups
        self.new_groups += 1
        return number

    def find(self, address: str) -> Mailbox | None:
        """The mailbox at ``address``, made by this plan or before."""
        if self.new_mailboxes:
            return self.new_mailboxes.get(address) or self.state.addresses.get(address)
        return self.state.addresses.get(address)

    def mailbox(self, address: str) -> Mailbox:
        """The mailbox at ``address`` if the caller owns it; otherwise it looks like none."""
        found = self.state.addresses.get(address) or self.new_mailboxes.get(address)
        if found is None or found.owner != self.caller.principal:
            if found is not None and may_send(self.caller, found):
                raise Refused(
                    "FORBIDDEN",
                    f"{self.caller.name} may send to {address!r}, but not read or change it",
                    "ask its owner",
                )
            raise no_mailbox(address)
        return found

    def own_mailbox(self) -> str:
        """The address that stands for a left-out ``mailbox``: the caller's agent's."""
        if self.caller.agent is None:
            raise Refused(
                "INVALID_ARGUMENT",
                "mailbox: left out, and the caller acts as no agent whose mailbox it could be",
                "name the mailbox, or call as an agent",
            )
        return self.caller.agent

    def create(
        self,
        address: str,
        owner: str,
        settings: Settings,
        agent: bool = False,
        description: str | None = None,
    ) -> Mailbox:
        """Make a mailbox; it can be used at once in this plan."""
        number = self.state.next_mailbox + len(self.new_mailboxes)
        mailbox = Mailbox(self.state, number, address, owner, settings)
        mailbox.agent = agent
        expires = self.now + settings.ttl_s * 1000 if settings.ttl_s else None
        self.new_mailboxes[address] = mailbox
        self.events.append(
            MailboxCreated(
                at=self.now,
                mailbox=number,
                address=address,
                owner=owner,
                settings=settings,
                description=description,
                expires_at=expires,
                agent=agent,
            )
        )
        return mailbox

    def ensure_own(self) -> None:
        """An agent's mailbox is made at its first send or fetch (contract, section 11)."""
        agent = self.caller.agent
        if agent is not None and agent not in self.state.addresses and agent not in self.new_mailboxes:
            self.create(agent, self.caller.principal, Settings(), agent=True)

    def count(self, mailbox: Mailbox, messages: int, size: int) -> None:
        """Note what this plan adds to a mailbox, or takes from it."""
        held = self.held.get(mailbox.number) or self._hold(mailbox)
        held[0] += messages
        held[1] += size

    def reserve(self, mailbox: Mailbox, size: int) -> Refused | None:
        """Note one more message of ``size`` bytes, or return the refusal if that is over the quota."""
        held, settings = self.held.get(mailbox.number) or self._hold(mailbox), mailbox.settings
        if held[0] < settings.messages_max and held[1] + size <= settings.bytes_max:
            held[0] += 1
            held[1] += size
            return None
        return self.full(mailbox, size)

    def _hold(self, mailbox: Mailbox) -> list[int]:
        """Begin to count what a mailbox holds, with the settled mail that a group will read again."""
        held = self.held[mailbox.number] = [mailbox.unsettled, mailbox.unsettled_bytes]
        for group in mailbox.groups.values():
            if group.history is not None:
                again = mailbox.history()
                held[0] += again[0]
                held[1] += again[1]
                break
        return held

    def full(self, mailbox: Mailbox, size: int) -> Refused | None:
        """The refusal if one more message of ``size`` bytes is over the mailbox's quota."""
        settings = mailbox.settings
        messages, held = self.held.get(mailbox.number) or self._hold(mailbox)
        if messages < settings.messages_max and held + size <= settings.bytes_max:
            return None
        name = "messages_max" if messages >= settings.messages_max else "bytes_max"
        return Refused(
            "MAILBOX_FULL",
            f"{mailbox.address!r} holds {messages} unsettled messages, {held} bytes; "
            f"{name} is {getattr(settings, name)}",
            "fetch and ack, delete, or raise the quota with mailbox_update",
            mailbox=mailbox.address,
            messages=messages,
            bytes=held,
            limit=name,
        )

    def owed_elsewhere(self, mail: Mail, group: Group) -> bool:
        """True if another group than ``group`` still has to settle the message after this plan."""
        mailbox = group.mailbox
        if mail.extra is not None and self.state.awaits_default(mailbox, mail):
            return True
        if len(mailbox.groups) == 1:
            return False
        return any(
            other is not group and other.owes(mail) and (other.number, mail.id) not in self.settled
            for other in mailbox.groups.values()
        )

    def still_owes(self, group: Group, mail: Mail) -> bool:
        """True if ``group`` still has to settle the message after what this plan holds so far."""
        place = (group.number, mail.id)
        return group.owes(mail) and place not in self.settled and self.outcomes.get(place) != "ack"

    def still_leased(self, group: Group, mail: Mail) -> bool:
        """True if a message that ``group`` still owes is leased after what this plan holds so far."""
        outcome = self.outcomes.get((group.number, mail.id))
        if outcome is not None:
            return outcome == "extend"
        delivery = group.open.get(mail.id)
        return delivery is not None and delivery.state is LEASED
