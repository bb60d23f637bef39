"""The one door between the broker and storage; every engine stands behind it.

A reply, a refusal or a read comes out only after every change that it rests on is on disk.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mq9_mcp.domain.commands import Command
from mq9_mcp.domain.events import Event
from mq9_mcp.domain.outcome import Outcomes
from mq9_mcp.domain.plan import Ask
from mq9_mcp.domain.push_target import Push
from mq9_mcp.domain.shown import Places
from mq9_mcp.domain.spread import Spread
from mq9_mcp.domain.state import Caller


class Committed(NamedTuple):
    """One record of the journal, on disk: its sequence and its events."""

    seq: int
    events: list[Event]


class Registry(NamedTuple):
    """The cards of all agents as JSON, by name; ``mark`` is another one whenever a card comes or goes.

    ``owners``: the principals that own them.
    """

    mark: object
    cards: dict[str, str]
    owners: dict[str, str]


class Parked(NamedTuple):
    """A message that waits for an agent: the text of its intent, and the skill if it names one."""

    id: int
    text: str
    skill: str | None


class Arrivals(NamedTuple):
    """All parked messages as of record ``seq``, and the agents that registered or came back of late."""

    seq: int
    waiting: list[Parked]
    came: list[str]


class Condition(NamedTuple):
    """Whether changes can be stored now: ``trouble`` says why not, and is empty if they can."""

    trouble: str
    free_bytes: int  # room on the disk


class Figures(NamedTuple):
    """An engine in numbers, for the metrics."""

    mailboxes: int
    messages: int  # unsettled
    message_bytes: int
    oldest_at: int | None  # when the oldest of them that can be seen became visible
    leases: int
    dead_letters: int  # unsettled ones in dead letter mailboxes
    parked: int  # messages that wait for an agent
    tasks: dict[str, int]  # open ones by state
    agents: dict[str, int]  # by status
    pushes: dict[str, int]  # targets of open tasks, and what is left of others, by state
    fold_lag_records: int
    fold_lag_bytes: int
    commit_records: Spread  # since the start
    commit_bytes: Spread


class Listener(Protocol):
    """Who is told at once what changed; called on the event loop, must not block or fail."""

    @property
    def waits(self) -> Collection[str]:
        """The addresses where anybody waits for mail; nothing need be told of other arrivals."""

    def stored(self) -> None:
        """Changes are on disk: something may be due earlier than before, or be parked."""

    def arrived(self, address: str, count: int, group: str | None = None) -> None:
        """So many messages can be fetched now that could not be before, in one group or in every one."""

    def moved(self, message: int, rung: str, reply: int = 0) -> None:
        """A watched message got to ``rung``: leased, acked, replied (by ``reply``), or an end."""

    def task_moved(self, task: str, worker: str | None) -> None:
        """A task has a newer version or push target; ``worker``, who holds it, has something to be told."""


class Engine(Protocol):
    """A store that executes commands. All times are broker time in milliseconds."""

    listener: Listener
    watched: set[int]
    followed: set[str]

    @property
    def time(self) -> int:
        """The last time that the journal knows; broker time never lies before it."""

    def execute(self, caller: Caller, command: Command, ask: Ask) -> Awaitable[dict[str, Any]]:
        """Decide ``command``, store what it changes, return its reply; or raise ``Mq9Error``."""

    async def tick(self, ask: Ask) -> None:
        """Do what has come due by ``ask.now``; a failure to store is tried again at the next tick."""

    async def standing(self, message: int) -> tuple[str, int]:
        """How far a message has come in the group ``default``, and the id of its first reply or 0."""

    async def task_events(self, task: str, after: int, through: int) -> list[dict[str, Any]]:
        """The entries of a task's history between two numbers, oldest first; may be fewer than there are."""

    async def copies(self, messages: Sequence[int]) -> list[dict[str, Any]]:
        """The messages as the wire shows them, without delivery fields; missing ones are left out."""

    async def begin(self, ask: Ask) -> None:
        """Ready for callers: open leases last at least ``restart_lease_s`` from ``ask.now``."""

    def next_due(self) -> int:
        """When ``tick`` has something to do next."""

    async def registry(self, mark: object) -> Registry | None:
        """The cards of all agents, or None if they are those that were given with ``mark``."""

    @property
    def parking_mark(self) -> int:
        """Another one when an agent came or a message was parked; cheap."""

    async def parked(self, after: int) -> Arrivals:
        """What waits for an agent, and the agents that came after record ``after``."""

    async def outcomes(self, after: int, agents: Collection[str]) -> Outcomes:
        """How tasks of agents ended of late, of each that is named or had one end at ``after`` or later."""

    async def find_vectors(
        self, model: str, version: str, hashes: Sequence[bytes]
    ) -> dict[bytes, Sequence[float]]:
        """The vectors of the texts with these hashes, as far as they are kept."""

    async def vector_models(self) -> dict[tuple[str, str], int]:
        """How many vectors are kept, by model and version."""

    async def keep_vectors(self, model: str, version: str, vectors: Mapping[bytes, Sequence[float]]) -> None:
        """Keep vectors by the hash of their text; they may be lost, and are then made again."""

    async def prune_vectors(self, model: str, version: str, hashes: Sequence[bytes]) -> None:
        """Keep only the vectors of this model and these texts."""

    def give_back(self, reply: dict[str, Any], ask: Ask) -> None:
        """Release the leases of a fetch reply that did not reach its caller; no attempt is counted."""

    def pushes(self, task: str | None = None) -> list[Push]:
        """The push targets to which something may be left to post, of one task or of all."""

    def condition(self) -> Condition:
        """Whether changes can be stored now; cheap."""

    async def figures(self) -> Figures:
        """The engine in numbers; gives way to others while it counts."""

    def journal_span(self) -> tuple[int, int]:
        """The first record that ``follow`` still tells, and the last one on disk."""

    async def places(self, mailboxes: Collection[int], groups: Collection[int]) -> Places:
        """What these numbers in events stand for, and the mailboxes of the groups, as far as known."""

    def follow(self, after: int) -> AsyncGenerator[Committed]:
        """Every record after sequence ``after`` in order, then each new one when it is on disk."""

    async def close(self) -> None:
        """Store and fold what is pending, let the data directory go."""
