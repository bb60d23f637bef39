"""Replies and refusals as HTTP answers, the same at every door that speaks plain JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from mq9_mcp.domain.errors import Mq9Error

JSON = "application/json"
RETRY_S = 1  # overload, a stop and a full disk pass; a client that comes back at once makes them longer
AGAIN = {"retry-after": str(RETRY_S)}
LATER = {"RATE_LIMITED": AGAIN, "SHUTTING_DOWN": AGAIN, "STORAGE_UNAVAILABLE": AGAIN, "MAILBOX_FULL": AGAIN}
HEADERS = LATER | {"UNAUTHENTICATED": {"www-authenticate": "Bearer"}}
_encode = msgspec.json.Encoder().encode


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    return Response(_encode(value), status, headers, JSON)


def refusal(error: Mq9Error, headers: dict[str, str] | None = None, status: int | None = None) -> Response:
    """``{"error": {code, message, hint, details}}`` under the code's HTTP status (contract, section 8).

    What passes by itself says with ``Retry-After`` when to come again.
    """
    known = HEADERS.get(error.code)
    if known is not None:
        headers = known | (headers or {})
    return answer({"error": error.as_dict()}, status or error.status, headers)
