"""Events as bytes and back; positions in a record are relative to its bodies until it is placed."""

from __future__ import annotations

import msgspec

from mq9_mcp.domain.events import AnyEvent, Event, Sent, TaskMoved, TaskOpened
from mq9_mcp.engine.embedded.frame import Damaged, Frame, Record, records
from mq9_mcp.engine.embedded.segments import OFFSET_BITS, Segment

_decoder = msgspec.json.Decoder(list[AnyEvent])
encode_events = msgspec.json.Encoder().encode


class Entry:
    """One record on its way to the tables: its events, its bodies and where they lie."""

    __slots__ = ("bodies", "events", "position", "seq")

    def __init__(self, seq: int, events: list[Event], bodies: bytes, position: int) -> None:
        self.seq = seq
        self.events = events
        self.bodies = bodies
        self.position = position  # of the first byte of bodies


def rebase(event: Event, position: int) -> None:
    """Turn the offsets of the bodies within their record into journal positions."""
    if isinstance(event, Sent):
        for mail in event.mails:
            mail.position += position
    elif isinstance(event, TaskMoved):
        for step in event.steps:
            if step.detail is not None:
                step.detail = (step.detail[0] + position, step.detail[1])
    elif isinstance(event, TaskOpened):
        event.body = (event.body[0] + position, event.body[1])


def entries(segment: Segment, frame: Frame) -> list[Entry]:
    """The records of a frame, decoded, with the positions of their bodies."""
    try:
        return [_entry(segment, record) for record in records(frame)]
    except Damaged as error:
        raise Damaged(f"{segment.path.name} at byte {frame.offset}: {error}") from error


def _entry(segment: Segment, record: Record) -> Entry:
    position = segment.number << OFFSET_BITS | record.bodies_at
    try:
        events: list[Event] = list(_decoder.decode(record.events))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"record {record.seq} cannot be read: {error}") from error
    if not events:
        raise Damaged(f"record {record.seq} says nothing")
    for event in events:
        rebase(event, position)
    return Entry(record.seq, events, record.bodies, position)
