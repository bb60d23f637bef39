"""A look at the journal of a data directory that somebody else may own: reads only, changes nothing.

Bodies are left out, and so are the secrets of leases: what is shown may be shown to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from mq9_mcp.domain.commands import TIERS
from mq9_mcp.domain.events import Event, Mail
from mq9_mcp.engine.embedded.frame import SEGMENT_HEADER, Damaged, decode_header, is_torn_header, read_frame
from mq9_mcp.engine.embedded.replay import entries
from mq9_mcp.engine.embedded.segments import JOURNAL_FOLDER, SUFFIX, Segment, is_blank

HIDDEN = frozenset({"secret", "receipts", "position", "digest", "place", "target"})


class Seen(NamedTuple):
    """One record: its sequence, its broker time, and what changed, as plain values."""

    seq: int
    at: int
    events: list[dict[str, Any]]


def read_journal(folder: Path) -> Iterator[Seen]:
    """Every whole record of the journal in ``folder``, oldest first; ``Damaged`` where one is missing.

    A commit that its owner is writing, or that a crash cut short, is left out.
    """
    journal = folder / JOURNAL_FOLDER
    paths = sorted(journal.glob(f"*{SUFFIX}"))
    if not paths:
        raise FileNotFoundError(f"there is no journal in {folder}")
    following = 0
    for index, path in enumerate(paths):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # its owner deleted it meanwhile: everything in it is folded
        if path == paths[-1] and is_torn_header(data) and is_blank(data[SEGMENT_HEADER:]):
            return  # a segment that is being made
        header = decode_header(data, path.name)
        if following and header.first_seq != following:
            if all(is_blank(one.read_bytes()[SEGMENT_HEADER:]) for one in paths[index:]):
                return  # made before the commit that was to come before it
            raise Damaged(f"{path.name}: begins with record {header.first_seq}, expected {following}")
        segment = Segment(path, -1, header, len(data))
        following = header.first_seq
        for seen in _records(segment, data):
            yield seen
            following = seen.seq + 1


def _records(segment: Segment, data: bytes) -> Iterator[Seen]:
    offset, seq = SEGMENT_HEADER, segment.first_seq
    while (frame := read_frame(data, offset, segment.salt)) is not None and frame.first_seq == seq:
        for entry in entries(segment, frame):
            yield Seen(entry.seq, entry.events[-1].at, [_plain(event) for event in entry.events])
        offset, seq = frame.end, seq + frame.records


def _plain(value: Any) -> Any:
    """Structs as dictionaries of what differs from the defaults, without what is hidden."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if not isinstance(value, Struct):
        return value
    fields = {
        name: _plain(field)
        for name, default in zip(value.__struct_fields__, _defaults(value), strict=True)
        if name not in HIDDEN and (field := getattr(value, name)) not in (default, [])
    }
    if isinstance(value, Event):
        fields.pop("at")
        return {"event": value.__struct_config__.tag, **fields}
    if isinstance(value, Mail):
        fields["priority"] = TIERS[fields.pop("tier")]
    return fields


def _defaults(value: Struct) -> list[Any]:
    """The default of every field; a field without one gets a value that nothing equals."""
    given = value.__struct_defaults__
    return [object()] * (len(value.__struct_fields__) - len(given)) + list(given)
