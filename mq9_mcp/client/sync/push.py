"""The commands about a push, for code without an event loop."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from mq9_mcp.client.arguments import (
    PushAuthentication,
)
from mq9_mcp.client.replies import (
    PushDeleteReply,
    PushListReply,
    PushReply,
)
from mq9_mcp.client.sync.base import SyncBase


class SyncPushCommands(SyncBase):
    """The commands about a push, for code without an event loop."""

    def push_set(
        self,
        *,
        task: str,
        url: str,
        id: str | None = None,
        token: str | None = None,
        authentication: PushAuthentication | None = None,
    ) -> PushReply:
        """Post a task's events to a URL, first the task as it stands: at least once each, in order.

        Arguments:
            task: The task whose events are posted.
            url: Where to: http or https, no private address.
            id: Names the target in its task; a new one if left out.
            token: Sent as X-A2A-Notification-Token, never shown.
            authentication: Sent as Authorization.

        Reply:
            push: {id, task, url, authentication?, state, delivered, created_at, failing_since?,
                disabled_at?, trouble?}

        Errors: TASK_NOT_FOUND, FORBIDDEN, BATCH_TOO_LARGE, INVALID_ARGUMENT, RATE_LIMITED,
        STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: PushReply = self._command("push_set", locals())
        return reply

    def push_list(
        self,
        *,
        task: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> PushListReply:
        """Where the events of the caller's tasks are posted, and how far that has come; never the secrets.

        Arguments:
            task: Only targets of this task.
            limit: Targets on a page.
            cursor: next_cursor of the page before.

        Reply:
            pushes: [{id, task, url, authentication?, state, delivered, created_at, failing_since?,
                disabled_at?, trouble?}] state is active, failing, disabled or done; delivered is the last
                event that the receiver has acknowledged
            next_cursor: if there are more
            remaining: how many more, counted to 1,000

        Errors: INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        reply: PushListReply = self._command("push_list", locals())
        return reply

    def push_delete(
        self,
        *,
        task: str,
        id: str,
    ) -> PushDeleteReply:
        """Post no more events of a task to a target.

        Arguments:
            task: The task.
            id: The target.

        Reply:
            deleted: false if there was none

        Errors: TASK_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: PushDeleteReply = self._command("push_delete", locals())
        return reply
