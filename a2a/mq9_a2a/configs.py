"""Push notification configs: where a task's events are posted, in A2A's words. Credentials stay here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mq9_a2a import params as p
from mq9_a2a.ask import Ask
from mq9_a2a.errors import INVALID_PARAMS, NOT_FOUND, A2aError
from mq9_a2a.words import View
from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.broker.broker import Broker
from mq9_mcp.domain.push_commands import PushDelete, PushLook, PushRequest, PushSet

NEW = "new"  # stands for the task that the message opens or belongs to


def request_of(given: p.PushConfig, task: str, version: str) -> PushRequest:
    """The broker's command; raises what its arguments are refused with."""
    named: View = {"id": given.id, "token": given.token}
    arguments: View = {name: value for name, value in named.items() if value}
    if given.authentication is not None and (given.authentication.scheme or given.authentication.credentials):
        login: View = {"scheme": given.authentication.scheme}
        if given.authentication.credentials:
            login["credentials"] = given.authentication.credentials
        arguments["authentication"] = login
    read = read_arguments("push_set", {"task": task, "url": given.url, **arguments})
    assert isinstance(read, PushSet)
    return PushRequest(
        task=read.task,
        url=read.url,
        id=read.id,
        token=read.token,
        authentication=read.authentication,
        version=version,
    )


class Configs:
    """The configs of the tasks of a mailbox; ``own`` finds a task that the caller may know of."""

    def __init__(self, broker: Broker, own: Callable[[Ask, str], Awaitable[View]]) -> None:
        self.broker = broker
        self._own = own

    async def create(self, ask: Ask, given: p.PushConfig) -> View:
        """``TaskPushNotificationConfig``; one of the same id is replaced."""
        await self._own(ask, given.task_id)
        reply = await self.broker.execute(ask.caller, request_of(given, given.task_id, ask.version))
        return _config({**reply["push"], "token": given.token})

    async def get(self, ask: Ask, given: p.OnePush) -> View:
        """``TaskPushNotificationConfig``."""
        page = await self._page(ask, given.task_id, p.PAGE_MAX, "")
        for push in page["pushes"]:
            if push["id"] == given.id:
                return _config(push)
        raise A2aError(NOT_FOUND, f"The task has no push notification config {given.id[:96]!a}")

    async def list(self, ask: Ask, given: p.AllPush) -> View:
        """``ListTaskPushNotificationConfigsResponse``."""
        if not 0 <= given.page_size <= p.PAGE_MAX:
            raise A2aError(INVALID_PARAMS, f"pageSize: {given.page_size}; accepted: 1 to {p.PAGE_MAX}")
        page = await self._page(ask, given.task_id, given.page_size or p.PAGE_DEFAULT, given.page_token)
        return {
            "configs": [_config(push) for push in page["pushes"]],
            "nextPageToken": page.get("next_cursor", ""),
        }

    async def delete(self, ask: Ask, given: p.OnePush) -> View:
        """``Empty``; what is not there is deleted already."""
        await self._own(ask, given.task_id)
        await self.broker.execute(ask.caller, PushDelete(task=given.task_id, id=given.id))
        return {}

    async def _page(self, ask: Ask, task: str, size: int, token: str) -> View:
        await self._own(ask, task)
        return await self.broker.execute(
            ask.caller, PushLook(task=task, limit=size, cursor=token[:96] or None)
        )


def _config(push: View) -> View:
    shown: View = {"id": push["id"], "taskId": push["task"], "url": push["url"]}
    return shown | {name: push[name] for name in ("token", "authentication") if push.get(name)}
