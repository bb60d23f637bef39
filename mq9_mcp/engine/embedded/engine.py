"""The embedded engine: one event loop, one state, one writer; decide, journal, apply, then answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Collection
from pathlib import Path
from typing import Any

from mq9_mcp.domain.agent import decide_back, hear, heard_as
from mq9_mcp.domain.apply import apply
from mq9_mcp.domain.apply_delivery import backoff_over
from mq9_mcp.domain.commands import (
    AgentDiscover,
    Command,
    GroupList,
    MailboxAck,
    MailboxFetch,
    MailboxGet,
    MailboxList,
    MailboxSend,
)
from mq9_mcp.domain.decide import DECIDE
from mq9_mcp.domain.delivery import DeliveryState
from mq9_mcp.domain.due import STAGES, decide_visible
from mq9_mcp.domain.errors import Refused, Unavailable
from mq9_mcp.domain.events import Leased, Opened, Released
from mq9_mcp.domain.group import decide_join, decide_revive, fetched_addresses, group_view
from mq9_mcp.domain.lease import decide_fetch, enough, joined
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.mailbox import mailbox_view
from mq9_mcp.domain.names import read_lease_token
from mq9_mcp.domain.plan import Ask, Paged, Plan, Unprepared
from mq9_mcp.domain.settle import close
from mq9_mcp.domain.state import NEVER, SYSTEM, Caller, Group, Mailbox
from mq9_mcp.domain.task import Task
from mq9_mcp.domain.task_commands import TaskCancel, TaskGet, TaskUpdate
from mq9_mcp.domain.task_moves import follow_mail
from mq9_mcp.domain.task_request import TaskRequest
from mq9_mcp.engine.base import Listener
from mq9_mcp.engine.embedded import prepare
from mq9_mcp.engine.embedded.disk import Disk
from mq9_mcp.engine.embedded.housekeeping import JOURNAL_BYTES, Housekeeping
from mq9_mcp.engine.embedded.journal import SEGMENT_BYTES, Batch
from mq9_mcp.engine.embedded.notices import tell
from mq9_mcp.engine.embedded.reading import ReadingStore
from mq9_mcp.engine.embedded.reads import FROM_TABLES
from mq9_mcp.engine.embedded.replay import encode_events, rebase
from mq9_mcp.engine.embedded.tables import MEMORY_LIMIT
from mq9_mcp.engine.embedded.task_words import (
    put_words,
    task_history,
    task_view,
    task_view_from_tables,
)

RESTART_LEASE_MS = limit("restart_lease_s") * 1000
TASK_COMMANDS = (TaskGet, TaskUpdate, TaskCancel)  # their replies are a task
# Their replies name nothing that a change would complete, but for tasks.
PLAIN = frozenset({MailboxSend, MailboxAck, TaskRequest})
BACKLOG_BYTES = 64 * 1024 * 1024  # unfolded records above it make commands wait: the tables must follow
READS = (AgentDiscover, GroupList, MailboxGet, MailboxList, TaskGet)  # answered from memory alone


class _Nobody:
    """The listener before a broker takes the place."""

    waits: Collection[str] = ()

    def stored(self) -> None:
        """Nobody looks ahead."""

    def arrived(self, address: str, count: int, group: str | None = None) -> None:
        """Nobody waits."""

    def moved(self, message: int, rung: str, reply: int = 0) -> None:
        """Nobody watches."""

    def task_moved(self, task: str, worker: str | None) -> None:
        """Nobody follows."""


class EmbeddedEngine(ReadingStore):
    """Memory and DuckDB behind the seam of ``engine.base``; open one with ``await open_engine(...)``."""

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        journal_bytes: int = JOURNAL_BYTES,
        memory_limit: str = MEMORY_LIMIT,
        disk: Disk | None = None,
        fold_apart: bool = True,
    ) -> None:
        super().__init__(folder, segment_bytes, memory_limit, disk, fold_apart)
        self.listener: Listener = _Nobody()
        self.watched: set[int] = set()
        self.followed: set[str] = set()
        self.house = Housekeeping(journal_bytes)

    @property
    def time(self) -> int:
        """The last time that the journal knows."""
        return self.state.at

    async def begin(self, ask: Ask) -> None:
        """Ready for callers: every open lease gets its time to find the broker again."""
        plan = Plan(self.state, SYSTEM, self._settle_time(ask), ask.now)
        plan.events.append(Opened(at=plan.now, lease_floor=plan.now + RESTART_LEASE_MS))
        self.commit(plan)
        await self.durable()

    def _committed(self, batch: Batch) -> None:
        super()._committed(batch)
        self.listener.stored()

    def drop_segments(self) -> None:
        """Delete segments that nobody needs."""
        self.house.drop_segments(self)

    def recovered(self) -> None:
        """Whoever waits looks again: the state is another one."""
        self.listener.stored()
        for mailbox in self.state.mailboxes.values():
            self.listener.arrived(mailbox.address, mailbox.unsettled)

    # -- the seam

    def execute(self, caller: Caller, command: Command, ask: Ask) -> Awaitable[dict[str, Any]]:
        """Decide ``command``, store what it changes, return its reply; or raise ``Mq9Error``."""
        if caller.agent in self.state.agents:
            self._hear(caller, ask)
        if self.broken is None and not self.closed and self.folder.backlog_bytes <= BACKLOG_BYTES:
            if type(command) is MailboxFetch:
                return self._fetch(caller, command, ask)
            if type(command) in PLAIN:
                return self._execute_plain(caller, command, ask)
        return self._execute(caller, command, ask)

    def _execute_plain(self, caller: Caller, command: Command, ask: Ask) -> Awaitable[dict[str, Any]]:
        """Decide at once what most calls are; their reply comes with the commit, without a coroutine."""
        try:
            reply = self._decide(caller, command, ask)
        except Unprepared:
            return self._execute(caller, command, ask)
        except Refused as refusal:
            return self._refuse(refusal)
        if ask.words or "tasks" in reply:
            return self._finish(command, reply, ask)
        return self.journal.promise(reply)

    async def _refuse(self, refusal: Refused) -> dict[str, Any]:
        await self.durable()
        raise refusal

    async def _execute(self, caller: Caller, command: Command, ask: Ask) -> dict[str, Any]:
        kind = type(command)
        try:
            reader = FROM_TABLES.get(kind)
            if reader is not None:
                return await reader(self, caller, command, ask)
            if self.broken is not None or self.closed:
                await self._standby(kind)
            if self.folder.backlog_bytes > BACKLOG_BYTES and kind not in READS:
                await self.folder.reach(self.journal.durable_seq, stored=True)
            if type(command) is MailboxFetch:
                return await self._fetch(caller, command, ask)
            try:
                reply = self._decide(caller, command, ask)
            except Unprepared:
                reply = await self._decide_prepared(caller, command, ask)
        except Refused:
            await self.durable()
            raise
        return await self._finish(command, reply, ask)

    async def _finish(self, command: Command, reply: dict[str, Any], ask: Ask) -> dict[str, Any]:
        """The reply once it may be given, with what only the tables know."""
        await self.journal.stored()
        if ask.words:
            await put_words(self, ask.words)
        if type(command) not in PLAIN or "tasks" in reply:
            await self._complete_tasks(command, reply)
        return reply

    def _show_task(self, reply: dict[str, Any], ask: Ask) -> None:
        """Put the task in for its name: as it is now, before anybody else moves it."""
        name = reply["task"]
        task = self.state.tasks.get(name) or self.state.ended_tasks.get(name) or ask.paged.tasks[name]
        reply["task"] = task_view(self, task)

    async def _complete_tasks(self, command: Command, reply: dict[str, Any]) -> None:
        """What the reply tells of tasks, from the tables as far as memory and the journal do not hold it."""
        if isinstance(command, TASK_COMMANDS):
            if type(reply["task"]) is not dict or (isinstance(command, TaskGet) and command.history):
                await self._complete_task(command, reply)
        elif isinstance(command, MailboxAck) and command.tasks is not None:
            for one in reply["tasks"]:
                await self._complete_task(command, one)

    async def _complete_task(self, command: Command, reply: dict[str, Any]) -> None:
        """Words that the journal has no more, and the history."""
        if isinstance(reply["task"], Task):
            reply["task"] = await task_view_from_tables(self, reply["task"])
        if isinstance(command, TaskGet) and command.history:
            known = reply["task"]
            entries = await task_history(self, known["id"], known["version"], command.history)
            known["history"] = entries

    async def _standby(self, kind: type[Command]) -> None:
        """After a failed write, reads wait for the state to be rebuilt; changes are refused till then."""
        if kind in READS:
            await self.repaired()
        self.check()

    def next_due(self) -> int:
        """When time changes something next; may be early, never late."""
        alarms = self.state.alarms
        return alarms[0][0] if alarms else NEVER

    async def tick(self, ask: Ask) -> None:
        """Do what has come due, and keep the data directory small."""
        if self.broken:
            return
        try:
            self._pass_time(ask)
            for mailbox in self.house.overdue(self.state, ask.now):
                await self.house.prune(self, mailbox, SYSTEM, ask)
        except Unavailable:
            return  # the next tick tries again

    def give_back(self, reply: dict[str, Any], ask: Ask) -> None:
        """Release the leases of a fetch reply that did not reach its caller; no attempt is counted."""
        tokens = [read_lease_token(message["lease"]) for message in reply["messages"]]
        self._release([token for token in tokens if token is not None], ask)

    # -- commands

    def _settle_time(self, ask: Ask) -> Ask:
        """Time never goes back, whatever was awaited since ``ask`` was made."""
        if ask.now < self.state.at:
            ask.now = self.state.at
        return ask

    def _decide(self, caller: Caller, command: Command, ask: Ask) -> dict[str, Any]:
        """From here to the journal nothing is awaited: what is decided on is what changes."""
        try:
            self._pass_time(ask)
        except Unavailable:
            if not isinstance(command, READS):
                raise
        ask.words = None
        plan = Plan(self.state, caller, ask, ask.now)
        reply = DECIDE[type(command)](plan, command)
        if plan.events:
            self.commit(plan)
        if ask.stored is not None:
            ask.stored([receipt["id"] for receipt in reply["receipts"]])
        if type(command) in PLAIN and "tasks" not in reply:
            return reply
        if plan.heartbeat is not None:
            hear(plan.heartbeat, plan.now)
        return self._complete(command, reply, ask)

    def _hear(self, caller: Caller, ask: Ask) -> None:
        """Any call as a registered agent is a sign of life; one that was away is available again."""
        with contextlib.suppress(Unavailable):  # the call itself says what is wrong
            self.check()
            self._pass_time(ask)
            agent = heard_as(self.state, caller)
            if agent is None:
                return
            agent.seen_at = ask.now
            if agent.status == "away":
                plan = Plan(self.state, SYSTEM, ask, ask.now)
                decide_back(plan, agent)
                self.commit(plan)

    async def _decide_prepared(self, caller: Caller, command: Command, ask: Ask) -> dict[str, Any]:
        """Bring in what memory does not hold, then decide."""
        ask.paged = Paged()
        while await prepare.PREPARE[type(command)](self, caller, command, ask):
            self.check()
            self._pass_time(ask)  # what ends now leaves memory, and is to be brought in too
        return self._decide(caller, command, ask)

    def _complete(self, command: Command, reply: dict[str, Any], ask: Ask) -> dict[str, Any]:
        """Replace names by what stands there after the change."""
        if type(command) in TASK_COMMANDS:
            self._show_task(reply, ask)
        for one in reply.get("tasks", ()):
            self._show_task(one, ask)
        if isinstance(reply.get("mailbox"), str):
            reply["mailbox"] = mailbox_view(self.state.addresses[reply["mailbox"]])
        if "group" in reply:
            mailbox = self.state.addresses[reply["group"]["mailbox"]]
            reply["group"] = group_view(mailbox.groups[reply["group"]["name"]])
        return reply

    def commit(self, plan: Plan) -> None:
        """Journal the plan's events and apply them. Raises before anything changes if there is no room."""
        if self.broken is not None or self.closed:
            self.check()
        state, events, bodies = self.state, plan.events, plan.bodies
        if (state.tasks or plan.tasks) and not plan.followed:
            follow_mail(plan)
        position = self.journal.append(encode_events(events), bodies, plan.body_bytes, plan.now)
        if bodies:
            self.journal.remember(position, bodies)
            for event in events:
                rebase(event, position)
        apply(state, events)
        if self.listener.waits or self.watched or self.followed or state.pushes:
            tell(self.listener, self.watched, state, events)

    def _pass_time(self, ask: Ask) -> None:
        """Bring every mailbox that has something due up to ``ask.now``."""
        state = self.state
        if ask.now < state.at:
            ask.now = state.at
        now = ask.now
        if not state.alarms or state.alarms[0][0] > now:
            return
        while state.next_alarm() <= now:
            due = state.alarmed(now)
            self._show(due, ask)
            for stage in STAGES:
                for mailbox in due:
                    if mailbox.number in state.mailboxes:
                        plan = Plan(state, SYSTEM, ask, ask.now)
                        stage(plan, mailbox)
                        if plan.events:
                            self.commit(plan)
            for mailbox in due:
                if mailbox.number in state.mailboxes:
                    self._wait_anew(mailbox, now)

    def _show(self, due: list[Mailbox], ask: Ask) -> None:
        """All delayed mail that is due, in one commit."""
        plan = Plan(self.state, SYSTEM, ask, ask.now)
        for mailbox in due:
            decide_visible(plan, mailbox)
        if plan.events:
            self.commit(plan)

    def _wait_anew(self, mailbox: Mailbox, now: int) -> None:
        """Tell who waits what came out of backoff; set the alarm for what is due next."""
        for group in mailbox.groups.values():
            if ready := backoff_over(group, now):
                self.listener.arrived(mailbox.address, ready, group.name)
        mailbox.alarm = NEVER
        self.state.watch(mailbox, max(mailbox.next_due(), now + 1))

    async def _fetch(self, caller: Caller, command: MailboxFetch, ask: Ask) -> dict[str, Any]:
        try:
            while True:
                plan, reply, behind = self._decide_fetch(caller, command, ask)
                if reply is None:
                    await self._join(caller, command, ask)
                elif not behind:
                    break
                for group in behind:
                    await self._revive(group, ask)
            if plan.events:
                self.commit(plan)
        except Refused:
            await self.durable()
            raise
        try:
            await self.journal.promise(None)
            if ask.words:
                await put_words(self, ask.words)
            found, missing = self.messages.at_hand(reply["messages"])
            if missing:
                found = await self.messages.from_tables(reply["messages"], found, missing)
        except (asyncio.CancelledError, Unavailable):  # nobody is told of these leases
            leases = [event for event in plan.events if isinstance(event, Leased)]
            self._release([(lease.group, id, lease.secret) for lease in leases for id in lease.ids], ask)
            raise
        reply["messages"] = found
        return reply

    def _decide_fetch(
        self, caller: Caller, command: MailboxFetch, ask: Ask
    ) -> tuple[Plan, dict[str, Any] | None, list[Group]]:
        """A plan with its reply, None where something must be made first; and groups to be read on before."""
        self._pass_time(ask)
        ask.words = None
        plan = Plan(self.state, caller, ask, ask.now)
        groups = joined(plan, command)
        if groups is None:
            return plan, None, []
        reply, behind = decide_fetch(plan, command, groups), False
        for group in groups:
            graced, group.fetched_at, group.grace = group.grace, plan.now, 0
            if graced:  # without it the group may end sooner
                self.state.watch(group.mailbox, group.idle_at())
            behind = behind or group.history is not None
        if behind and not enough(reply, command.max, groups):
            return plan, reply, [group for group in groups if group.history is not None]
        return plan, reply, []

    async def _join(self, caller: Caller, command: MailboxFetch, ask: Ask) -> None:
        """Make what the first fetch makes: its groups, and the agent's own mailbox."""
        plan = Plan(self.state, caller, ask, ask.now)
        mailboxes = [self.state.addresses.get(address) for address in fetched_addresses(plan, command)]
        new = [box for box in mailboxes if box is not None and command.group not in box.groups]
        if any(mailbox.settled for mailbox in new):
            ask.paged = Paged()
            while await prepare.history_sizes(self, caller, new, command.deliver, "deliver", ask):
                self.check()
                self._pass_time(ask)
            plan = Plan(self.state, caller, ask, ask.now)
        decide_join(plan, command)
        if plan.events:
            self.commit(plan)

    async def _revive(self, group: Group, ask: Ask) -> None:
        page = await prepare.history_page(self, group)
        self.check()
        if page is not None:
            plan = Plan(self.state, SYSTEM, self._settle_time(ask), ask.now)
            decide_revive(plan, group, page)
            self.commit(plan)

    async def ready_to_read(self, ask: Ask) -> None:
        """Be up to date before a read; without room on disk reads go on."""
        await self.repaired()
        with contextlib.suppress(Unavailable):
            self._pass_time(ask)

    def _release(self, leases: list[tuple[int, int, str]], ask: Ask) -> None:
        """Give back what is still held under these leases."""
        plan = Plan(self.state, SYSTEM, self._settle_time(ask), ask.now)
        for number, id, secret in leases:
            group = self.state.groups.get(number)
            if group is None or (delivery := group.open.get(id)) is None:
                continue
            if delivery.secret != secret or delivery.state is not DeliveryState.LEASED:
                continue
            ending = group.mailbox.ending.get(id)
            if ending is not None:
                close(plan, group, self.state.mails[id], ending, "release")
            else:
                plan.events.append(Released(at=plan.now, group=number, ids=[id]))
        if plan.events and not self.broken and not self.closed:
            with contextlib.suppress(Unavailable):  # without room on disk the leases run out by themselves
                self.commit(plan)


async def open_engine(folder: Path, **options: Any) -> EmbeddedEngine:
    """Open the data directory ``folder``; raises ``Unavailable`` if it has an owner, ``Damaged`` if it is."""
    engine = EmbeddedEngine(folder, **options)
    await engine.open()
    return engine
