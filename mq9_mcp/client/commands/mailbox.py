"""The commands about a mailbox."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from mq9_mcp.client.arguments import (
    AckItem,
    IntentArguments,
    MessageArguments,
    SettingsArguments,
    TaskOptions,
    TaskUpdate,
)
from mq9_mcp.client.base import Caller
from mq9_mcp.client.replies import (
    AckReply,
    CreateReply,
    DeleteReply,
    DropReply,
    FetchReply,
    ListReply,
    MailboxReply,
    QueryReply,
    RedriveReply,
    SendReply,
)


class MailboxCommands(Caller):
    """The commands about a mailbox."""

    async def mailbox_create(
        self,
        *,
        address: str | None = None,
        description: str | None = None,
        settings: SettingsArguments | None = None,
    ) -> CreateReply:
        """Make a mailbox, or renew one with equal settings.

        Arguments:
            address: Its address; an unguessable one if left out.
            description: What it is for, for people.
            settings: Settings; defaults for what is left out.

        Reply:
            mailbox: {address, owner, description?, created_at, expires_at?, settings, counts}
            created: false if it existed with equal settings and was renewed

        Errors: MAILBOX_EXISTS, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: CreateReply = await self._command("mailbox_create", locals())
        return reply

    async def mailbox_send(
        self,
        *,
        to: str | list[str] | tuple[str, ...] | None = None,
        text: str | None = None,
        parts: Sequence[Mapping[str, Any]] | None = None,
        priority: Literal["critical", "urgent", "normal"] = "normal",
        dedup_key: str | None = None,
        state_key: str | None = None,
        tags: list[str] | tuple[str, ...] = (),
        delay_s: float | None = None,
        deliver_at: datetime | str | None = None,
        ttl_s: float | None = None,
        expires_at: datetime | str | None = None,
        session: str | None = None,
        in_reply_to: int | None = None,
        reply_to: str | None = None,
        task: bool | TaskOptions | str | None = None,
        intent: IntentArguments | None = None,
        park: bool | None = None,
        metadata: Mapping[str, Any] | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        messages: Sequence[MessageArguments] | None = None,
        wait_for: Literal["leased", "acked", "replied"] | None = None,
        wait_s: float = 0,
    ) -> SendReply:
        """Store a message, or several, all or none; the receipt comes when they are on disk.

        Arguments:
            to: One address, or a list: a copy for each, all or none.
            text: Shorthand for one text part.
            parts: 1 to 64 A2A Parts: text, data, raw or url.
            priority: Strict between the three, in every group.
            dedup_key: A second send with this key stores nothing.
            state_key: Latest wins: older unleased copies are withdrawn.
            tags: Words to filter by.
            delay_s: Invisible for so long.
            deliver_at: Invisible until then.
            ttl_s: Lifetime, counted from visibility.
            expires_at: Never delivered from then on.
            session: The conversation it belongs to.
            in_reply_to: The message it answers; to and session follow from it.
            reply_to: Where answers go, else to the sender.
            task: true, or {timeout_s}: opens a task. A task id: continues that task.
            intent: {text, tags?, skill?}: what is to be done, instead of to; the agent that fits best gets
                it.
            park: With intent: if no agent fits, keep it until one comes.
            metadata: A JSON object, carried through.
            traceparent: W3C trace context, carried through.
            tracestate: W3C trace context, carried through.
            messages: Several messages instead of one, stored all or none.
            wait_for: Stay until group default got so far.
            wait_s: How long wait_for stays.

        Reply:
            receipts: [{id, mailbox, stored_at, duplicate, session, task?, routed?, reached?, reply?}] in
                the order of the messages and of to

        Errors: MAILBOX_NOT_FOUND, NO_MATCHING_AGENT, MESSAGE_NOT_FOUND, SESSION_NOT_FOUND, SESSION_CLOSED,
        LOOP_GUARD, DEDUP_CONFLICT, MESSAGE_TOO_LARGE, BATCH_TOO_LARGE, MAILBOX_FULL, TASK_NOT_FOUND,
        ILLEGAL_TRANSITION, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: SendReply = await self._command("mailbox_send", locals())
        return reply

    async def mailbox_fetch(
        self,
        *,
        mailbox: str | list[str] | tuple[str, ...] | None = None,
        group: str = "default",
        max: int = 10,
        wait_s: float = 0,
        lease_s: float = 300,
        tags_any: list[str] | tuple[str, ...] = (),
        tags_all: list[str] | tuple[str, ...] = (),
        tags_none: list[str] | tuple[str, ...] = (),
        priority_min: Literal["critical", "urgent", "normal"] = "normal",
        session: str | None = None,
        deliver: str | int = "earliest",
    ) -> FetchReply:
        """Take the next messages under a lease; with wait_s, wait for one to arrive.

        Arguments:
            mailbox: One mailbox or up to 16 in one wait; the caller's own if left out.
            group: An independent reader of the mailbox.
            max: Never more messages than this.
            wait_s: Wait so long for a first message.
            lease_s: How long the messages are yours; extend to keep them.
            tags_any: Messages with at least one of these.
            tags_all: Messages with all of these.
            tags_none: Messages with none of these.
            priority_min: Only this priority and above.
            session: Only messages of this session.
            deliver: Where a new group begins: earliest, latest (after now), a message id or a time.

        Reply:
            messages: [{id, mailbox, from, verified, created_at, deliver_at?, expires_at?, priority, parts,
                tags, dedup_key?, state_key?, session, in_reply_to?, reply_to?, task?, task_state?,
                metadata?, dead_letter?, attempt, fence, lease, leased_until, checkpoint?, question?,
                follow_ups?}] best first, never more than max
            remaining: how many more wait, counted to 1,000
            cancel_requested: [task] that the caller should stop
            follow_ups: messages in tasks that the caller works on, if there are new ones

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: FetchReply = await self._command("mailbox_fetch", locals())
        return reply

    async def mailbox_ack(
        self,
        *,
        items: Sequence[AckItem],
        send: MessageArguments | Sequence[MessageArguments] | None = None,
        tasks: Sequence[TaskUpdate] | None = None,
    ) -> AckReply:
        """Settle leased messages: ack, nack, release, extend or reject; send replies in the same commit.

        Arguments:
            items: Leases and their outcomes.
            send: A message, or several, stored in the same commit.
            tasks: Task updates in the same commit.

        Reply:
            results: [{id, outcome, ok, error?, leased_until?, cancel_requested?, follow_ups?}] in the order
                of items
            receipts: [{id, mailbox, stored_at, duplicate, session, task?, routed?, reached?, reply?}] of
                send, if there was one
            tasks: [{task, leased_until?, follow_ups?}] of tasks, if there were any

        Errors: LEASE_LOST, VERSION_CONFLICT, MAILBOX_NOT_FOUND, NO_MATCHING_AGENT, MESSAGE_NOT_FOUND,
        SESSION_NOT_FOUND, SESSION_CLOSED, LOOP_GUARD, DEDUP_CONFLICT, MESSAGE_TOO_LARGE, BATCH_TOO_LARGE,
        MAILBOX_FULL, TASK_NOT_FOUND, ILLEGAL_TRANSITION, INVALID_ARGUMENT, RATE_LIMITED,
        STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: AckReply = await self._command("mailbox_ack", locals())
        return reply

    async def mailbox_query(
        self,
        *,
        mailbox: str | None = None,
        ids: list[int] | tuple[int, ...] | None = None,
        session: str | None = None,
        tags_any: list[str] | tuple[str, ...] = (),
        tags_all: list[str] | tuple[str, ...] = (),
        tags_none: list[str] | tuple[str, ...] = (),
        priority: Literal["critical", "urgent", "normal"] | None = None,
        from_: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        state: Literal["delayed", "waiting", "leased", "backoff", "acked", "dead", "expired", "withdrawn"]
        | None = None,
        group: str | None = None,
        order: Literal["asc", "desc"] = "asc",
        limit: int = 20,
        cursor: str | None = None,
    ) -> QueryReply:
        """Look at messages without taking them: settled, delayed and waiting ones.

        Arguments:
            mailbox: The mailbox; the caller's own if left out.
            ids: Only these.
            session: Only messages of this session.
            tags_any: Messages with at least one of these.
            tags_all: Messages with all of these.
            tags_none: Messages with none of these.
            priority: Only this priority.
            from_: Only from this sender.
            since: Created at or after.
            until: Created before.
            state: Only messages in this delivery state in group.
            group: The group that state speaks of; default if left out.
            order: Oldest or newest first.
            limit: Messages on a page.
            cursor: next_cursor of the page before.

        Reply:
            messages: [{id, mailbox, from, verified, created_at, deliver_at?, expires_at?, priority, parts,
                tags, dedup_key?, state_key?, session, in_reply_to?, reply_to?, task?, task_state?,
                metadata?, dead_letter?, deliveries: [{group, state, attempt, worker?}]}]
            next_cursor: if there are more
            remaining: how many more, counted to 1,000

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: QueryReply = await self._command("mailbox_query", locals())
        return reply

    async def mailbox_delete(
        self,
        *,
        ids: list[int] | tuple[int, ...],
        mailbox: str | None = None,
    ) -> DeleteReply:
        """Remove messages, all or none; cancels delayed ones.

        Arguments:
            ids: The messages to remove.
            mailbox: The mailbox; the caller's own if left out.

        Reply:
            deleted: how many

        Errors: MAILBOX_NOT_FOUND, MESSAGE_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED,
        STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: DeleteReply = await self._command("mailbox_delete", locals())
        return reply

    async def mailbox_list(
        self,
        *,
        prefix: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> ListReply:
        """The caller's mailboxes by address.

        Arguments:
            prefix: Only addresses that begin so.
            limit: Mailboxes on a page.
            cursor: next_cursor of the page before.

        Reply:
            mailboxes: [{address, owner, description?, created_at, expires_at?, settings, counts}]
            next_cursor: if there are more
            remaining: how many more, counted to 1,000

        Errors: INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: ListReply = await self._command("mailbox_list", locals())
        return reply

    async def mailbox_get(
        self,
        *,
        address: str | None = None,
    ) -> MailboxReply:
        """One mailbox with its settings and counts.

        Arguments:
            address: The mailbox; the caller's own if left out.

        Reply:
            mailbox: {address, owner, description?, created_at, expires_at?, settings, counts}

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: MailboxReply = await self._command("mailbox_get", locals())
        return reply

    async def mailbox_update(
        self,
        *,
        address: str,
        description: str | None = None,
        settings: SettingsArguments | None = None,
    ) -> MailboxReply:
        """Change settings or description of a mailbox.

        Arguments:
            address: The mailbox to change.
            description: The new description.
            settings: Only what changes.

        Reply:
            mailbox: {address, owner, description?, created_at, expires_at?, settings, counts}

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: MailboxReply = await self._command("mailbox_update", locals())
        return reply

    async def mailbox_drop(
        self,
        *,
        address: str,
    ) -> DropReply:
        """Remove a mailbox with its messages and groups; its dead letters stay.

        Arguments:
            address: The mailbox to remove with its messages and groups.

        Reply:
            dropped: its address

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: DropReply = await self._command("mailbox_drop", locals())
        return reply

    async def mailbox_redrive(
        self,
        *,
        mailbox: str,
        ids: list[int] | tuple[int, ...] | None = None,
        limit: int = 100,
        rate: int | None = None,
    ) -> RedriveReply:
        """Give dead letters back to the mailbox and group they came from, at a rate.

        Arguments:
            mailbox: The dead letter mailbox.
            ids: Only these letters.
            limit: At most so many, oldest first.
            rate: Letters a second; at once if left out.

        Reply:
            redriven: [{letter, id, mailbox}]
            skipped: [{id, error}] letters that stay, and why
            remaining: letters that are left, counted to 1,000

        Errors: MAILBOX_NOT_FOUND, MESSAGE_NOT_FOUND, LEASE_LOST, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED,
        STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: RedriveReply = await self._command("mailbox_redrive", locals())
        return reply
