"""The names that mq9's Python users know, beside the commands' own, with the promises of this broker."""

from __future__ import annotations

import base64
from abc import ABC
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from mq9_mcp.client.base import Caller
from mq9_mcp.client.errors import read_item_error
from mq9_mcp.domain.errors import Refused

DEFAULT_GROUP = "default"
LEASES_MAX = 10_000  # leases that a client remembers for ``ack``; the oldest go first
PAGE = 100


class Priority(StrEnum):
    """mq9's priorities, strict between the three."""

    NORMAL = "normal"
    URGENT = "urgent"
    CRITICAL = "critical"


class Mq9Message(dict[str, Any]):
    """A message as the broker gives it, a dict, that also knows what mq9 calls its parts."""

    @property
    def msg_id(self) -> int:
        """Its id."""
        id: int = self["id"]
        return id

    @property
    def payload(self) -> bytes:
        """The content of its first part as bytes: text in UTF-8, data as JSON, raw as it was sent."""
        part = self["parts"][0]
        if "raw" in part:
            return base64.b64decode(part["raw"])
        if "data" in part:
            return msgspec.json.encode(part["data"])
        text: str = part.get("text", part.get("url", ""))
        return text.encode()

    @property
    def priority(self) -> Priority:
        """Its priority."""
        return Priority(self["priority"])

    @property
    def create_time(self) -> int:
        """When it was stored, in seconds since 1970."""
        return int(datetime.fromisoformat(self["created_at"]).timestamp())


def part_of(payload: bytes | str | Mapping[str, Any]) -> dict[str, Any]:
    """A payload as an A2A Part: bytes raw, a str text, anything else data."""
    if isinstance(payload, bytes | bytearray | memoryview):
        return {"raw": base64.b64encode(payload).decode()}
    if isinstance(payload, str):
        return {"text": payload}
    return {"data": payload}


