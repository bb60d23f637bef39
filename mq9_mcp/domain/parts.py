"""A message's body: its parts checked, and everything about it that never changes, encoded once.

Parts are A2A Parts and stay as they came: integers of any size and raw bytes survive exactly.
"""

from __future__ import annotations

import binascii
import hashlib
from math import isfinite
from typing import Any

import msgspec

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import NESTING_MAX, limit

PARTS_MAX = limit("parts_max")
MESSAGE_BYTES_MAX = limit("message_bytes_max")
METADATA_BYTES_MAX = limit("metadata_bytes_max")
DIGITS_MAX = limit("number_digits_max")
_BEYOND = 10**DIGITS_MAX
CONTENTS = ("text", "data", "raw", "url")
_ACCEPTED = "one of text, data, raw, url; and filename, mediaType, metadata"
_STRINGS = ("text", "raw", "url", "filename", "mediaType")
_FIELDS = frozenset({*CONTENTS, "filename", "mediaType", "metadata"})

_encoder = msgspec.json.Encoder()
_sorted_encoder = msgspec.json.Encoder(order="sorted")


class Body(msgspec.Struct, omit_defaults=True, rename={"from_": "from"}):
    """What every copy of a message shares, as the wire shows it."""

    from_: str
    verified: bool
    created_at: str
    priority: str
    parts: list[dict[str, Any]]
    tags: list[str]
    deliver_at: str | None = None
    expires_at: str | None = None
    dedup_key: str | None = None
    state_key: str | None = None
    session: str | None = None
    in_reply_to: int | None = None
    reply_to: str | None = None
    metadata: dict[str, Any] | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    task_state: str | None = None
    a2a: dict[str, Any] | None = None


def encode_body(body: Body) -> bytes:
    """The body as JSON, or a refusal: too large, or text that is not valid Unicode."""
    try:
        encoded = _encoder.encode(body)
    except UnicodeEncodeError as error:
        raise _not_unicode(body.parts, error) from None
    if len(encoded) > MESSAGE_BYTES_MAX:
        raise Refused(
            "MESSAGE_TOO_LARGE",
            f"the message has {len(encoded)} bytes encoded; message_bytes_max is {MESSAGE_BYTES_MAX}",
            "put the content elsewhere and send a part with its url",
            bytes=len(encoded),
            message_bytes_max=MESSAGE_BYTES_MAX,
        )
    return encoded


def _not_unicode(parts: list[dict[str, Any]], error: UnicodeEncodeError) -> Refused:
    """Names the part that holds half of a surrogate pair; nothing else of a message can."""
    where = "the message"
    for index, part in enumerate(parts):
        for name, value in part.items():
            try:
                _encoder.encode(value)
            except UnicodeEncodeError:
                where = f"parts[{index}].{name}"
    return Refused("INVALID_ARGUMENT", f"{where}: not valid Unicode: {error}")


def check_parts(text: str | None, parts: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The parts of a message from ``text`` or ``parts``, or a refusal that names the part at fault."""
    if parts is None:
        if text is None:
            raise Refused("INVALID_ARGUMENT", "a message needs text or parts", "pass text='...'")
        return [{"text": text}]
    if text is not None:
        raise Refused("INVALID_ARGUMENT", "text and parts exclude each other", "put the text into a part")
    if not 1 <= len(parts) <= PARTS_MAX:
        raise Refused("INVALID_ARGUMENT", f"parts: {len(parts)} parts; accepted: 1 to {PARTS_MAX}")
    for index, part in enumerate(parts):
        _check_part(part, f"parts[{index}]")
    return parts


def _check_part(part: dict[str, Any], where: str) -> None:
    if len(part) == 1 and isinstance(part.get("text"), str):  # as most are
        return
    contents = [name for name in CONTENTS if name in part]
    unknown = part.keys() - _FIELDS
    if unknown or len(contents) != 1:
        seen = f"unknown {min(unknown)[:64]!r}" if unknown else f"content {contents or 'missing'}"
        raise Refused("INVALID_ARGUMENT", f"{where}: {seen}; accepted: {_ACCEPTED}")
    for name in _STRINGS:
        if name in part and not isinstance(part[name], str):
            raise Refused(
                "INVALID_ARGUMENT", f"{where}.{name}: {type(part[name]).__name__}; accepted: a string"
            )
    if "raw" in part:
        _check_base64(part["raw"], f"{where}.raw")
    if "data" in part:
        check_json(part["data"], f"{where}.data")
    if "metadata" in part:
        check_metadata(part["metadata"], f"{where}.metadata")


def _check_base64(raw: str, where: str) -> None:
    try:
        binascii.a2b_base64(raw.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Refused(
            "INVALID_ARGUMENT", f"{where}: not base64; accepted: bytes in standard base64"
        ) from None


def has_room(metadata: dict[str, Any]) -> bool:
    """True if metadata that were checked are within their limit with what was added to them."""
    return len(_encoder.encode(metadata)) <= METADATA_BYTES_MAX


def check_metadata(metadata: Any, where: str = "metadata") -> None:
    """Refuse metadata that is no JSON object or over its limit."""
    if not isinstance(metadata, dict):
        raise Refused("INVALID_ARGUMENT", f"{where}: {type(metadata).__name__}; accepted: a JSON object")
    check_json(metadata, where)
    try:
        size = len(_encoder.encode(metadata))
    except UnicodeEncodeError as error:
        raise Refused("INVALID_ARGUMENT", f"{where}: {error}") from None
    if size > METADATA_BYTES_MAX:
        raise Refused(
            "INVALID_ARGUMENT",
            f"{where}: {size} bytes encoded; metadata_bytes_max is {METADATA_BYTES_MAX}",
            "put it into a part",
        )


def check_json(value: Any, where: str, level: int = 0) -> None:
    """Refuse what JSON cannot carry: other types, numbers that are not finite, nesting over the limit."""
    if level > NESTING_MAX:
        raise Refused("INVALID_ARGUMENT", f"{where}: nested deeper than nesting_max, {NESTING_MAX} levels")
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise Refused("INVALID_ARGUMENT", f"{where}: key {key!r}; accepted: strings as keys")
            check_json(child, where, level + 1)
    elif isinstance(value, list):
        for child in value:
            check_json(child, where, level + 1)
    elif isinstance(value, float):
        if not isfinite(value):
            raise Refused("INVALID_ARGUMENT", f"{where}: {value}; accepted: finite numbers")
    elif isinstance(value, int):
        if not -_BEYOND < value < _BEYOND:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{where}: a number of more than {DIGITS_MAX} digits; number_digits_max is {DIGITS_MAX}",
            )
    elif value is not None and not isinstance(value, str):
        raise Refused("INVALID_ARGUMENT", f"{where}: {type(value).__name__}; accepted: JSON values")


def digest(parts: list[dict[str, Any]]) -> int:
    """A number that tells other parts under the same dedup_key, whatever the order of their fields."""
    try:
        encoded = _sorted_encoder.encode(parts)
    except UnicodeEncodeError as error:
        raise _not_unicode(parts, error) from None
    # 56 bits: fits a BIGINT and any JSON reader
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=7).digest(), "big")
