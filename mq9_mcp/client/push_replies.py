"""What the broker answers to the commands about push targets."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class PushScheme(TypedDict):
    """The scheme of the header Authorization."""

    scheme: str


class Push(TypedDict):
    """Where a task's events are posted, and how far that has come."""

    id: str
    task: str
    url: str
    state: Literal["active", "failing", "disabled", "done"]
    delivered: int
    created_at: str
    authentication: NotRequired[PushScheme]
    failing_since: NotRequired[str]
    disabled_at: NotRequired[str]
    trouble: NotRequired[str]


class PushReply(TypedDict):
    """The reply to ``push_set``."""

    push: Push


class PushListReply(TypedDict):
    """The reply to ``push_list``."""

    pushes: list[Push]
    next_cursor: NotRequired[str]
    remaining: int


class PushDeleteReply(TypedDict):
    """The reply to ``push_delete``."""

    deleted: bool
