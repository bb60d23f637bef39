"""Times as the wire writes them: RFC 3339 in UTC with milliseconds; inside, integer milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from mq9_mcp.domain.errors import Refused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=4096)
def wire_time(at: int) -> str:
    """``at`` milliseconds since 1970 as the wire writes it, such as ``2026-01-31T12:00:00.000Z``."""
    whole, rest = divmod(at, 1000)
    return f"{_second(whole)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(at: int) -> str:
    return (_EPOCH + timedelta(seconds=at)).isoformat()[:-6]


def milliseconds(time: datetime) -> int:
    """A wire time in milliseconds since 1970, parts of a millisecond cut off."""
    return (time - _EPOCH) // _MILLISECOND


def read_time(text: str, argument: str) -> int:
    """A wire time in milliseconds, or a refusal that names ``argument``."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return milliseconds(time)
    except (ValueError, OverflowError):
        pass
    raise Refused(
        "INVALID_ARGUMENT",
        f"{argument}: {text[:64]!r} is no time; accepted: RFC 3339 with a zone, such as "
        "'2026-01-31T12:00:00Z'",
    )


def seconds(value: float) -> int:
    """A duration in seconds as milliseconds."""
    return round(value * 1000)
