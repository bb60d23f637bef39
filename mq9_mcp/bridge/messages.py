"""JSON-RPC messages, taken apart no further than needed: what is not looked at stays as it came."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

Fields = dict[str, Raw]

PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR = -32700, -32600, -32603
NOBODY = Raw(b"null")  # the id of an answer to what has none that can be read
_NEAR = 512  # bytes at either end of a line in which a message's id is looked for

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(Fields)
_objects = msgspec.json.Decoder(list[Fields] | Fields)
_any = msgspec.json.Decoder()
# Anchored at the ends, so that what is found is the message's own id and nothing within it.
_ID = rb'"id"\s*:\s*(-?[0-9]{1,18}|"[^"\\]{0,200}")'
_first = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID)
_last = re.compile(_ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


class Bad(Exception):
    """A line that is no message; ``answer`` says so to its sender."""

    def __init__(self, code: int, message: str, id: Raw = NOBODY) -> None:
        super().__init__(message)
        self.answer = error(id, code, message)


class Problem(Exception):
    """Why a request has no answer of the broker, and what to do next; told as the MCP door tells refusals."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{code}: {message}." + (f" Next: {hint}." if hint else ""))
        self.shape = {"code": code, "message": message} | ({"hint": hint} if hint else {})


def read(line: bytes) -> Fields:
    """The members of a JSON-RPC message, or ``Bad``."""
    try:
        line.decode()
        message = _fields.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        if line.lstrip().startswith(b"["):
            raise Bad(INVALID_REQUEST, "a batch is not taken; send one message a line") from None
        raise Bad(PARSE_ERROR, f"this line is no JSON object: {fault}", find_id(line)) from None
    call, answer = "method" in message, "result" in message or "error" in message
    if call == answer or (answer and "id" not in message):
        raise Bad(INVALID_REQUEST, "this is no JSON-RPC request, notification or response", find_id(line))
    return message


def find_id(line: bytes) -> Raw:
    """The id of a message that cannot be read as a whole, so that who sent it does not wait for ever."""
    found = _first.match(line[:_NEAR]) or _last.search(line[-_NEAR:])
    return Raw(found[1]) if found else NOBODY


def fields(value: Raw | None) -> Fields:
    """The members of an object; of anything else, none."""
    try:
        return _fields.decode(value) if value is not None else {}
    except (msgspec.DecodeError, RecursionError):
        return {}


def objects(value: Raw) -> list[Fields] | Fields | Raw:
    """One object or several, in their members; anything else stays as it is."""
    try:
        found: list[Fields] | Fields = _objects.decode(value)
        return found
    except (msgspec.DecodeError, RecursionError):
        return value


def plain(value: Raw | None) -> Any:
    """A value, read; None if there is none."""
    try:
        return _any.decode(value) if value is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def text(value: Raw | None) -> str:
    """A string; empty if it is none."""
    found = plain(value)
    return found if isinstance(found, str) else ""


def key_of(id: Raw | None) -> tuple[type, Any]:
    """What tells requests apart: 1 is not "1", whatever their bytes are."""
    found = plain(id)
    return type(found), found if isinstance(found, int | float | str) else None


def raw(value: Any) -> Raw:
    """A value, written."""
    return Raw(_encode(value))


def line(message: dict[str, Any]) -> bytes:
    """A message in one line, without its end."""
    return _encode(message)


def one_line(body: bytes) -> bytes:
    """A message that was written by somebody else, in one line."""
    return msgspec.json.format(body, indent=-1) if b"\n" in body or b"\r" in body else body


def error(id: Raw, code: int, message: str, data: Any = None) -> bytes:
    """The answer that something is wrong."""
    fault = {"code": code, "message": message} | ({"data": data} if data is not None else {})
    return line({"jsonrpc": "2.0", "id": id, "error": fault})


def notification(method: str, params: Any) -> bytes:
    """A notification in one line."""
    return line({"jsonrpc": "2.0", "method": method, "params": params})
