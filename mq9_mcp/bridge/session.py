"""A session of the older protocol versions, which the daemon forgets when it ends, and hosts do not.

So it is opened anew with what the host said at first, and what the host had subscribed to is told as changed.
Requests of the server go to the host under ids of ours: those of a new session would meet those of the old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

from msgspec import Raw

from mq9_mcp.bridge.call import Call
from mq9_mcp.bridge.messages import Fields, fields, key_of, line, notification, plain, raw, text
from mq9_mcp.bridge.naming import header_value

OPENED = "notifications/initialized"
UPDATED = "notifications/resources/updated"
CANCELLED = "notifications/cancelled"
SUBSCRIBE, UNSUBSCRIBE, SET_LEVEL = "resources/subscribe", "resources/unsubscribe", "logging/setLevel"


class Session:
    """What is known of the session. ``epoch`` counts how often it was opened; ``lock`` is held meanwhile."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.epoch = 0
        self.id = ""
        self.version = ""
        self.stale = False
        self.initialized = False
        self.params: Raw | None = None  # of initialize
        self._subscribed: dict[str, Raw] = {}  # uri -> the params of its subscription
        self._level: Raw | None = None

    def headers(self) -> dict[str, str]:
        """What a request in this session says of it."""
        named = {"mcp-session-id": self.id, "mcp-protocol-version": self.version}
        return {name: header_value(value) for name, value in named.items() if value}

    def opened(self, id: str, result: Fields) -> None:
        """The server answered ``initialize``."""
        self.epoch += 1
        self.id = id
        self.version = text(result.get("protocolVersion"))
        self.stale = False

    def begin(self, call: Call) -> None:
        """The host initializes: what was before is over."""
        self.params = call.message.get("params")
        self.initialized = False
        self._subscribed, self._level = {}, None

    def expire(self, epoch: int) -> None:
        """The server does not know the session of that epoch."""
        if epoch == self.epoch:
            self.stale = True

    def answered(self, call: Call) -> None:
        """A request succeeded; remember what a new session must be told."""
        uri = text(call.params.get("uri"))
        if call.method == SUBSCRIBE:
            self._subscribed[uri] = call.message["params"]
        elif call.method == UNSUBSCRIBE:
            self._subscribed.pop(uri, None)
        elif call.method == SET_LEVEL:
            self._level = call.message["params"]

    def initialize(self) -> bytes:
        """The request that opens it once more."""
        return line({"jsonrpc": "2.0", "id": "mq9-open", "method": "initialize", "params": self.params})

    def retold(self) -> Iterator[bytes]:
        """The requests that make a new session what the old one was."""
        told = [(SUBSCRIBE, params) for params in self._subscribed.values()]
        if self._level is not None:
            told.append((SET_LEVEL, self._level))
        for at, (method, params) in enumerate(told):
            yield line({"jsonrpc": "2.0", "id": f"mq9-again-{at}", "method": method, "params": params})

    def missed(self) -> Iterator[bytes]:
        """What was subscribed to may have changed between the sessions."""
        for uri in self._subscribed:
            yield notification(UPDATED, {"uri": uri})


class Asked:
    """Requests of the server that the host has not answered yet."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, Raw]] = {}  # our id -> the session's epoch, the server's id
        self._next = count(1)

    def out(self, message: Fields, epoch: int) -> bytes:
        """A request of the server for the host, under an id of ours."""
        ours = f"mq9-{next(self._next)}"
        self._open[ours] = (epoch, message["id"])
        return line({**message, "id": raw(ours)})

    def back(self, message: Fields, epoch: int) -> bytes | None:
        """The host's answer for the server; None if who asked is gone."""
        asked, theirs = self._open.pop(text(message.get("id")), (0, raw(None)))
        return line({**message, "id": theirs}) if asked == epoch else None

    def withdrawn(self, message: Fields, epoch: int) -> bytes:
        """The server's word that it needs no answer any more."""
        params = fields(message.get("params"))
        id = key_of(params.get("requestId"))
        for ours, (asked, theirs) in self._open.items():
            if asked == epoch and key_of(theirs) == id:
                del self._open[ours]
                return line({**message, "params": {**params, "requestId": raw(ours)}})
        return line(dict(message))

    def gone(self, epoch: int) -> Iterator[bytes]:
        """Tell the host that nobody waits for the answers of sessions before this one."""
        for ours, (asked, _) in list(self._open.items()):
            if asked < epoch:
                del self._open[ours]
                yield notification(CANCELLED, {"requestId": ours, "reason": "the broker was restarted"})


def missed_of(acknowledged: Fields) -> Iterator[bytes]:
    """What a stream that was listened to may have missed before it was acknowledged once more."""
    params = fields(acknowledged.get("params"))
    honored, meta = fields(params.get("notifications")), params.get("_meta", raw({}))
    for kind in ("tools", "prompts", "resources"):
        if plain(honored.get(f"{kind}ListChanged")):
            yield notification(f"notifications/{kind}/list_changed", {"_meta": meta})
    for uri in plain(honored.get("resourceSubscriptions")) or ():
        yield notification(UPDATED, {"uri": uri, "_meta": meta})
