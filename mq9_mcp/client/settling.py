"""What a consumer tells the broker of its messages: outcomes and heartbeats.

Outcomes are gathered while a call is under way: a busy worker makes few large calls, a quiet one small ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mq9_mcp.client.base import Caller
from mq9_mcp.client.delivery import Delivery
from mq9_mcp.client.errors import read_item_error
from mq9_mcp.client.retry import pause_s
from mq9_mcp.domain.errors import Mq9Error, Refused, Unavailable
from mq9_mcp.domain.limits import limit

BEATS = 3  # heartbeats in the time of a lease
BEAT_AGAIN_S = 1.0  # after one that failed
ITEMS_MAX = limit("ack_items_max")
_OWN = frozenset({"ack", "nack", "release", "reject"})  # what a handler may have done with its message itself
_log = logging.getLogger("mq9_mcp.client")


class _Outcome(NamedTuple):
    """An item that waits for its call, and who waits for its result."""

    item: Mapping[str, Any]
    result: asyncio.Future[Mapping[str, Any]]


class Settling:
    """Settles for one consumer; ``stop`` is set when it is time to come to an end."""

    def __init__(self, client: Caller, stop: asyncio.Event) -> None:
        self._client = client
        self._stop = stop
        self._waiting: list[_Outcome] = []
        self._sender: asyncio.Task[None] | None = None
        self._early = asyncio.Event()

    async def settle(self, delivery: Delivery, outcome: str, **fields: Any) -> None:
        """Settle a message, however long the broker is away; raises ``Mq9Error``.

        Once it is time to stop, one more try is all.
        """
        delivery.settling = True
        result: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Outcome(delivery.item(outcome, **fields), result))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all(), name="mq9-settle")
        try:
            settled = await result
        except Unavailable:
            delivery.over = True  # its lease will run out
            raise
        if not settled["ok"]:
            self._check(delivery, read_item_error(settled["error"]))

    async def settle_and_send(self, delivery: Delivery, send: Mapping[str, Any]) -> None:
        """Ack a message and send another one in the same commit; raises ``Mq9Error``."""
        delivery.settling = True
        try:
            await self._call({"items": [delivery.item("ack")], "send": send})
        except Unavailable:
            delivery.over = True
            raise
        except Mq9Error as error:
            self._check(delivery, error)

    async def settle_quietly(self, deliveries: Iterable[Delivery], outcome: str, **fields: Any) -> None:
        """Settle messages; a failure is logged, and their leases run out."""
        settled = (self.settle(one, outcome, **fields) for one in deliveries)
        for error in await asyncio.gather(*settled, return_exceptions=True):
            if isinstance(error, Mq9Error):
                _log.warning("could not settle a message: %s", error)
            elif error is not None:
                raise error

    def _check(self, delivery: Delivery, error: Mq9Error) -> None:
        """An outcome that was refused: fine if the handler settled its message itself, else raise."""
        if error.code == "LEASE_LOST":
            delivery.over = True
            if error.details.get("stands") in _OWN:
                return
        raise error

    async def _send_all(self) -> None:
        """Send what waits until nothing waits."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:ITEMS_MAX], self._waiting[ITEMS_MAX:]
                await self._send(batch)
        finally:
            self._sender = None

    async def _send(self, batch: list[_Outcome]) -> None:
        try:
            results = (await self._call({"items": [one.item for one in batch]}))["results"]
        except Mq9Error as error:
            if len(batch) > 1 and isinstance(error, Refused):  # one bad item refuses them all
                for one in batch:
                    await self._send([one])
                return
            for one in batch:
                if not one.result.done():
                    one.result.set_exception(error)
        else:
            for one, result in zip(batch, results, strict=True):
                if not one.result.done():  # else nobody waits any more
                    one.result.set_result(result)

    async def _call(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        failures = 0
        while True:
            try:
                return await self._client.call("mailbox_ack", arguments)
            except Unavailable as error:
                if self._stop.is_set():
                    raise
                failures += 1
                _log.warning("cannot settle, trying again: %s", error.message)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s(failures)):
                        await self._stop.wait()

    def beat_now(self) -> None:
        """Let the next heartbeat be at once."""
        self._early.set()

    async def beat(self, held: Iterable[Delivery], lease_s: float) -> None:
        """Keep the leases of what is ``held`` and not yet settled, until cancelled."""
        every = wait = lease_s / BEATS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._early.wait()
            self._early.clear()
            wait = every
            working = [one for one in held if not one.settling]
            if not working:
                continue
            try:
                items = [one.item("extend", lease_s=lease_s) for one in working]
                results = (await self._client.call("mailbox_ack", {"items": items}))["results"]
            except Mq9Error as error:
                _log.warning("cannot extend leases, trying again: %s", error.message)
                wait = min(every, BEAT_AGAIN_S)
                continue
            for delivery, result in zip(working, results, strict=True):
                if result["ok"]:
                    delivery.heard(result)
                elif not delivery.settling:
                    _heard(delivery, read_item_error(result["error"]))


def _heard(delivery: Delivery, error: Mq9Error) -> None:
    if error.details.get("stands") in _OWN:
        delivery.settling = True  # the handler settled it itself, and goes on
    else:
        delivery.lose(error)
