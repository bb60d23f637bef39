"""The arguments of the commands about push targets of tasks."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from mq9_mcp.domain.arguments import Command, Cursor, PageLimit, TaskId, help_text
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import NAME_PATTERN

# Both go into headers of HTTP, which take no other characters.
HEADER_PATTERN = r"^[\x21-\x7e]+(?: +[\x21-\x7e]+)*(?!\n)$"
HEADER_ACCEPTED = "visible ASCII characters, with spaces only between them"
PushId = Annotated[str, Meta(min_length=1, max_length=limit("name_characters_max"), pattern=NAME_PATTERN)]
Secret = Annotated[
    str, Meta(min_length=1, max_length=limit("push_secret_characters_max"), pattern=HEADER_PATTERN)
]


class PushAuthentication(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The header ``Authorization`` of each post: ``<scheme> <credentials>``; without credentials, none."""

    scheme: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+(?!\n)$",
            description="Such as Bearer or Basic.",
        ),
    ]
    credentials: Annotated[Secret, help_text("What follows it; sent, and never shown.")] | None = None


class PushSet(Command, kw_only=True, frozen=True):
    """Arguments of ``push_set``."""

    task: Annotated[TaskId, help_text("The task whose events are posted.")]
    url: Annotated[str, Meta(min_length=1, description="Where to: http or https, no private address.")]
    id: Annotated[PushId, help_text("Names the target in its task; a new one if left out.")] | None = None
    token: Annotated[Secret, help_text("Sent as X-A2A-Notification-Token, never shown.")] | None = None
    authentication: Annotated[PushAuthentication, help_text("Sent as Authorization.")] | None = None


class PushRequest(PushSet, kw_only=True, frozen=True):
    """The same for a door. ``version`` of A2A says what is posted; an empty ``task`` is the one with it."""

    version: str = "1.0"


class PushList(Command, kw_only=True, frozen=True):
    """Arguments of ``push_list``; in the order in which they were set."""

    task: Annotated[TaskId, help_text("Only targets of this task.")] | None = None
    limit: Annotated[PageLimit, help_text("Targets on a page.")] = limit("query_limit_default")
    cursor: Annotated[Cursor, help_text("next_cursor of the page before.")] | None = None


class PushLook(PushList, kw_only=True, frozen=True):
    """The same for a door whose clients get back the tokens that they gave."""


class PushDelete(Command, kw_only=True, frozen=True):
    """Arguments of ``push_delete``; what is not there is deleted already."""

    task: Annotated[TaskId, help_text("The task.")]
    id: Annotated[PushId, help_text("The target.")]


class PushReport(Command, kw_only=True, frozen=True):
    """What became of posts to a target that was set in record ``made``; whoever posts says it.

    ``number``: acknowledged up to there. ``trouble``: why a post failed; with ``disable`` it was the last.
    """

    task: str
    id: str
    made: int
    number: int | None = None
    done: bool = False
    trouble: str | None = None
    disable: bool = False
