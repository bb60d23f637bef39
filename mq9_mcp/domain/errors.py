"""Errors by whose fault: a refusal is the caller's to mend, unavailability is outside, an assert is ours.

Every code stands once in ``CODES``; doors translate it, documents list it (contract, section 8).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Code(NamedTuple):
    """One stable error code: its HTTP status and what it means to the caller."""

    status: int
    meaning: str


CODES: dict[str, Code] = {
    "INVALID_ARGUMENT": Code(400, "An argument is missing, unknown, of the wrong type or out of its bounds."),
    "UNAUTHENTICATED": Code(401, "No valid credential came with the call."),
    "FORBIDDEN": Code(403, "The caller holds another right on this thing, but not this one."),
    "POLICY_VIOLATION": Code(403, "A policy of the operator refuses the call."),
    "MAILBOX_NOT_FOUND": Code(404, "There is no such mailbox, or none that the caller may know of."),
    "MESSAGE_NOT_FOUND": Code(404, "There is no such message in the mailbox."),
    "TASK_NOT_FOUND": Code(404, "There is no such task, or none that the caller may know of."),
    "AGENT_NOT_FOUND": Code(404, "No agent of that name is registered."),
    "SESSION_NOT_FOUND": Code(404, "There is no such session, or none that the caller takes part in."),
    "NO_MATCHING_AGENT": Code(404, "No registered agent fits the described work well enough."),
    "MAILBOX_EXISTS": Code(409, "A mailbox of that address exists with other settings or another owner."),
    "DEDUP_CONFLICT": Code(409, "The dedup_key was used for other parts within its window."),
    "LEASE_LOST": Code(409, "The lease is not, or no longer, the right to this message."),
    "ILLEGAL_TRANSITION": Code(409, "The state machine does not allow this step from the current state."),
    "VERSION_CONFLICT": Code(409, "The thing has changed since the expected_version."),
    "SESSION_CLOSED": Code(409, "The session is closed; start a new one."),
    "LOOP_GUARD": Code(409, "The session has more messages than turns_max and is halted."),
    "MESSAGE_TOO_LARGE": Code(413, "One message is over message_bytes_max."),
    "BATCH_TOO_LARGE": Code(413, "A call holds more messages or bytes than one call may."),
    "MAILBOX_FULL": Code(429, "The mailbox holds as much unsettled mail as its quota allows."),
    "RATE_LIMITED": Code(429, "Too many calls; try again later."),
    "INTERNAL": Code(500, "A fault of the broker itself; nothing was changed."),
    "STORAGE_UNAVAILABLE": Code(503, "The change could not be stored, and was not; reads go on."),
    "SHUTTING_DOWN": Code(503, "The broker is stopping and takes no new work."),
}


class Mq9Error(Exception):
    """What a caller sees: ``{code, message, hint, details}`` (contract, section 8)."""

    def __init__(self, code: str, message: str, hint: str = "", /, **details: Any) -> None:
        assert code in CODES, code
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" ({self.hint})" if self.hint else "")

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return CODES[self.code].status

    def as_dict(self) -> dict[str, Any]:
        """The one error shape, the same at every door; ``hint`` and ``details`` only where there are any."""
        shape: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            shape["hint"] = self.hint
        if self.details:
            shape["details"] = self.details
        return shape


class Refused(Mq9Error):
    """The call breaks a rule; nothing was changed. ``message`` names the value seen and what is accepted."""


class Unavailable(Mq9Error):
    """The call is fine, the broker cannot serve it now (storage, shutdown); nothing was changed."""
