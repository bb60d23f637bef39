"""Push notification configs at the A2A door, and the server that posts: also one that is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from mq9_a2a.push import Sender

from mq9_mcp.peers.posts import Posts
from mq9_mcp.peers.reach import Reach, read_networks
from tests.a2a_door.receiver import receiving
from tests.a2a_door.site import BOX, RPC, V1, Peer, both, run_peer, update
from tests.serve.process import Server, serving
from tests.support import Reply

URL = "https://hooks.example/a"
MESSAGE = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "weigh the cat"}]}


@both
def test_configs_are_created_found_listed_and_deleted(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        task = (await peer.send())["id"]
        login = {"scheme": "Bearer", "credentials": "secret-1"}
        given = {"taskId": task, "id": "a", "url": URL, "token": "t", "authentication": login}
        made = await peer.call("CreateTaskPushNotificationConfig", **given)
        assert made == {**given, "authentication": {"scheme": "Bearer"}}
        assert await peer.call("GetTaskPushNotificationConfig", taskId=task, id="a") == made
        named = [made]
        for number in range(2):
            url = f"{URL}/{number}"
            named.append(await peer.call("CreateTaskPushNotificationConfig", taskId=task, url=url))
        assert len({one["id"] for one in named}) == 3
        whole = await peer.call("ListTaskPushNotificationConfigs", taskId=task)
        assert whole == {"configs": named, "nextPageToken": ""}
        page = await peer.call("ListTaskPushNotificationConfigs", taskId=task, pageSize=2)
        assert page["configs"] == named[:2]
        rest = {"taskId": task, "pageSize": 2, "pageToken": page["nextPageToken"]}
        page = await peer.call("ListTaskPushNotificationConfigs", **rest)
        assert page == {"configs": named[2:], "nextPageToken": ""}
        for _ in range(2):
            assert await peer.call("DeleteTaskPushNotificationConfig", taskId=task, id="a") == {}
        error = await peer.failure("GetTaskPushNotificationConfig", taskId=task, id="a")
        assert error.code in (-32001, 404)
        replaced = {"taskId": task, "id": named[1]["id"], "url": URL}
        assert await peer.call("CreateTaskPushNotificationConfig", **replaced) == replaced

    run_peer(test, tmp_path, binding)


@both
def test_what_is_no_config_is_refused_in_words(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        task = (await peer.send())["id"]
        wrong: list[Reply] = [
            {"url": "ftp://hooks.example/"},
            {"url": URL, "token": "secret\r\nX-Evil: 1"},
            {"url": URL, "authentication": {"scheme": "Bearer", "credentials": "secret\u00e9"}},
            {"url": URL, "authentication": {"credentials": "x"}},
            {"url": URL, "id": "i" * 97},
        ]
        for one in wrong:
            error = await peer.failure("CreateTaskPushNotificationConfig", taskId=task, **one)
            assert error.info["reason"] == "INVALID_PARAMS", one
            assert "secret" not in str(error), "a client may log what it is told"
            fresh = {**MESSAGE, "messageId": str(one)}
            configuration = {"taskPushNotificationConfig": one, "returnImmediately": True}
            error = await peer.failure("SendMessage", message=fresh, configuration=configuration)
            assert error.info["reason"] == "INVALID_PARAMS", one
        assert len((await peer.call("ListTasks"))["tasks"]) == 1, "nothing was stored"
        for size in (-1, 101):
            error = await peer.failure("ListTaskPushNotificationConfigs", taskId=task, pageSize=size)
            assert error.info["reason"] == "INVALID_PARAMS"
        await peer.failure("ListTaskPushNotificationConfigs", taskId=task, pageToken="none")
        for method, more in (
            ("CreateTaskPushNotificationConfig", {"url": URL}),
            ("GetTaskPushNotificationConfig", {"id": "a"}),
            ("ListTaskPushNotificationConfigs", {}),
            ("DeleteTaskPushNotificationConfig", {"id": "a"}),
        ):
            error = await peer.failure(method, taskId="task-none", **more)
            assert error.info["reason"] == "TASK_NOT_FOUND"

    run_peer(test, tmp_path, binding)


@both
def test_private_addresses_are_refused(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        peer.desk.broker._check_url = Posts().check
        task = (await peer.send())["id"]
        config = {"url": "http://127.0.0.1:9/hook"}
        error = await peer.failure("CreateTaskPushNotificationConfig", taskId=task, **config)
        assert "private" in error.message
        fresh = {**MESSAGE, "messageId": "m2"}
        configuration = {"taskPushNotificationConfig": config}
        error = await peer.failure("SendMessage", message=fresh, configuration=configuration)
        assert "private" in error.message

    run_peer(test, tmp_path, binding)


@both
def test_a_message_brings_its_config_along(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        posts = Posts(Reach(read_networks(["127.0.0.1"])))
        sender = Sender(peer.desk.broker, posts)
        async with receiving() as receiver:
            configuration = {
                "taskPushNotificationConfig": {"url": receiver.url(), "token": "t"},
                "returnImmediately": True,
            }
            sent = {"message": MESSAGE, "configuration": configuration}
            task = (await peer.call("SendMessage", **sent))["task"]
            assert (await peer.call("SendMessage", **sent))["task"]["id"] == task["id"]
            [config] = (await peer.call("ListTaskPushNotificationConfigs", taskId=task["id"]))["configs"]
            assert config["url"] == receiver.url()
            [message] = await peer.desk.fetch()
            await update(peer.desk, message, "completed")
            sender.start()
            post = await receiver.posts.get()
            assert post.body == {"task": task}, "every event, from the first one on"
            assert post.headers["x-a2a-notification-token"] == "t"
            assert await receiver.words(2) == ["status:working", "status:completed"]
            await sender.rest()
            assert receiver.posts.empty()
            await sender.close()

    run_peer(test, tmp_path, binding)


def test_the_card_says_so(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        for path in ("/.well-known/agent-card.json", f"/a2a/{BOX}/.well-known/agent-card.json"):
            card = (await peer.site.client.get(path)).json()
            assert card["capabilities"]["pushNotifications"] is True

    run_peer(test, tmp_path, RPC)


async def rest(server: Server, name: str, agent: str = "alice", **arguments: Any) -> Reply:
    """The reply of a command over HTTP."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        answer = await client.post(f"/v1/{name}", json=arguments, headers={"mq9-agent": agent})
    assert answer.status_code == 200, answer.text
    reply: Reply = answer.json()
    return reply


