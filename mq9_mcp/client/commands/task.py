"""The commands about a task."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from mq9_mcp.client.arguments import (
    Artifact,
    Progress,
)
from mq9_mcp.client.base import Caller
from mq9_mcp.client.replies import (
    TaskListReply,
    TaskReply,
    TaskUpdateReply,
)


class TaskCommands(Caller):
    """The commands about a task."""

    async def task_get(
        self,
        *,
        task: str,
        history: int = 0,
        after_version: int | None = None,
        wait_s: float = 0,
    ) -> TaskReply:
        """A task as it stands; with wait_s, wait until it is newer than after_version.

        Arguments:
            task: The task.
            history: The last so many entries of its history.
            after_version: With wait_s: return when the task is newer.
            wait_s: Wait so long for a newer version.

        Reply:
            task: {id, state, session, mailbox, asker, worker?, progress?, artifacts, status_message?,
                history?, created_at, updated_at, version, cancel_requested}

        Errors: TASK_NOT_FOUND, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: TaskReply = await self._command("task_get", locals())
        return reply

    async def task_list(
        self,
        *,
        mailbox: str | None = None,
        session: str | None = None,
        asker: str | None = None,
        worker: str | None = None,
        state: Literal[
            "submitted",
            "working",
            "input-required",
            "auth-required",
            "completed",
            "failed",
            "canceled",
            "rejected",
        ]
        | None = None,
        since: datetime | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> TaskListReply:
        """Tasks that the caller asked for or whose mailbox it owns, newest first; artifacts without parts.

        Arguments:
            mailbox: Only tasks of this mailbox.
            session: Only tasks of this session.
            asker: Only tasks of this asker.
            worker: Only tasks last leased by this worker.
            state: Only tasks in this state.
            since: Only tasks that changed at or after this time.
            limit: Tasks on a page.
            cursor: next_cursor of the page before.

        Reply:
            tasks: [{id, state, session, mailbox, asker, worker?, progress?, artifacts, status_message?,
                history?, created_at, updated_at, version, cancel_requested}]
            next_cursor: if there are more
            remaining: how many more, counted to 1,000

        Errors: INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: TaskListReply = await self._command("task_list", locals())
        return reply

    async def task_update(
        self,
        *,
        task: str,
        lease: str,
        state: Literal[
            "submitted",
            "working",
            "input-required",
            "auth-required",
            "completed",
            "failed",
            "canceled",
            "rejected",
        ]
        | None = None,
        message: str | Sequence[Mapping[str, Any]] | None = None,
        progress: Progress | None = None,
        checkpoint: Mapping[str, Any] | Sequence[Any] | str | float | int | bool | None = None,
        artifacts: Sequence[Artifact] | None = None,
        lease_s: float | None = None,
        expected_version: int | None = None,
    ) -> TaskUpdateReply:
        """Tell how work on a leased task goes, ask a question, or end it; renews the lease.

        Arguments:
            task: The task.
            lease: The lease on its work message.
            state: What the task becomes; submitted gives it back. All but working end the lease.
            message: A word to the asker: text, or A2A Parts.
            progress: How far it is.
            checkpoint: Where to go on from, for whoever gets the next lease; up to 256 KiB.
            artifacts: Results, or pieces of them.
            lease_s: The new lease, counted from now.
            expected_version: Refuse if the task has another version.

        Reply:
            task: {id, state, session, mailbox, asker, worker?, progress?, artifacts, status_message?,
                history?, created_at, updated_at, version, cancel_requested}
            leased_until: while the lease goes on
            follow_ups: [message] that came since the worker was last told

        Errors: TASK_NOT_FOUND, LEASE_LOST, ILLEGAL_TRANSITION, VERSION_CONFLICT, MESSAGE_TOO_LARGE,
        BATCH_TOO_LARGE, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: TaskUpdateReply = await self._command("task_update", locals())
        return reply

    async def task_cancel(
        self,
        *,
        task: str,
        reason: str | None = None,
    ) -> TaskReply:
        """Cancel a task; whoever works on it is asked to stop.

        Arguments:
            task: The task.
            reason: Why, in a word.

        Reply:
            task: {id, state, session, mailbox, asker, worker?, progress?, artifacts, status_message?,
                history?, created_at, updated_at, version, cancel_requested}

        Errors: TASK_NOT_FOUND, ILLEGAL_TRANSITION, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: TaskReply = await self._command("task_cancel", locals())
        return reply
