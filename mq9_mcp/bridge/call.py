"""One request of the host: what of it may be sent again, and as what it is sent each time.

A request without an answer is repeated where that has no second effect. So a message that is sent gets a
``dedup_key`` before it first goes out, and a wait goes on with what is left of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Raw

from mq9_mcp.bridge.http import Exchange
from mq9_mcp.bridge.messages import (
    INTERNAL_ERROR,
    Fields,
    Problem,
    error,
    fields,
    key_of,
    line,
    objects,
    plain,
    raw,
    text,
)
from mq9_mcp.client.retry import keyed, repeatable

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CLIENT_KEY = "io.modelcontextprotocol/clientInfo"
ERROR_KEY = "mq9/error"  # the MCP door's: where programs find what a model reads as text
INITIALIZE, DISCOVER, LISTEN, TOOL = "initialize", "server/discover", "subscriptions/listen", "tools/call"
FETCH = "mailbox_fetch"

LATE_S = 1.0  # a call that went out so late, as there was no broker, has waited already

# What a repetition changes nothing at. A lost fetch may have taken messages, and another one takes others:
# the first come back when their leases end, so none is lost and none is settled twice.
_METHODS = frozenset(
    {INITIALIZE, DISCOVER, LISTEN, "ping", "tools/list", "prompts/list", "prompts/get", "resources/list"}
    | {"resources/templates/list", "resources/read", "resources/subscribe", "resources/unsubscribe"}
    | {"completion/complete", "logging/setLevel", "tasks/get", "tasks/update", "tasks/cancel"}
)
TELLING = ("address", "state")  # arguments that a repetition depends on
_TOOLS = frozenset({FETCH, "agent_report", "audit_query", "push_list"})


class Call:
    """A request of the host, from its line on stdin to its answer."""

    def __init__(self, message: Fields) -> None:
        self.message = message
        self.id = message["id"]
        self.key = key_of(self.id)
        self.method = text(message["method"])
        self.params = fields(message.get("params"))
        meta = fields(self.params.get("_meta"))
        self.version = text(meta.get(VERSION_KEY))  # of a request that stands alone; empty in a session
        self.client = text(fields(meta.get(CLIENT_KEY)).get("name"))
        self.tool = text(self.params.get("name")) if self.method == TOOL else ""
        self.arguments = fields(self.params.get("arguments"))
        self.begun = asyncio.get_running_loop().time()
        self.progress = float("-inf")
        self.tries = 0
        self.cancelled = False
        self.acknowledged = False  # a stream that listens has begun
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None
        self._sent = self._keyed() if self.tool else None

    @property
    def listens(self) -> bool:
        """It is a stream that ends when the host ends it."""
        return self.method == LISTEN

    @property
    def waits(self) -> bool:
        """It takes as long as it was told to, and what comes of it is lost on a host that is gone."""
        return self.listens or self.tool == FETCH or "wait_s" in self.arguments

    @property
    def repeatable(self) -> bool:
        """It may be made again although the first may have been carried out."""
        if self.method in _METHODS or self.tool in _TOOLS:
            return True
        told = {name: plain(value) for name, value in self.arguments.items() if name in TELLING}
        return repeatable(self.tool, told)

    @property
    def mcp_name(self) -> str:
        """What the request is about, as its header says."""
        name = {TOOL: "name", "prompts/get": "name", "resources/read": "uri"}.get(self.method)
        return text(self.params.get("taskId" if self.method.startswith("tasks/") else name or ""))

    def body(self) -> bytes:
        """The message for the next try."""
        self.tries += 1
        if self._sent is None:
            return line(self.message)
        if "requestState" not in self.params:
            self._wait_on()
        return line({**self.message, "params": {**self.params, "arguments": self._sent}})

    def _keyed(self) -> Raw | None:
        """The arguments with keys for what is sent; None if they go out as they came."""
        inside = {"mailbox_send": "messages", "mailbox_ack": "send"}.get(self.tool)
        if inside is None or not self.arguments:
            return self.params.get("arguments") if "wait_s" in self.arguments else None
        # The door takes null for nothing, and so would leave out a key that is null.
        named: dict[str, Any] = {name: one for name, one in self.arguments.items() if bytes(one) != b"null"}
        if inside in named:
            named[inside] = objects(named[inside])
        return raw(keyed(self.tool, named))

    def _wait_on(self) -> None:
        """Wait no longer in all than was asked for."""
        assert self._sent is not None
        asked = plain(self.arguments.get("wait_s"))
        gone = asyncio.get_running_loop().time() - self.begun
        if isinstance(asked, int | float) and asked > 0 and (self.tries > 1 or gone > LATE_S):
            left = raw(round(max(0.0, asked - gone), 3))
            self._sent = raw({**fields(self._sent), "wait_s": left})

    @property
    def sent(self) -> Raw | None:
        """The arguments as they went out, if they are not as they came."""
        return self._sent

    def resume(self, sent: Raw) -> None:
        """A further round of a call that asked back: its arguments must be those of the round before."""
        self._sent = sent

    def failed(self, problem: Problem) -> bytes:
        """The answer that there is none, where a model reads it."""
        if not self.tool:
            return error(self.id, INTERNAL_ERROR, str(problem), problem.shape)
        result: dict[str, Any] = {
            "content": [{"type": "text", "text": str(problem)}],
            "isError": True,
            "_meta": {ERROR_KEY: problem.shape},
        }
        if self.version:
            result["resultType"] = "complete"
        return line({"jsonrpc": "2.0", "id": self.id, "result": result})
