"""The engine in numbers: counters, and one look at each mailbox; messages are never walked over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from mq9_mcp.domain.names import dead_letter_address
from mq9_mcp.domain.registry import STATUSES
from mq9_mcp.domain.state import Mailbox, State
from mq9_mcp.domain.task import TERMINAL, TaskState
from mq9_mcp.engine.base import Figures
from mq9_mcp.engine.embedded.commits import Commits
from mq9_mcp.engine.embedded.folder_process import FolderProcess
from mq9_mcp.engine.embedded.journal import Journal

SLICE = 500  # mailboxes looked at before others get their turn
WORDS_SLICE = 20_000
PUSHES = ("active", "failing", "disabled")
OPEN = [state.value for state in TaskState if state not in TERMINAL]


class Counted(Protocol):
    """What this room needs of the engine."""

    state: State
    journal: Journal
    folder: FolderProcess
    commits: Commits


async def figures(engine: Counted) -> Figures:
    """Count; mailboxes may change between two slices, so the sums are of about now."""
    state = engine.state
    mailboxes = list(state.mailboxes.values())
    oldest: int | None = None
    leases = 0
    graves: set[str] = set()
    for at, mailbox in enumerate(mailboxes):
        if at % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        leases += sum(group.leased for group in list(mailbox.groups.values()))
        graves.add(mailbox.settings.dead_letter or dead_letter_address(mailbox.address))
        if (since := _oldest(mailbox)) is not None and (oldest is None or since < oldest):
            oldest = since
    dead = sum(box.unsettled for address in graves if (box := state.addresses.get(address)) is not None)
    journal, folder = engine.journal, engine.folder
    return Figures(
        mailboxes=len(state.mailboxes),
        messages=len(state.mails),
        message_bytes=state.unsettled_bytes,
        oldest_at=oldest,
        leases=leases,
        dead_letters=dead,
        parked=len(state.parked),
        tasks=await _counted([task.state.value for task in state.tasks.values()], OPEN),
        agents=await _counted([agent.status for agent in state.agents.values()], STATUSES),
        pushes=await _counted(
            [push.state for known in state.pushes.values() for push in known.values()], PUSHES
        ),
        fold_lag_records=max(0, journal.durable_seq - folder.folded),
        fold_lag_bytes=folder.backlog_bytes,
        commit_records=engine.commits.records,
        commit_bytes=engine.commits.bytes,
    )


async def _counted(words: list[str], known: Sequence[str]) -> dict[str, int]:
    """How often each of the known words is there."""
    counts = dict.fromkeys(known, 0)
    for at in range(0, len(words), WORDS_SLICE):
        for word in words[at : at + WORDS_SLICE]:
            counts[word] += 1
        await asyncio.sleep(0)
    return counts


def _oldest(mailbox: Mailbox) -> int | None:
    """When the oldest message that lies in line became visible."""
    heads = (next(log.since(log.base + log.front), None) for log in mailbox.logs.tiers)
    return min((mail.visible_at for mail in heads if mail is not None), default=None)
