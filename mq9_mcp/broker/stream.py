"""The journal as one caller may see it: every record in order, names instead of numbers, nothing of others.

The reader pulls: a slow one reads later, and nothing is kept for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.shown import groups_of, mailboxes_of, show
from mq9_mcp.domain.state import Caller
from mq9_mcp.engine.base import Committed, Engine

Record = dict[str, Any]


class Stream:
    """What ``caller`` may see of the records after ``after``, or from now on if that is None.

    ``position`` is the last record that the reader needs no more: a new stream may begin after it.
    """

    def __init__(self, engine: Engine, caller: Caller, after: int | None) -> None:
        self.engine = engine
        self.caller = caller
        first, last = engine.journal_span()
        self.position = last if after is None else _checked(after, first, last)

    async def records(self) -> AsyncGenerator[Record]:
        """``{seq, at, events}`` of every record with something to see; ends when the broker stops."""
        async with aclosing(self.engine.follow(self.position)) as following:
            async for record in following:
                events = await self._shown(record)
                if events:
                    yield {"seq": record.seq, "at": wire_time(record.events[-1].at), "events": events}
                self.position = record.seq

    async def _shown(self, record: Committed) -> list[Record]:
        mailboxes = {number for event in record.events for number in mailboxes_of(event)}
        groups = {number for event in record.events for number in groups_of(event)}
        places = await self.engine.places(mailboxes, groups)
        views = (show(event, self.caller, places) for event in record.events)
        return [view for view in views if view is not None]


def _checked(after: int, first: int, last: int) -> int:
    if first - 1 <= after <= last:
        return after
    ends = f"begins with record {first}" if after < first else f"ends with record {last}"
    raise Refused(
        "INVALID_ARGUMENT",
        f"after: {after}; the journal {ends}; accepted: {first - 1} to {last}",
        f"begin with after={first - 1}" if after < first else "leave after out to begin now",
        first=first,
        last=last,
    )
