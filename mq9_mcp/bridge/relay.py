"""Requests of the host on their way to the broker, however often it takes, and one answer for each.

A broker that is gone is waited for. What certainly was not carried out is sent again, and so is what a
repetition changes nothing at; for all else the host is told that nobody knows.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any

from msgspec import Raw

from mq9_mcp.bridge.call import DISCOVER, FETCH, INITIALIZE, Call
from mq9_mcp.bridge.home import MCP_PATH, Home
from mq9_mcp.bridge.http import Exchange, Http, Lost
from mq9_mcp.bridge.legacy import Legacy, Write
from mq9_mcp.bridge.messages import Fields, Problem, fields, key_of, line, plain, raw, text
from mq9_mcp.bridge.naming import Identity, header_value
from mq9_mcp.bridge.session import CANCELLED, OPENED, missed_of
from mq9_mcp.bridge.wire import Busy, Expired, replies, send, stopping_of, tell
from mq9_mcp.client.retry import pause_s
from mq9_mcp.domain.errors import Mq9Error, Unavailable

PATIENCE_S = 30.0  # how long a broker that is gone, or too busy, is waited for
STARTS_MAX = 3  # so often a daemon that ends at its start is started for one request
LATE_S = 1.0  # how long an answer that nobody wants any more is waited for
ROUNDS_MAX = 256  # calls that asked back and did not go on yet
PROGRESS, ACKNOWLEDGED = "notifications/progress", "notifications/subscriptions/acknowledged"


class Relay:
    """All that is under way between one host and the broker."""

    def __init__(self, home: Home, identity: Identity, write: Write) -> None:
        self.calls: dict[tuple[type, Any], Call] = {}
        self._http = Http()
        self._home = home
        self._identity = identity
        self._write = write
        self._legacy = Legacy(self._http, home, identity.headers, write, self._from_server)
        self._rounds: OrderedDict[bytes, tuple[bytes, Raw]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something beside everything else."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What the host says

    def request(self, message: Fields) -> None:
        """A request: it gets one answer."""
        call = Call(message)
        self._go_on(call)
        self._identity.meet(call.client or text(fields(call.params.get("clientInfo")).get("name")))
        self.calls[call.key] = call
        call.task = self.spawn(self._run(call))

    def response(self, message: Fields) -> None:
        """An answer to the server."""
        body = self._legacy.asked.back(message, self._legacy.session.epoch)
        if body is not None:
            self.spawn(self._legacy.post(body, self._legacy.session.epoch))

    def notification(self, message: Fields) -> None:
        """Something that needs no answer. Where no session is, there is nobody to tell it."""
        method, session = text(message["method"]), self._legacy.session
        if method == CANCELLED:
            call = self.calls.get(key_of(fields(message.get("params")).get("requestId")))
            if call is not None and call.method != INITIALIZE:
                self.cancel(call, line(message))
            return
        if method == OPENED:
            self.spawn(self._legacy.begin(line(message)))
        elif session.params is not None:
            self.spawn(self._legacy.post(line(message), session.epoch))

    def cancel(self, call: Call, notice: bytes | None = None) -> None:
        """End a request that nobody waits for any more; what it may have taken is given back."""
        assert call.task is not None
        self.calls.pop(call.key, None)
        call.cancelled = True
        if call.exchange is None or not call.exchange.sent:
            call.task.cancel()
            return
        call.exchange.hang_up()
        if notice is not None and not call.version:
            self.spawn(self._legacy.post(notice, self._legacy.session.epoch))
        asyncio.get_running_loop().call_later(LATE_S, call.task.cancel)

    async def end(self) -> None:
        """Everything is over."""
        await self._legacy.end()
        for task in list(self._tasks):
            task.cancel()
        self._http.close()

    # What becomes of a request

    async def _run(self, call: Call) -> None:
        try:
            if call.method == INITIALIZE:
                async with self._legacy.session.lock:
                    self._legacy.session.begin(call)
                    await self._insist(call)
            else:
                await self._insist(call)
        except Problem as problem:
            await self._answer(call, call.failed(problem))
        except Mq9Error as error:
            await self._answer(call, call.failed(Problem(error.code, error.message, error.hint)))
        except Exception as fault:  # ours; whoever asked must not wait for ever
            traceback.print_exc()
            await self._answer(call, call.failed(Problem("INTERNAL", f"a fault of mq9-mcp: {fault!r}")))
        finally:
            self._forget(call)

    def _forget(self, call: Call) -> None:
        if self.calls.get(call.key) is call:
            del self.calls[call.key]

    async def _answer(self, call: Call, answer: bytes) -> None:
        self._forget(call)
        if not call.cancelled:
            with suppress(OSError):  # a host that is gone is noticed elsewhere
                await self._write(answer)

    async def _insist(self, call: Call) -> None:
        """Try until there is an answer, or no more point in it."""
        loop, failures, until = asyncio.get_running_loop(), 0, 0.0
        while True:
            after_s = 0.0
            try:
                await self._try(call)
                return
            except (Lost, Busy, Expired, Unavailable) as failure:
                if call.cancelled:
                    return
                problem = self._problem(call, failure)
                after_s = failure.after_s if isinstance(failure, Busy) else 0.0
                hopeless = isinstance(failure, Unavailable) and failures + 1 >= STARTS_MAX
            failures += 1
            until = until or loop.time() + self._patience_s()
            wait = max(after_s, pause_s(failures))
            if hopeless or (loop.time() + wait > until and not call.listens):
                raise problem
            await asyncio.sleep(wait)

    def _patience_s(self) -> float:
        return PATIENCE_S if self._identity.met else self._home.first_s

    def _problem(self, call: Call, failure: Lost | Busy | Expired | Unavailable) -> Problem:
        """What is said if it is of no use to try again; raised here if it is of no use now."""
        if isinstance(failure, Busy):
            return failure.problem
        if isinstance(failure, Unavailable):
            return Problem(failure.code, failure.message, failure.hint)
        if isinstance(failure, Expired):
            if call.version or self._legacy.session.params is None:
                raise Problem("CONNECTION_FAILED", f"{self._home.where} has no MCP door", self._home.hint)
            return Problem("CONNECTION_FAILED", "the broker keeps forgetting the session", "connect again")
        self._home.lost(failure.url.removesuffix(MCP_PATH))
        said = f"the broker at {failure.url.removesuffix(MCP_PATH)} is gone: {failure.why}"
        if failure.sent and not call.repeatable:
            raise Problem(
                "CONNECTION_FAILED",
                f"{said}. {call.tool or call.method} may have been carried out, or not",
                "look before you repeat it, for example with mailbox_query or task_get",
            )
        return Problem("CONNECTION_FAILED", said, f"call again; {self._home.hint}")

    async def _try(self, call: Call) -> None:
        """One attempt; returns when the request is answered."""
        url = await self._url(call)
        headers, epoch = await self._headers(call, url)
        try:
            async with self._http.open(url + MCP_PATH) as exchange:
                call.exchange = exchange
                await send(exchange, call.body(), headers)
                self._identity.met = True
                async with aclosing(replies(exchange)) as messages:
                    async for message in messages:
                        if "method" in message:
                            await self._before(call, message, epoch)
                        else:
                            await self._answered(call, message, exchange)
                            with suppress(Lost, TimeoutError):  # so that the connection serves again
                                async with asyncio.timeout(LATE_S):
                                    await anext(messages, None)
                            return
        except Expired:
            self._legacy.session.expire(epoch)
            raise
        finally:
            call.exchange = None
        raise Lost(url, "the stream ended without an answer", sent=True)

    async def _url(self, call: Call) -> str:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._home.url(start=not call.listens)
        except TimeoutError:
            raise Problem(
                "STORAGE_UNAVAILABLE", f"{self._home.where} is still starting", "call again in a moment"
            ) from None

    async def _headers(self, call: Call, url: str) -> tuple[Mapping[str, str], int]:
        """Who calls, and in which session or version of the protocol."""
        who = self._identity.headers()
        if call.method == INITIALIZE:
            return who, self._legacy.session.epoch
        if not call.version:
            try:
                session, epoch = await self._legacy.ready(url)
            except Lost as lost:
                raise Lost(lost.url, lost.why, sent=False) from None  # this call was not
            return {**who, **session}, epoch
        about = {"mcp-protocol-version": call.version, "mcp-method": call.method, "mcp-name": call.mcp_name}
        return {**who, **{name: header_value(value) for name, value in about.items() if value}}, 0

    # What comes back

    async def _from_server(self, message: Fields, epoch: int) -> None:
        """A request or a notification of the server."""
        if "id" in message:
            await self._write(self._legacy.asked.out(message, epoch))
        elif text(message["method"]) == CANCELLED:
            await self._write(self._legacy.asked.withdrawn(message, epoch))
        else:
            await self._write(line(message))

    async def _before(self, call: Call, message: Fields, epoch: int) -> None:
        """What comes before the answer. After a restart, nothing is said twice."""
        method = text(message["method"])
        if call.cancelled:
            return
        if method == PROGRESS:
            progress = plain(fields(message.get("params")).get("progress"))
            if not isinstance(progress, int | float) or progress <= call.progress:
                return  # it begins again from nothing, and progress only rises
            call.progress = progress
        if method == ACKNOWLEDGED and call.acknowledged:
            for missed in missed_of(message):
                await self._write(missed)
            return
        call.acknowledged = call.acknowledged or method == ACKNOWLEDGED
        await self._from_server(message, epoch)

    async def _answered(self, call: Call, message: Fields, exchange: Exchange) -> None:
        if call.cancelled:
            await self._give_back(call, message)
            return
        if "result" in message:
            if stopping := stopping_of(call, message):
                raise Busy(stopping)
            message = {**message, "result": self._noted(call, message["result"], exchange)}
        await self._deliver(call, {**message, "id": call.id})

    async def _deliver(self, call: Call, message: Fields) -> None:
        self._forget(call)
        try:
            await self._write(line(message))
        except OSError:
            await self._give_back(call, message)

    def _noted(self, call: Call, given: Raw, exchange: Exchange) -> Raw:
        """The result for the host; what matters for later is kept."""
        result = fields(given)
        if call.method == INITIALIZE:
            self._legacy.session.opened(exchange.headers.get("mcp-session-id", ""), result)
        elif not call.version:
            self._legacy.session.answered(call)
        if call.sent is not None and "requestState" in result:
            self._rounds[bytes(result["requestState"])] = (bytes(call.params["arguments"]), call.sent)
            while len(self._rounds) > ROUNDS_MAX:
                self._rounds.popitem(last=False)
        if call.method not in (INITIALIZE, DISCOVER):
            return given
        says = filter(None, (text(result.get("instructions")), self._identity.says()))
        return raw({**result, "instructions": "\n\n".join(says)})

    def _go_on(self, call: Call) -> None:
        """A further round of a call: it must go out as the round before did."""
        state = call.params.get("requestState")
        before, sent = self._rounds.pop(bytes(state), (b"", None)) if state is not None else (b"", None)
        if sent is not None and before == bytes(call.params.get("arguments", b"")):
            call.resume(sent)

    async def _give_back(self, call: Call, message: Fields) -> None:
        """Release what a fetch took that nobody will see."""
        content = fields(fields(message.get("result")).get("structuredContent"))
        taken = plain(content.get("messages")) if call.tool == FETCH else None
        leases = [one["lease"] for one in taken or () if isinstance(one, dict) and "lease" in one]
        if not leases:
            return
        body = line({"items": [{"lease": lease, "outcome": "release"} for lease in leases]})
        with suppress(Lost, Busy, Expired, Problem, Mq9Error):
            url = await self._home.url(start=False)
            await tell(self._http, f"{url}/v1/mailbox_ack", body, self._identity.headers())