async def ask(server: Server, method: str, **params: Any) -> Reply:
    """The result of a method of A2A."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        answer = await client.post(f"/a2a/{BOX}", json=body, headers=V1)
    found: Reply = answer.json()
    return found


def test_a_server_that_was_killed_posts_what_was_not_acknowledged(tmp_path: Path) -> None:
    settings = {"push_networks": "127.0.0.1"}

    async def body() -> None:
        async with asyncio.timeout(120), receiving() as receiver:
            server = Server(tmp_path / "data", **settings)
            try:
                await asyncio.to_thread(server.ready)
                await rest(server, "mailbox_create", address=BOX)
                configuration = {
                    "taskPushNotificationConfig": {"url": receiver.url()},
                    "returnImmediately": True,
                }
                task = (await ask(server, "SendMessage", message=MESSAGE, configuration=configuration))[
                    "result"
                ]["task"]
                assert await receiver.words(1) == ["task:submitted"]
                receiver.hold.clear()
                [work] = (await rest(server, "mailbox_fetch", "bob", mailbox=BOX))["messages"]
                done = {"task": task["id"], "lease": work["lease"], "state": "completed"}
                await rest(server, "task_update", "bob", **done)
                assert await receiver.words(1) == ["status:working"]
            finally:
                server.process.kill()
                server.end()
            receiver.hold.set()
            with serving(tmp_path / "data", **settings) as again:
                posted = await receiver.words(2)
                if posted[0] == "task:submitted":  # its acknowledgement was not on disk yet
                    posted = [*posted[1:], *await receiver.words(1)]
                assert posted == ["status:working", "status:completed"]
                found = (await rest(again, "task_get", task=task["id"]))["task"]
                while (await rest(again, "push_list"))["pushes"][0]["state"] != "done":
                    assert found["state"] == "completed"
            assert receiver.posts.empty()

    asyncio.run(body())


def test_a_server_refuses_private_addresses_unless_it_is_told_to(tmp_path: Path) -> None:
    async def body(server: Server) -> None:
        await rest(server, "mailbox_create", address=BOX)
        config = {"url": "http://127.0.0.1:9/hook"}
        refused = await ask(
            server, "SendMessage", message=MESSAGE, configuration={"taskPushNotificationConfig": config}
        )
        assert "push_networks" in refused["error"]["data"][0]["metadata"]["hint"]

    with serving(tmp_path / "data") as server:
        asyncio.run(body(server))
