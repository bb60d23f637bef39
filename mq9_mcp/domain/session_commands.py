"""The arguments of the commands about sessions (contract, section 5)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from mq9_mcp.domain.arguments import (
    Address,
    Command,
    Cursor,
    MessageId,
    PageLimit,
    SessionName,
    Time,
)
from mq9_mcp.domain.arguments import help_text as _help
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import TEXT_PATTERN


class SessionGet(Command, kw_only=True, frozen=True):
    """Arguments of ``session_get``."""

    session: Annotated[SessionName, _help("The session of a message, or a name of your own.")]
    after: Annotated[str | MessageId, _help("next_after of the page before, or a message id.")] | None = None
    limit: Annotated[PageLimit, _help("Entries on a page.")] = limit("session_limit_default")


class SessionList(Command, kw_only=True, frozen=True):
    """Arguments of ``session_list``."""

    state: Annotated[Literal["open", "halted", "closed"], _help("Only sessions in this state.")] | None = None
    mailbox: Annotated[Address, _help("Only sessions with messages to this mailbox.")] | None = None
    sender: (
        Annotated[str, Meta(max_length=200, pattern=TEXT_PATTERN, description="Only with this sender.")]
        | None
    ) = None
    since: Annotated[Time, _help("Only sessions that changed at or after.")] | None = None
    limit: Annotated[PageLimit, _help("Sessions on a page.")] = limit("query_limit_default")
    cursor: Annotated[Cursor, _help("next_cursor of the page before.")] | None = None


class SessionClose(Command, kw_only=True, frozen=True):
    """Arguments of ``session_close``: no more messages; what is there is delivered and settled."""

    session: Annotated[SessionName, _help("The session.")]


class SessionReopen(Command, kw_only=True, frozen=True):
    """Arguments of ``session_reopen``: messages again, up to a higher limit."""

    session: Annotated[SessionName, _help("The session.")]
    turns_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=limit("turns_max_most"),
                description="Messages that the session may hold in all; 1,000 more than now if left out.",
            ),
        ]
        | None
    ) = None
