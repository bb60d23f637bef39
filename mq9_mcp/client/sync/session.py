"""The commands about a session, for code without an event loop."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from datetime import datetime
from typing import Literal

from mq9_mcp.client.replies import (
    SessionGetReply,
    SessionListReply,
    SessionReply,
)
from mq9_mcp.client.sync.base import SyncBase


class SyncSessionCommands(SyncBase):
    """The commands about a session, for code without an event loop."""

    def session_get(
        self,
        *,
        session: str,
        after: str | int | None = None,
        limit: int = 50,
    ) -> SessionGetReply:
        """Read a conversation: its messages and its tasks' states in order, as far as the caller may read.

        Arguments:
            session: The session of a message, or a name of your own.
            after: next_after of the page before, or a message id.
            limit: Entries on a page.

        Reply:
            session: {id, state, mailboxes, turns}; state is open, halted or closed
            entries: [{kind, id, mailbox, from, verified, created_at, deliver_at?, expires_at?, priority,
                parts, tags, dedup_key?, state_key?, session, in_reply_to?, reply_to?, task?, task_state?,
                metadata?, dead_letter?}] in store order; kind is message; between them {kind, task, number,
                at, state, from, reason?} where a task came to a state; kind is task
            next_after: if there are more

        Errors: SESSION_NOT_FOUND, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: SessionGetReply = self._command("session_get", locals())
        return reply

    def session_list(
        self,
        *,
        state: Literal["open", "halted", "closed"] | None = None,
        mailbox: str | None = None,
        sender: str | None = None,
        since: datetime | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SessionListReply:
        """The sessions that the caller takes part in, by name; a message alone in its own session is none.

        Arguments:
            state: Only sessions in this state.
            mailbox: Only sessions with messages to this mailbox.
            sender: Only with this sender.
            since: Only sessions that changed at or after.
            limit: Sessions on a page.
            cursor: next_cursor of the page before.

        Reply:
            sessions: [{id, state, mailboxes, turns, turns_max, changed_at}]
            next_cursor: if there are more
            remaining: how many more, counted to 1,000

        Errors: INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: SessionListReply = self._command("session_list", locals())
        return reply

    def session_close(
        self,
        *,
        session: str,
    ) -> SessionReply:
        """End a session: sends into it are refused, what is there is delivered and settled.

        Arguments:
            session: The session.

        Reply:
            session: {id, state, mailboxes, turns, turns_max, changed_at}

        Errors: SESSION_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: SessionReply = self._command("session_close", locals())
        return reply

    def session_reopen(
        self,
        *,
        session: str,
        turns_max: int | None = None,
    ) -> SessionReply:
        """Let a closed or halted session take messages again, up to a higher limit.

        Arguments:
            session: The session.
            turns_max: Messages that the session may hold in all; 1,000 more than now if left out.

        Reply:
            session: {id, state, mailboxes, turns, turns_max, changed_at}

        Errors: SESSION_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: SessionReply = self._command("session_reopen", locals())
        return reply
