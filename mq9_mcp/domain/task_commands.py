"""The arguments of the commands about tasks (contract, section 4)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mq9_mcp.domain.arguments import (
    Address,
    Command,
    Cursor,
    Description,
    JsonValue,
    LeaseSeconds,
    Name,
    PageLimit,
    Reason,
    SessionName,
    TaskId,
    Time,
    Wait,
    help_text,
)
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import TEXT_PATTERN

State = Literal[
    "submitted",
    "working",
    "input-required",
    "auth-required",
    "completed",
    "failed",
    "canceled",
    "rejected",
]
Amount = Annotated[int, Meta(ge=0, lt=2**53)] | Annotated[float, Meta(ge=0, le=2**53)]


class Progress(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """How far a task is."""

    done: Annotated[Amount, help_text("How much is done.")] | None = None
    total: Annotated[Amount, help_text("How much there is to do.")] | None = None
    note: Annotated[Description, help_text("What is being done, for people.")] | None = None


class Artifact(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A result of a task, or a piece of one."""

    artifact_id: Annotated[Name, help_text("Names the artifact; a new one if left out.")] | None = None
    name: Annotated[Name, help_text("What it is, for people.")] | None = None
    text: Annotated[str, help_text("Shorthand for one text part.")] | None = None
    data: Annotated[JsonValue, help_text("Shorthand for one data part.")] | None = None
    parts: Annotated[list[dict[str, Any]], help_text("1 to 64 A2A Parts: text, data, raw or url.")] | None = (
        None
    )
    append: Annotated[bool, help_text("Its parts go behind those of the artifact; else it replaces it.")] = (
        False
    )
    last_chunk: Annotated[bool, help_text("Nothing more is appended to it.")] = False


class TaskUpdate(Command, kw_only=True, frozen=True):
    """Arguments of ``task_update``: a worker's word about a task that it holds the lease of."""

    task: Annotated[TaskId, help_text("The task.")]
    lease: Annotated[
        str,
        Meta(
            min_length=1, max_length=128, pattern=TEXT_PATTERN, description="The lease on its work message."
        ),
    ]
    state: (
        Annotated[
            State,
            help_text("What the task becomes; submitted gives it back. All but working end the lease."),
        ]
        | None
    ) = None
    message: (
        Annotated[str | list[dict[str, Any]], help_text("A word to the asker: text, or A2A Parts.")] | None
    ) = None
    progress: Annotated[Progress, help_text("How far it is.")] | None = None
    checkpoint: (
        Annotated[
            JsonValue, help_text("Where to go on from, for whoever gets the next lease; up to 256 KiB.")
        ]
        | None
    ) = None
    artifacts: (
        Annotated[list[Artifact], Meta(max_length=64, description="Results, or pieces of them.")] | None
    ) = None
    lease_s: Annotated[LeaseSeconds, help_text("The new lease, counted from now.")] | None = None
    expected_version: (
        Annotated[int, Meta(ge=1, lt=2**53, description="Refuse if the task has another version.")] | None
    ) = None


class TaskCancel(Command, kw_only=True, frozen=True):
    """Arguments of ``task_cancel``."""

    task: Annotated[TaskId, help_text("The task.")]
    reason: Annotated[Reason, help_text("Why, in a word.")] | None = None


class TaskGet(Command, kw_only=True, frozen=True):
    """Arguments of ``task_get``."""

    task: Annotated[TaskId, help_text("The task.")]
    history: Annotated[
        int, Meta(ge=0, le=limit("query_limit_max"), description="The last so many entries of its history.")
    ] = 0
    after_version: (
        Annotated[int, Meta(ge=0, lt=2**53, description="With wait_s: return when the task is newer.")] | None
    ) = None
    wait_s: Annotated[Wait, help_text("Wait so long for a newer version.")] = 0


class TaskPage(Command, kw_only=True, frozen=True):
    """What a door shows of the tasks of a mailbox or of all, the last changed first, with what was said.

    ``before``: the place, ``(updated_at, id)``, behind which the page begins. ``said``: so many of the last
    messages of each.
    """

    mailbox: str | None = None
    task: str | None = None
    session: str | None = None
    asker: str | None = None
    state: str | None = None
    since: int | None = None
    before: tuple[int, str] | None = None
    limit: int = 1
    said: int = 0
    parts: bool = True


class TaskList(Command, kw_only=True, frozen=True):
    """Arguments of ``task_list``; newest first."""

    mailbox: Annotated[Address, help_text("Only tasks of this mailbox.")] | None = None
    session: Annotated[SessionName, help_text("Only tasks of this session.")] | None = None
    asker: (
        Annotated[str, Meta(max_length=200, pattern=TEXT_PATTERN, description="Only tasks of this asker.")]
        | None
    ) = None
    worker: (
        Annotated[
            str,
            Meta(max_length=200, pattern=TEXT_PATTERN, description="Only tasks last leased by this worker."),
        ]
        | None
    ) = None
    state: (
        Annotated[
            State,
            help_text("Only tasks in this state."),
        ]
        | None
    ) = None
    since: Annotated[Time, help_text("Only tasks that changed at or after this time.")] | None = None
    limit: Annotated[PageLimit, help_text("Tasks on a page.")] = limit("query_limit_default")
    cursor: Annotated[Cursor, help_text("next_cursor of the page before.")] | None = None
