"""What requests say, read strictly and at once; what is not in the usual form is read as protobuf would.

Protobuf's JSON may be written in other ways too (``snake_case``, numbers for enums, unknown fields, null),
and goes to ``lenient``. Whatever way it came, ``data`` and ``metadata`` stay the values that were sent.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from mq9_a2a.errors import INVALID_PARAMS, A2aError
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.parts import check_parts

PAGE_MAX = 100
PAGE_DEFAULT = 50
INT32 = 2**31
State = Literal[
    "TASK_STATE_UNSPECIFIED",
    "TASK_STATE_SUBMITTED",
    "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_AUTH_REQUIRED",
]
_PART = frozenset({"text", "raw", "url", "data", "metadata", "filename", "mediaType"})
P = TypeVar("P", bound="Params")


class Form(Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A message of A2A."""


class Params(Form, kw_only=True):
    """The parameters of a method; ``tenant`` names the mailbox where the address does not."""

    tenant: str = ""


class Said(Form, kw_only=True):
    """``Message``, from a client."""

    message_id: str = ""
    context_id: str = ""
    task_id: str = ""
    role: Literal["ROLE_UNSPECIFIED", "ROLE_USER", "ROLE_AGENT"] = "ROLE_UNSPECIFIED"
    parts: list[dict[str, Any]] = []
    metadata: dict[str, Any] | None = None
    extensions: list[str] = []
    reference_task_ids: list[str] = []


class Authentication(Form, kw_only=True):
    """``AuthenticationInfo``."""

    scheme: str = ""
    credentials: str = ""


class PushConfig(Params, kw_only=True):
    """``TaskPushNotificationConfig``."""

    id: str = ""
    task_id: str = ""
    url: str = ""
    token: str = ""
    authentication: Authentication | None = None


class Configuration(Form, kw_only=True):
    """``SendMessageConfiguration``."""

    accepted_output_modes: list[str] = []
    task_push_notification_config: PushConfig | None = None
    history_length: int | None = None
    return_immediately: bool = False


class SendMessage(Params, kw_only=True):
    """``SendMessageRequest``."""

    message: Said | None = None
    configuration: Configuration | None = None
    metadata: dict[str, Any] | None = None


class GetTask(Params, kw_only=True):
    """``GetTaskRequest``."""

    id: str = ""
    history_length: int | None = None


class CancelTask(Params, kw_only=True):
    """``CancelTaskRequest``."""

    id: str = ""
    metadata: dict[str, Any] | None = None


class SubscribeToTask(Params, kw_only=True):
    """``SubscribeToTaskRequest``."""

    id: str = ""


class ListTasks(Params, kw_only=True):
    """``ListTasksRequest``."""

    context_id: str = ""
    status: State = "TASK_STATE_UNSPECIFIED"
    page_size: int | None = None
    page_token: str = ""
    history_length: int | None = None
    status_timestamp_after: str | None = None
    include_artifacts: bool = False


class OnePush(Params, kw_only=True):
    """``GetTaskPushNotificationConfigRequest`` and the one to delete."""

    task_id: str = ""
    id: str = ""


class AllPush(Params, kw_only=True):
    """``ListTaskPushNotificationConfigsRequest``."""

    task_id: str = ""
    page_size: int = 0
    page_token: str = ""


class GetExtendedAgentCard(Params, kw_only=True):
    """``GetExtendedAgentCardRequest``."""


METHODS: dict[str, tuple[type[Params], str]] = {  # the parameters, and their name in protobuf
    "SendMessage": (SendMessage, "SendMessageRequest"),
    "SendStreamingMessage": (SendMessage, "SendMessageRequest"),
    "GetTask": (GetTask, "GetTaskRequest"),
    "ListTasks": (ListTasks, "ListTasksRequest"),
    "CancelTask": (CancelTask, "CancelTaskRequest"),
    "SubscribeToTask": (SubscribeToTask, "SubscribeToTaskRequest"),
    "CreateTaskPushNotificationConfig": (PushConfig, "TaskPushNotificationConfig"),
    "GetTaskPushNotificationConfig": (OnePush, "GetTaskPushNotificationConfigRequest"),
    "ListTaskPushNotificationConfigs": (AllPush, "ListTaskPushNotificationConfigsRequest"),
    "DeleteTaskPushNotificationConfig": (OnePush, "DeleteTaskPushNotificationConfigRequest"),
    "GetExtendedAgentCard": (GetExtendedAgentCard, "GetExtendedAgentCardRequest"),
}
_NEEDED = {
    "GetTask": ("id",),
    "CancelTask": ("id",),
    "SubscribeToTask": ("id",),
    "CreateTaskPushNotificationConfig": ("task_id", "url"),
    "GetTaskPushNotificationConfig": ("task_id", "id"),
    "DeleteTaskPushNotificationConfig": ("task_id", "id"),
    "ListTaskPushNotificationConfigs": ("task_id",),
}


def read_params(method: str, given: Any) -> Params:
    """The parameters of ``method``, or ``A2aError``."""
    kind, name = METHODS[method]
    try:
        params = msgspec.convert(given, kind)
        if isinstance(params, SendMessage) and params.message is not None:
            _usual(params.message)
    except (msgspec.ValidationError, Refused, RecursionError):
        from mq9_a2a.lenient import canonical  # slow to import, seldom needed

        params = _converted(kind, canonical(name, given))
    _check(method, params)
    return params


def _usual(message: Said) -> None:
    if message.parts:
        if not all(part.keys() <= _PART for part in message.parts):
            raise msgspec.ValidationError("a field that nobody here knows")
        check_parts(None, message.parts)


def _converted(kind: type[P], given: dict[str, Any]) -> P:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise A2aError(INVALID_PARAMS, str(error)) from None


def _check(method: str, params: Params) -> None:
    missing = [(name, "Field is required.") for name in _NEEDED.get(method, ()) if not getattr(params, name)]
    if isinstance(params, SendMessage):
        missing = _of_message(params.message)
    if missing:
        fields = ", ".join(name for name, _ in missing)
        raise A2aError(INVALID_PARAMS, f"Validation failed: {fields}", tuple(missing))
    length = getattr(params, "history_length", None)
    if isinstance(params, SendMessage) and params.configuration is not None:
        length = params.configuration.history_length
    if length is not None and not 0 <= length < INT32:
        raise A2aError(INVALID_PARAMS, f"historyLength: {length}; accepted: 0 or more")
    size = getattr(params, "page_size", None) if isinstance(params, ListTasks) else None
    if size is not None and not 1 <= size <= PAGE_MAX:
        raise A2aError(INVALID_PARAMS, f"pageSize: {size}; accepted: 1 to {PAGE_MAX}")


def _of_message(message: Said | None) -> list[tuple[str, str]]:
    if message is None:
        return [("message", "Field is required.")]
    missing = []
    if not message.message_id:
        missing.append(("message.message_id", "Field is required."))
    if message.role == "ROLE_UNSPECIFIED":
        missing.append(("message.role", "Field is required."))
    if not message.parts:
        missing.append(("message.parts", "Field must contain at least one element."))
    return missing
