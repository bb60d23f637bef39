"""The commands about a group, for code without an event loop."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from mq9_mcp.client.replies import (
    GroupDeleteReply,
    GroupListReply,
    GroupReply,
)
from mq9_mcp.client.sync.base import SyncBase


class SyncGroupCommands(SyncBase):
    """The commands about a group, for code without an event loop."""

    def group_list(
        self,
        *,
        mailbox: str | None = None,
    ) -> GroupListReply:
        """The groups of a mailbox: when they last fetched, what waits for them.

        Arguments:
            mailbox: The mailbox; the caller's own if left out.

        Reply:
            groups: [{name, mailbox, fetched_at, waiting, leased, backoff}]

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: GroupListReply = self._command("group_list", locals())
        return reply

    def group_reset(
        self,
        *,
        group: str,
        to: str | int,
        mailbox: str | None = None,
    ) -> GroupReply:
        """Let a group begin again at another place; its leases are lost.

        Arguments:
            group: The group.
            to: earliest, latest (after now), a message id or a time.
            mailbox: The mailbox; the caller's own if left out.

        Reply:
            group: as group_list shows it

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: GroupReply = self._command("group_reset", locals())
        return reply

    def group_delete(
        self,
        *,
        group: str,
        mailbox: str | None = None,
    ) -> GroupDeleteReply:
        """End a group; its leases are lost.

        Arguments:
            group: The group.
            mailbox: The mailbox; the caller's own if left out.

        Reply:
            deleted: its name

        Errors: MAILBOX_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, RATE_LIMITED, STORAGE_UNAVAILABLE,
        SHUTTING_DOWN.
        """
        reply: GroupDeleteReply = self._command("group_delete", locals())
        return reply
