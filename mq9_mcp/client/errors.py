"""Errors on the caller's side: the server's, read back as they were, and the one that no server can send."""

from __future__ import annotations

from typing import Any

import msgspec

from mq9_mcp.domain.errors import CODES, Mq9Error, Refused, Unavailable

CONNECTION_FAILED = "CONNECTION_FAILED"
_SHOWN = 80  # characters of a foreign answer that a message repeats
_TOO_MANY, _FAULT = 429, 500  # from here on it is the server's, not the caller's


class ConnectionFailed(Unavailable):
    """No answer came from the broker, so this is the client's word, not a code of the broker.

    ``unknown`` is False when the call cannot have been carried out, and True when it may have been: it
    was sent, and the answer was lost.
    """

    def __init__(self, url: str, why: str, *, unknown: bool) -> None:
        message = f"no answer from the broker at {url}: {why}"
        hint = "start one: mq9 serve, or mq9 daemon start; or name another: Mq9Client(url), MQ9_URL"
        if unknown:
            message += "; the call may have been carried out"
            hint = "look before you repeat it, for example with mailbox_query"
        super(Mq9Error, self).__init__(message)  # the code below is not one of the broker's table
        self.code = CONNECTION_FAILED
        self.message = message
        self.hint = hint
        self.details = {"url": url, "unknown": unknown}
        self.unknown = unknown

    @property
    def status(self) -> int:
        """As if a server had said that it is not available."""
        return 503


class _Shape(msgspec.Struct):
    """``{code, message, hint?, details?}``."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = {}


class _Answer(msgspec.Struct):
    """The body of every refusal."""

    error: _Shape


_decoder = msgspec.json.Decoder(_Answer)


def read_error(status: int, body: bytes) -> Mq9Error | None:
    """The server's refusal as it was raised there; None if the answer is not of an mq9 broker."""
    try:
        shape = _decoder.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    code, details = shape.code, shape.details
    ours = status >= _FAULT or status == _TOO_MANY
    if code not in CODES:  # a newer broker's
        details = {**details, "code": code}
        code = "INTERNAL" if ours else "INVALID_ARGUMENT"
    kind = Unavailable if ours and code != "MAILBOX_FULL" else Refused
    return kind(code, shape.message, shape.hint, **details)


def read_item_error(shape: Any) -> Mq9Error:
    """The error of one item in a reply."""
    read = read_error(409, msgspec.json.encode({"error": shape}))
    assert read is not None
    return read


def foreign(status: int, body: bytes) -> str:
    """What to say of an answer that no mq9 broker gave."""
    return f"HTTP {status} and {body[:_SHOWN].decode(errors='replace')!a}; is it an mq9 broker?"
