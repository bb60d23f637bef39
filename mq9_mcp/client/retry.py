"""What may be asked again, and when. A call is repeated only where the repetition changes nothing."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from typing import Any

FIRST_S = 0.05  # the first pause; each later one is twice as long, up to
MOST_S = 2.0
FIRST_CONTACT_S = 2.0  # for a broker that never answered: it starts just now, or there is none
JITTER = 0.5  # so much of a pause is drawn, or all clients of a broker that is back come at once
KEY_BYTES = 16

# Settled by lease, told by key, read only, or setting what is set: the contract lets them be repeated.
REPEATABLE = frozenset(
    {"mailbox_send", "mailbox_ack", "mailbox_query", "mailbox_get", "mailbox_list", "mailbox_update"}
    | {"group_list", "task_get", "task_list", "session_get", "session_list", "agent_discover"}
    | {"push_list"}
)


def repeatable(command: str, arguments: Mapping[str, Any]) -> bool:
    """True if the call may be made again although the first may have been carried out.

    A fetch may not: its lost reply may hold leases. They end by themselves.
    """
    if command == "mailbox_create":
        return arguments.get("address") is not None  # else every call makes another mailbox
    if command == "task_update":  # the state under a lease is said once; saying it again changes nothing
        return arguments.get("state") not in (None, "working", "submitted")
    return command in REPEATABLE


def keyed(command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, every message in them under a ``dedup_key``: a repeated send stores nothing twice."""
    inside = {"mailbox_send": "messages", "mailbox_ack": "send"}.get(command)
    if inside is not None and arguments.get(inside) is not None:
        return {**arguments, inside: _with_keys(arguments[inside])}
    if command == "mailbox_send" and arguments.get("dedup_key") is None:
        return {**arguments, "dedup_key": new_key()}
    return arguments


def new_key() -> str:
    """A key that no other message has."""
    return os.urandom(KEY_BYTES).hex()


def _with_keys(messages: Any) -> Any:
    if isinstance(messages, list | tuple):
        return [_with_key(one) for one in messages]
    return _with_key(messages)


def _with_key(message: Any) -> Any:
    if not isinstance(message, dict) or message.get("dedup_key") is not None:
        return message  # what is no message is for the server to refuse
    return {**message, "dedup_key": new_key()}


def pause_s(attempt: int) -> float:
    """How long to wait after so many failed attempts: exponential, jittered."""
    longest = min(MOST_S, FIRST_S * 2.0 ** min(attempt - 1, 16))
    return longest * (1 - JITTER * random.random())


class Patience:
    """How much longer one call may take, all its attempts together."""

    def __init__(self, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._begin = self._loop.time()
        self._timeout_s = timeout_s
        self._attempts = 0

    def left(self) -> float:
        """Seconds until time is over."""
        return self._begin + self._timeout_s - self._loop.time()

    async def pause(self, at_least: float = 0, within: float | None = None) -> bool:
        """Wait before the next attempt; False, and no wait, if that is after ``within`` s or the end."""
        self._attempts += 1
        wait = max(at_least * (1 + JITTER * random.random() / 5), pause_s(self._attempts))
        end = self._timeout_s if within is None else min(within, self._timeout_s)
        if self._loop.time() + wait >= self._begin + end:
            return False
        await asyncio.sleep(wait)
        return True
