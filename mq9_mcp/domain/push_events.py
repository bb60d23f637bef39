"""What the journal holds about push targets of tasks."""

from __future__ import annotations

from mq9_mcp.domain.event import Event
from mq9_mcp.domain.push_target import AS_IT_STANDS, PushTarget


class PushSet(Event, tag="push_set", kw_only=True):
    """A task's events are posted to a target, those after ``number``; it takes the place of one so named."""

    task: str
    push: str
    principal: str
    target: PushTarget
    number: int = AS_IT_STANDS


class PushDeleted(Event, tag="push_deleted", kw_only=True):
    """Nothing more is posted to a target."""

    task: str
    push: str
    principal: str


class PushMoved(Event, tag="push_moved", kw_only=True):
    """The receiver has acknowledged the events up to ``number``.

    With ``trouble`` it has failed since now. ``done``: the task is over, and that was its last event.
    """

    task: str
    push: str
    number: int
    trouble: str | None = None
    done: bool = False


class PushDisabled(Event, tag="push_disabled", kw_only=True):
    """The receiver failed for too long, or said that it is gone: nothing more is posted to it."""

    task: str
    push: str
    principal: str
    trouble: str
