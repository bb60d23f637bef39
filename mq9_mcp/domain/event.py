"""What every event is."""

from __future__ import annotations

from msgspec import Struct


class Event(Struct, tag_field="event", omit_defaults=True, kw_only=True):
    """Anything that changed, and when (broker time)."""

    at: int
