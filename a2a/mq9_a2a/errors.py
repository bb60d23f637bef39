"""Errors as A2A tells them: one kind for each, its JSON-RPC code, HTTP status and reason in one table.

What the broker refuses becomes the kind that a client of A2A understands; its own code goes along.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mq9_mcp.domain.errors import Mq9Error

DOMAIN = "a2a-protocol.org"
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


class Kind(NamedTuple):
    """One kind of error at both bindings."""

    code: int  # JSON-RPC
    http: int
    status: str  # google.rpc
    reason: str
    text: str


NOT_FOUND = Kind(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND", "Task not found")
NOT_CANCELABLE = Kind(-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE", "Task cannot be canceled")
UNSUPPORTED = Kind(
    -32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION", "This operation is not supported"
)
CONTENT_TYPE = Kind(
    -32005,
    415,
    "INVALID_ARGUMENT",
    "CONTENT_TYPE_NOT_SUPPORTED",
    "The content type is not supported",
)
EXTENSION_REQUIRED = Kind(
    -32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED", "Extension support required"
)
VERSION = Kind(-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED", "Version not supported")
INVALID_PARAMS = Kind(-32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS", "Invalid params")
INVALID_REQUEST = Kind(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST", "Invalid Request")
NO_METHOD = Kind(-32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND", "Method not found")
NOT_JSON = Kind(-32700, 400, "INVALID_ARGUMENT", "INVALID_REQUEST", "Invalid JSON payload")
INTERNAL = Kind(-32603, 500, "INTERNAL", "INTERNAL_ERROR", "Internal error")
# Beyond A2A's own errors.
NO_AGENT = Kind(-32602, 404, "NOT_FOUND", "AGENT_NOT_FOUND", "There is no such agent")
BUSY = Kind(-32603, 429, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "Come again in a moment")
AWAY = Kind(-32603, 503, "UNAVAILABLE", "UNAVAILABLE", "Come again in a moment")

_OF_BROKER: dict[str, Kind] = {
    "TASK_NOT_FOUND": NOT_FOUND,
    "MAILBOX_NOT_FOUND": NO_AGENT,
    "AGENT_NOT_FOUND": NO_AGENT,
    "NO_MATCHING_AGENT": NO_AGENT,
    "ILLEGAL_TRANSITION": UNSUPPORTED,
    "SESSION_CLOSED": UNSUPPORTED,
    "LOOP_GUARD": UNSUPPORTED,
    "MAILBOX_FULL": BUSY,
    "RATE_LIMITED": BUSY,
    "STORAGE_UNAVAILABLE": AWAY,
    "SHUTTING_DOWN": AWAY,
    "INTERNAL": INTERNAL,
}
_HINTS = {  # where the broker's own names what A2A's clients cannot say
    "NO_MATCHING_AGENT": "say more of what is to be done, or call /a2a/{address} of one that you know, "
    "or name it as tenant; GET /.well-known/ai-catalog.json lists them",
}
PASSED = ("UNAUTHENTICATED", "FORBIDDEN", "POLICY_VIOLATION")  # HTTP's own, before any binding


class A2aError(Exception):
    """What an A2A client is told. ``violations``: the fields at fault, ``(field, description)``."""

    def __init__(
        self,
        kind: Kind,
        message: str = "",
        violations: tuple[tuple[str, str], ...] = (),
        **metadata: str,
    ) -> None:
        super().__init__(message or kind.text)
        self.kind = kind
        self.message = message or kind.text
        self.violations = violations
        self.metadata = metadata

    @property
    def details(self) -> list[dict[str, Any]]:
        """Typed details, the same at both bindings."""
        info = {"@type": _INFO, "reason": self.kind.reason, "domain": DOMAIN, "metadata": self.metadata}
        if not self.violations:
            return [info]
        fields = [{"field": field, "description": text} for field, text in self.violations]
        return [info, {"@type": _BAD_REQUEST, "fieldViolations": fields}]


def of_broker(error: Mq9Error) -> A2aError:
    """The broker's refusal in A2A's terms."""
    kind = _OF_BROKER.get(error.code, INVALID_PARAMS)
    told = A2aError(kind, error.message, code=error.code)
    hint = _HINTS.get(error.code, error.hint)
    if hint:
        told.metadata["hint"] = hint
    for one in error.details.get("candidates", ()):
        told.metadata[f"candidate.{one['agent']}"] = f"{one['score']}: {one['reason']}"
    return told


def rpc_error(id: str | int | None, error: A2aError) -> dict[str, Any]:
    """A JSON-RPC error response."""
    told = {"code": error.kind.code, "message": error.message, "data": error.details}
    return {"jsonrpc": "2.0", "id": id, "error": told}


def http_error(error: A2aError) -> dict[str, Any]:
    """The body of an HTTP+JSON error."""
    kind = error.kind
    told = {"code": kind.http, "status": kind.status, "message": error.message, "details": error.details}
    return {"error": told}
