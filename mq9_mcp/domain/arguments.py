"""What arguments are made of: bounded types that every command's arguments share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import ADDRESS_PATTERN, NAME_PATTERN, TEXT_PATTERN


def help_text(text: str) -> Meta:
    """The one-line help of an argument."""
    return Meta(description=text)


Priority = Literal["critical", "urgent", "normal"]
TIERS: tuple[Priority, ...] = ("critical", "urgent", "normal")

Address = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limit("address_characters_max"),
        pattern=ADDRESS_PATTERN,
        description="A mailbox address: a-z 0-9 . _ -, first and last a letter or digit, no '..'.",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=limit("name_characters_max"), pattern=NAME_PATTERN)]
Key = Annotated[str, Meta(min_length=1, max_length=limit("key_characters_max"), pattern=NAME_PATTERN)]
SessionName = Annotated[
    str, Meta(min_length=1, max_length=limit("session_characters_max"), pattern=NAME_PATTERN)
]
MessageId = Annotated[int, Meta(ge=1, lt=2**53)]
Tag = Annotated[str, Meta(min_length=1, max_length=limit("tag_characters_max"), pattern=NAME_PATTERN)]
Tags = Annotated[list[Tag], Meta(max_length=limit("tags_max"))]
Time = Annotated[datetime, Meta(tz=True)]
Reason = Annotated[str, Meta(max_length=limit("reason_characters_max"), pattern=TEXT_PATTERN)]
Description = Annotated[str, Meta(max_length=limit("description_characters_max"), pattern=TEXT_PATTERN)]
Trace = Annotated[str, Meta(max_length=limit("trace_characters_max"), pattern=TEXT_PATTERN)]
Wait = Annotated[float, Meta(ge=0, le=limit("wait_s_max"))]
LeaseSeconds = Annotated[float, Meta(ge=1, le=limit("lease_s_max"))]
Cursor = Annotated[str, Meta(max_length=256, pattern=TEXT_PATTERN)]
PageLimit = Annotated[int, Meta(ge=1, le=limit("query_limit_max"))]


class Command(Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """The arguments of one call."""


JsonValue = dict[str, Any] | list[Any] | str | float | int | bool
TaskId = Annotated[str, Meta(min_length=1, max_length=128, pattern=TEXT_PATTERN)]
