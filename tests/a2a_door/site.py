"""What the tests of the A2A door share: a client that speaks both bindings, and a worker behind a mailbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.rest.site import Site, served
from tests.support import Desk, Reply

BOX = "box"
RPC, HTTP = "JSONRPC", "HTTP+JSON"
both = pytest.mark.parametrize("binding", [RPC, HTTP])
V1 = {"a2a-version": "1.0"}
_VERBS: dict[str, tuple[str, str]] = {
    "SendMessage": ("POST", "message:send"),
    "SendStreamingMessage": ("POST", "message:stream"),
    "GetTask": ("GET", "tasks/{id}"),
    "ListTasks": ("GET", "tasks"),
    "CancelTask": ("POST", "tasks/{id}:cancel"),
    "SubscribeToTask": ("POST", "tasks/{id}:subscribe"),
    "GetExtendedAgentCard": ("GET", "extendedAgentCard"),
    "CreateTaskPushNotificationConfig": ("POST", "tasks/{taskId}/pushNotificationConfigs"),
    "ListTaskPushNotificationConfigs": ("GET", "tasks/{taskId}/pushNotificationConfigs"),
    "GetTaskPushNotificationConfig": ("GET", "tasks/{taskId}/pushNotificationConfigs/{id}"),
    "DeleteTaskPushNotificationConfig": ("DELETE", "tasks/{taskId}/pushNotificationConfigs/{id}"),
}


class Failure(Exception):
    """An error answer."""

    def __init__(self, error: Reply, status: int) -> None:
        super().__init__(str(error))
        self.code = error["code"]
        self.status = status
        details: list[Reply] = error.get("data") or error.get("details") or [{}]
        self.info = details[0]
        self.details = details
        self.message = error["message"]


class Peer:
    """A client of one mailbox over one binding."""

    def __init__(self, site: Site, binding: str, mailbox: str = BOX, agent: str = "") -> None:
        self.site = site
        self.client = site.client
        self.desk: Desk = site.desk
        self.binding = binding
        self.path = f"/a2a/{mailbox}" if mailbox else "/a2a"
        self.headers = {**V1, **({"mq9-agent": agent} if agent else {})}

    def request(self, method: str, params: Reply, **headers: str) -> httpx.Request:
        """A request as it goes over the wire."""
        named = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        client = self.client
        if self.binding == RPC:
            body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
            return client.build_request("POST", self.path, json=body, headers=named)
        verb, path = _VERBS[method]
        rest = {name: value for name, value in params.items() if f"{{{name}}}" not in path}
        url = f"{self.path}/v1/{path.format(**params)}"
        if verb == "POST":
            return client.build_request(verb, url, json=rest, headers=named)
        return client.build_request(verb, url, params=rest, headers=named)

    async def call(self, method: str, /, **params: Any) -> Reply:
        """The result of a method; raises ``Failure``."""
        return result_of(await self.client.send(self.request(method, params)))

    async def send(self, text: str = "hello", id: str = "m1", wait: bool = False, **fields: Any) -> Reply:
        """Send a message; returns its task, or the message that came back."""
        message = {"messageId": id, "role": "ROLE_USER", "parts": [{"text": text}], **fields}
        configuration = {"returnImmediately": not wait}
        result = await self.call("SendMessage", message=message, configuration=configuration)
        [found] = result.values()
        reply: Reply = found
        return reply

    async def failure(self, method: str, /, **params: Any) -> Failure:
        """The error of a method, which must have one; its two codes must fit."""
        with pytest.raises(Failure) as caught:
            await self.call(method, **params)
        return caught.value

    async def failure_with(self, headers: dict[str, str], method: str, /, **params: Any) -> Failure:
        """The error of a method that is called with these headers."""
        with pytest.raises(Failure) as caught:
            result_of(await self.client.send(self.request(method, params, **headers)))
        return caught.value

    @asynccontextmanager
    async def stream(self, method: str, /, **params: Any) -> AsyncIterator[AsyncIterator[Reply]]:
        """The events of a stream: each ``{id, event}``."""
        headers = params.pop("headers", {})
        request = self.request(method, params, **headers)
        response = await self.client.send(request, stream=True)
        try:
            if not response.headers["content-type"].startswith("text/event-stream"):
                await response.aread()
                result_of(response)
                raise AssertionError("neither a stream nor an error")
            yield events_of(response)
        finally:
            await response.aclose()


def result_of(response: httpx.Response) -> Reply:
    """The result in an answer; raises ``Failure``."""
    answer: Reply = response.json()
    if "jsonrpc" in answer:
        assert response.status_code == 200
        assert answer["id"] == 7
    if "error" in answer:
        raise Failure(answer["error"], response.status_code)
    assert response.status_code == 200, response.text
    return answer["result"] if "jsonrpc" in answer else answer


async def events_of(response: httpx.Response) -> AsyncIterator[Reply]:
    """What server-sent events say."""
    number = 0
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            if "jsonrpc" in event:
                assert event["id"] == 7
                event = event["result"]
            yield {"id": number, "event": event}


def words_of(event: Reply) -> str:
    """An event in short."""
    [(kind, value)] = event["event"].items()
    if kind == "artifactUpdate":
        return "artifact"
    if kind == "message":
        return "message"
    state: str = value["status"]["state"]
    short: str = kind.removesuffix("Update")
    return f"{short}:{state.removeprefix('TASK_STATE_').lower()}"


async def update(desk: Desk, leased: Reply, /, state: str | None = None, **fields: Any) -> Reply:
    """A worker's word about the task of a leased message."""
    if state is not None:
        fields["state"] = state
    return await desk.call("task_update", "bob", task=leased["task"], lease=leased["lease"], **fields)


Work = Callable[[Desk, Reply], Coroutine[Any, Any, Any]]


@asynccontextmanager
async def working(desk: Desk, work: Work, mailbox: str = BOX) -> AsyncIterator[None]:
    """A worker that takes every task of the mailbox and does ``work``."""

    async def loop() -> None:
        while True:
            for message in await desk.fetch(mailbox, wait_s=50):
                await work(desk, message)

    worker = asyncio.create_task(loop())
    try:
        yield
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


def run_peer(
    test: Callable[[Peer], Coroutine[Any, Any, None]],
    folder: Path,
    binding: str,
    *mailboxes: str,
    root: bool = False,
) -> None:
    """Run an async test body with a client; 60 s at most. ``root``: of the broker itself."""

    async def body() -> None:
        async with asyncio.timeout(60), served(folder, *(mailboxes or (BOX,))) as site:
            await test(Peer(site, binding, "" if root else BOX))

    asyncio.run(body())