class Leases:
    """The leases that were fetched, by (address, group, message id); bounded."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, int], str] = OrderedDict()

    def keep(self, group: str, message: Mapping[str, Any]) -> None:
        """Remember the lease of a fetched message."""
        self._held[message["mailbox"], group, message["id"]] = message["lease"]
        if len(self._held) > LEASES_MAX:
            self._held.popitem(last=False)

    def find(self, address: str, group: str, id: int) -> str:
        """The lease, or a refusal."""
        lease = self._held.get((address, group, id))
        if lease is None:
            raise Refused(
                "LEASE_LOST",
                f"this client holds no lease on message {id} of {address!r} in group {group!r}",
                f"fetch it with this client first; it remembers its last {LEASES_MAX} leases",
            )
        return lease

    def drop(self, address: str, group: str, id: int) -> None:
        """Forget a lease that is settled."""
        self._held.pop((address, group, id), None)


class Mq9Names(Caller, ABC):
    """mq9's methods. Times are seconds since 1970, as there; a datetime or a wire time will do as well."""

    def __init__(self) -> None:
        self._leases = Leases()

    async def send(
        self,
        addr: str,
        payload: bytes | str | Mapping[str, Any],
        *,
        priority: str = "normal",
        key: str | None = None,
        delay: float | None = None,
        ttl: float | None = None,
        tags: list[str] | tuple[str, ...] | None = None,
    ) -> int:
        """Send a message; returns its id when it is on disk. ``key`` is the ``dedup_key``.

        ``delay`` and ``ttl`` are seconds; 0 means none.
        """
        message: dict[str, Any] = {"to": addr, "parts": [part_of(payload)], "priority": priority}
        optional = {"dedup_key": key, "delay_s": delay or None, "ttl_s": ttl or None, "tags": tags or None}
        message.update((name, value) for name, value in optional.items() if value is not None)
        id: int = (await self.call("mailbox_send", message))["receipts"][0]["id"]
        return id

    async def fetch(
        self,
        addr: str,
        *,
        group_name: str | None = None,
        deliver: str | int = "earliest",
        from_time: float | str | datetime | None = None,
        from_id: int | None = None,
        force_deliver: bool = False,
        num_msgs: int = 100,
        max_wait_ms: int = 500,
        lease_s: float | None = None,
    ) -> list[Mq9Message]:
        """Take up to ``num_msgs`` messages under a lease; settle each with ``ack``.

        ``deliver`` (``earliest``, ``latest``, ``from_time``, ``from_id``) counts only when the group is
        new, or with ``force_deliver``. Without ``group_name`` it is the group ``default``.
        """
        group = group_name or DEFAULT_GROUP
        start = _start(deliver, from_time, from_id)
        if force_deliver:
            await self._begin_again(addr, group, start)
        fetch = {"mailbox": addr, "group": group, "max": num_msgs, "wait_s": max_wait_ms / 1000}
        fetch |= {"deliver": start} | ({} if lease_s is None else {"lease_s": lease_s})
        messages = (await self.call("mailbox_fetch", fetch))["messages"]
        for message in messages:
            self._leases.keep(group, message)
        return [Mq9Message(message) for message in messages]

    async def _begin_again(self, addr: str, group: str, start: str | int) -> None:
        groups = (await self.call("group_list", {"mailbox": addr}))["groups"]
        if any(one["name"] == group for one in groups):
            await self.call("group_reset", {"mailbox": addr, "group": group, "to": start})

    async def ack(self, addr: str, group_name: str | None, msg_id: int) -> None:
        """Settle one message that this client fetched, and nothing else; raises if its lease is lost."""
        group = group_name or DEFAULT_GROUP
        lease = self._leases.find(addr, group, msg_id)
        [result] = (await self.call("mailbox_ack", {"items": [{"lease": lease}]}))["results"]
        if not result["ok"]:
            raise read_item_error(result["error"])
        self._leases.drop(addr, group, msg_id)

    async def query(
        self,
        addr: str,
        *,
        key: str | None = None,
        limit: int | None = None,
        since: float | str | datetime | None = None,
    ) -> list[Mq9Message]:
        """Look at the newest ``limit`` (20) messages, oldest first, without taking them.

        ``key``: only those sent under this ``dedup_key``; every message since ``since`` is looked at.
        """
        most = 20 if limit is None else limit
        look: dict[str, Any] = {"mailbox": addr, "order": "desc", "limit": PAGE if key else min(most, PAGE)}
        if since is not None:
            look["since"] = _time(since)
        found: list[Mq9Message] = []
        while True:
            page = await self.call("mailbox_query", look)
            found += [Mq9Message(one) for one in page["messages"] if key in (None, one.get("dedup_key"))]
            if len(found) >= most or "next_cursor" not in page:
                return found[:most][::-1]
            look["cursor"] = page["next_cursor"]

    async def delete(self, addr: str, msg_id: int) -> None:
        """Remove one message; a missing one is refused."""
        await self.call("mailbox_delete", {"mailbox": addr, "ids": [msg_id]})

    async def agent_register(self, card: Mapping[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
        """Register an agent; refused by name until the broker has a registry."""
        return await self.call("agent_register", _with(arguments, card=card))

    async def agent_unregister(self, name: str | None = None, **arguments: Any) -> dict[str, Any]:
        """Take an agent from the registry; refused by name until the broker has one."""
        return await self.call("agent_unregister", _with(arguments, name=name))

    async def agent_report(self, report: Mapping[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
        """Report an agent's status; refused by name until the broker has a registry."""
        return await self.call("agent_report", {**(report or {}), **arguments})

    async def agent_discover(self, *, text: str | None = None, **arguments: Any) -> dict[str, Any]:
        """Find agents; refused by name until the broker has a registry."""
        return await self.call("agent_discover", _with(arguments, text=text))


def _with(arguments: dict[str, Any], **named: Any) -> dict[str, Any]:
    return arguments | {name: value for name, value in named.items() if value is not None}


def _start(deliver: str | int, from_time: float | str | datetime | None, from_id: int | None) -> str | int:
    """``deliver`` as the broker has it."""
    if deliver == "from_time" and from_time is not None:
        return _time(from_time)
    if deliver == "from_id" and from_id is not None:
        return from_id
    if deliver in ("from_time", "from_id"):
        raise Refused("INVALID_ARGUMENT", f"{deliver}: missing; deliver={deliver!r} needs it")
    return deliver


def _time(time: float | str | datetime) -> str:
    """A time as the wire writes it."""
    if isinstance(time, str):
        return time
    if not isinstance(time, datetime):
        time = datetime.fromtimestamp(time, UTC)
    return time.isoformat(timespec="milliseconds")
