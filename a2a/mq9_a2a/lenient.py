"""Parameters in the less usual forms that protobuf's JSON allows, brought into the usual one.

The SDK's own types read them, so what they refuse is refused; ``data`` and ``metadata`` are then put back
as they came, because protobuf knows no integers in them.
"""

from __future__ import annotations

from typing import Any

from a2a.types import a2a_pb2
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError  # type: ignore[import-untyped]

from mq9_a2a.errors import INVALID_PARAMS, A2aError

_TASK_STATES = a2a_pb2.TaskState.keys()


def canonical(name: str, given: Any) -> dict[str, Any]:
    """``given`` as the message ``name`` in its usual form, or ``A2aError``."""
    if not isinstance(given, dict):
        raise A2aError(INVALID_PARAMS, f"params: {type(given).__name__}; accepted: an object")
    _check_status(given)
    try:
        message = ParseDict(given, getattr(a2a_pb2, name)(), ignore_unknown_fields=True)
    except (ParseError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise A2aError(INVALID_PARAMS, f"params: {str(error)[:500]}") from None
    found: dict[str, Any] = MessageToDict(message)
    _restore(given, found)
    return found


def _check_status(given: dict[str, Any]) -> None:
    """Protobuf takes a word that it does not know for none."""
    status = given.get("status")
    if isinstance(status, str) and status and status not in _TASK_STATES:
        raise A2aError(INVALID_PARAMS, f"status: {status[:64]!a}; accepted: {', '.join(_TASK_STATES)}")


def _restore(given: dict[str, Any], found: dict[str, Any]) -> None:
    for field in ("metadata", "data"):
        if field in found and field in given:
            found[field] = given[field]
    if isinstance(given.get("message"), dict) and "message" in found:
        _restore(given["message"], found["message"])
    parts = given.get("parts")
    if isinstance(parts, list):
        for before, after in zip(parts, found.get("parts", ()), strict=False):
            if isinstance(before, dict):
                _restore(before, after)
