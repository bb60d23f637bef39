"""The commands about a group."""

# Made by `make client`; edits here are lost.

from __future__ import annotations

from mq9_mcp.client.base import Caller
from mq9_mcp.client.replies import (
    GroupDeleteReply,
    GroupListReply,
    GroupReply,
)


class GroupCommands(Caller):
    """The commands about a group."""

    async def group_list(
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
        reply: GroupListReply = await self._command("group_list", locals())
        return reply

    async def group_reset(
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
        reply: GroupReply = await self._command("group_reset", locals())
        return reply

    async def group_delete(
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
        reply: GroupDeleteReply = await self._command("group_delete", locals())
        return reply
