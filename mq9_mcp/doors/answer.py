"""Replies and refusals as HTTP answers, the same at every door that speaks plain JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from mq9_mcp.domain.errors import Mq9Error

JSON = "application/json"
_encode = msgspec.json.Encoder().encode


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    return Response(_encode(value), status, headers, JSON)


def refusal(error: Mq9Error, headers: dict[str, str] | None = None) -> Response:
    """``{"error": {code, message, hint, details}}`` under the code's HTTP status (contract, section 8)."""
    return answer({"error": error.as_dict()}, error.status, headers)
