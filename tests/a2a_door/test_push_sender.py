"""Posts of tasks' events: every one, in order, through failures and restarts; secrets sent, never logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mq9_a2a.push import FAILING_MS, FIRST_MS, MOST_MS, SOME, TRIES_MIN, Sender

from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.push_commands import PushRequest
from mq9_mcp.domain.push_target import read_url
from mq9_mcp.domain.state import Caller
from mq9_mcp.peers import posts as peer
from mq9_mcp.peers.posts import NotPosted, Posts
from mq9_mcp.peers.reach import Reach, read_networks
from tests.a2a_door.receiver import Receiver, receiving
from tests.a2a_door.site import update
from tests.support import Desk, Reply, opened

LOOPBACK = Reach(read_networks(["127.0.0.1"]))
ALL = ["task:submitted", "status:working", "status:working", "artifact", "status:completed"]


class Scene:
    """A desk, a sender and a receiver; ``restart`` is one of the broker with its sender."""

    def __init__(self, desk: Desk, receiver: Receiver) -> None:
        self.desk = desk
        self.receiver = receiver
        self.sender: Sender

    def start(self) -> None:
        """Post from now on."""
        self.sender = Sender(self.desk.broker, Posts(LOOPBACK), chance=lambda: 1.0)
        self.sender.start()

    async def restart(self) -> None:
        """Stop in order, and start again."""
        await self.sender.close()
        await self.desk.restart()
        self.start()

    async def pass_ms(self, ms: int) -> None:
        """Let time pass, and what is due begin."""
        self.desk.time.now += ms
        self.sender.look()

    async def task(self, text: str = "weigh the cat") -> str:
        """A new task of ``alice``."""
        task: str = (await self.desk.send(text=text, task=True))["task"]
        return task

    async def push(self, task: str, **fields: Any) -> Reply:
        """A target of the receiver's."""
        given = {"url": self.receiver.url(), "task": task, **fields}
        reply: Reply = await self.desk.call("push_set", **given)
        return reply["push"]  # type: ignore[no-any-return]

    async def listed(self) -> list[Reply]:
        """The targets as the list shows them."""
        found: list[Reply] = (await self.desk.call("push_list"))["pushes"]
        return found

    async def work(self) -> None:
        """A worker does the one task that waits."""
        [message] = await self.desk.fetch()
        await update(self.desk, message, progress={"done": 1, "total": 2}, artifacts=[{"text": "a log"}])
        await update(self.desk, message, "completed", message="4 kg")


def stage(test: Callable[[Scene], Coroutine[Any, Any, None]], folder: Path) -> None:
    """Run an async test body; one that hangs fails after 60 s."""

    async def body() -> None:
        async with asyncio.timeout(60), opened(folder, "box") as desk, receiving() as receiver:
            scene = Scene(desk, receiver)
            scene.start()
            try:
                await test(scene)
            finally:
                await scene.sender.close()

    asyncio.run(body())


def test_every_event_is_posted_once_and_in_order(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        task = await scene.task()
        await scene.push(task)
        assert await scene.receiver.words(1) == ["task:submitted"]
        await scene.sender.rest()
        await scene.work()
        assert await scene.receiver.words(4) == ALL[1:]
        await scene.sender.rest()
        assert scene.receiver.posts.empty()
        [push] = await scene.listed()
        version = (await scene.desk.call("task_get", task=task))["task"]["version"]
        assert (push["state"], push["delivered"]) == ("done", version)
        assert scene.receiver.most == 1, "one post of a target at a time"

    stage(body, tmp_path)


def test_a_target_of_a_task_that_is_over_is_told_how_it_ended(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        task = await scene.task()
        await scene.work()
        await scene.push(task)
        post = await scene.receiver.posts.get()
        assert post.words == "task:completed"
        assert post.body["task"]["artifacts"][0]["parts"] == [{"text": "a log"}]
        await scene.sender.rest()
        assert [one["state"] for one in await scene.listed()] == ["done"]

    stage(body, tmp_path)


def test_secrets_are_sent_and_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.append(401)
        login = {"scheme": "Bearer", "credentials": "credentials-1"}
        task = await scene.task()
        url = scene.receiver.url("/hook?key=key-1#never-sent")
        await scene.push(task, url=url, token="token-1", authentication=login)
        post = await scene.receiver.posts.get()
        assert post.head == "POST /hook?key=key-1 HTTP/1.1"
        assert post.headers["content-type"] == "application/a2a+json"
        assert post.headers["a2a-version"] == "1.0"
        assert post.headers["x-a2a-notification-token"] == "token-1"
        assert post.headers["authorization"] == "Bearer credentials-1"
        await scene.sender.rest()

    with caplog.at_level(logging.DEBUG):
        stage(body, tmp_path)
    assert "push_failing" in caplog.text
    ours = json.dumps([vars(one) for one in caplog.records if one.name.startswith("mq9")], default=str)
    for secret in ("token-1", "credentials-1", "key-1"):
        assert secret not in ours


def test_a_post_that_fails_is_tried_again_before_any_later_one(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.extend([500, 302, 503])
        await scene.push(await scene.task())
        first = await scene.receiver.posts.get()
        await scene.sender.rest()
        await scene.work()
        delays = [FIRST_MS, FIRST_MS * 2, FIRST_MS * 4]
        for delay in delays:
            await scene.pass_ms(delay - 1)
            await scene.sender.rest()
            assert scene.receiver.posts.empty(), "it waits its time out, whatever happens to the task"
            await scene.pass_ms(1)
            again = await scene.receiver.posts.get()
            assert (again.head, [*again.body]) == (first.head, [*first.body]), "a redirect is not followed"
            await scene.sender.rest()
        assert again.words == "task:completed", "the task as it stands comes first"
        [push] = await scene.listed()
        assert (push["state"], "failing_since" in push) == ("done", False)

    stage(body, tmp_path)


@pytest.mark.parametrize(
    ("said", "wait_ms"),
    [
        ("20", 20_000 + FIRST_MS),
        ("99999", MOST_MS),
        ("Fri, 31 Dec 1999 23:59:59 GMT", FIRST_MS),
        ("-1", FIRST_MS),
    ],
)
def test_a_receiver_that_asks_for_time_gets_it_within_bounds(tmp_path: Path, said: str, wait_ms: int) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.append(429)
        scene.receiver.retry_after = said
        await scene.push(await scene.task())
        await scene.receiver.posts.get()
        await scene.sender.rest()
        figures = await scene.desk.engine.figures()
        assert figures.pushes == {"active": 0, "failing": 1, "disabled": 0}
        await scene.pass_ms(wait_ms - 1)
        await scene.sender.rest()
        assert scene.receiver.posts.empty()
        await scene.pass_ms(1)
        await scene.receiver.posts.get()
        await scene.sender.rest()
        assert dict(scene.desk.broker.tally.posts) == {"ok": 1, "failed": 1}

    stage(body, tmp_path)


def test_events_that_were_not_acknowledged_come_after_a_restart(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.push(await scene.task())
        assert await scene.receiver.words(1) == ["task:submitted"]
        await scene.sender.rest()
        scene.receiver.hold.clear()
        await scene.work()
        assert await scene.receiver.words(1) == ["status:working"], "posted, and never answered"
        await scene.restart()
        scene.receiver.hold.set()
        assert await scene.receiver.words(4) == ALL[1:]
        await scene.sender.rest()
        await scene.restart()
        await scene.sender.rest()
        assert scene.receiver.posts.empty()

    stage(body, tmp_path)


def test_a_long_backlog_comes_whole_and_in_order(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.push(await scene.task())
        await scene.receiver.posts.get()
        await scene.sender.rest()
        await scene.sender.close()
        [message] = await scene.desk.fetch()
        for number in range(SOME):
            await update(scene.desk, message, checkpoint=number)
        pieces = [{"artifact_id": "a", "text": str(number), "append": True} for number in range(3 * SOME)]
        await update(scene.desk, message, artifacts=pieces)
        await update(scene.desk, message, "completed")
        scene.start()
        assert await scene.receiver.words(1) == ["status:working"]
        posts = [await scene.receiver.posts.get() for _ in pieces]
        said = [post.body["artifactUpdate"]["artifact"]["parts"][0]["text"] for post in posts]
        assert said == [piece["text"] for piece in pieces], "checkpoints are the worker's own"
        assert await scene.receiver.words(1) == ["status:completed"]
        await scene.sender.rest()
        assert scene.receiver.posts.empty()
        assert [one["state"] for one in await scene.listed()] == ["done"]

    stage(body, tmp_path)


def test_a_failure_waits_no_longer_than_the_longest_backoff(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.extend([500] * 20)
        await scene.push(await scene.task())
        for _ in range(20):
            await scene.receiver.posts.get()
            await scene.sender.rest()
            await scene.pass_ms(MOST_MS)
        await scene.receiver.posts.get()
        await scene.sender.rest()
        assert [one["state"] for one in await scene.listed()] == ["active"]

    stage(body, tmp_path)


@pytest.mark.parametrize("early_ms", [0, 1])
def test_lasting_failure_disables_and_tells_the_asker(tmp_path: Path, early_ms: int) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.extend([503] * 100)
        await scene.push(await scene.task())
        began = scene.desk.time.now
        for _ in range(TRIES_MIN - 1):
            await scene.receiver.posts.get()
            await scene.sender.rest()
            await scene.pass_ms(MOST_MS)
        await scene.receiver.posts.get()
        await scene.sender.rest()
        assert [one["state"] for one in await scene.listed()] == ["failing"]
        await scene.pass_ms(began + FAILING_MS - early_ms - scene.desk.time.now)
        await scene.receiver.posts.get()
        await scene.sender.rest()
        [push] = await scene.listed()
        letters = await scene.desk.fetch("alice")
        if early_ms:
            assert (push["state"], letters) == ("failing", [])
            return
        assert (push["state"], push["trouble"]) == ("disabled", "HTTP status 503")
        assert [letter["parts"][1]["data"]["host"] for letter in letters] == ["127.0.0.1"]
        await scene.pass_ms(MOST_MS)
        await scene.work()
        await scene.restart()
        await scene.sender.rest()
        assert scene.receiver.posts.empty(), "nothing more is posted"

    stage(body, tmp_path)


def test_a_broker_that_was_away_tries_often_enough_before_it_gives_up(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.append(503)
        await scene.push(await scene.task())
        await scene.receiver.posts.get()
        await scene.sender.rest()
        scene.desk.time.now += 2 * FAILING_MS
        scene.receiver.answers.append(503)
        await scene.restart()
        await scene.receiver.posts.get()
        await scene.sender.rest()
        assert [one["state"] for one in await scene.listed()] == ["failing"]
        await scene.pass_ms(MOST_MS)
        assert await scene.receiver.words(1) == ["task:submitted"]
        await scene.sender.rest()
        assert [one["state"] for one in await scene.listed()] == ["active"]

    stage(body, tmp_path)


def test_a_receiver_that_is_gone_is_disabled_at_once(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.append(410)
        push = await scene.push(await scene.task())
        await scene.receiver.posts.get()
        await scene.sender.rest()
        assert [one["trouble"] for one in await scene.listed()] == ["HTTP status 410"]
        assert len(await scene.desk.fetch("alice")) == 1
        await scene.push(push["task"], id=push["id"])
        assert await scene.receiver.words(1) == ["task:submitted"], "set anew, it begins anew"

    stage(body, tmp_path)


def test_nothing_is_posted_to_a_target_that_was_deleted_while_it_failed(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.append(500)
        push = await scene.push(await scene.task())
        await scene.receiver.posts.get()
        await scene.sender.rest()
        await scene.desk.call("push_delete", task=push["task"], id=push["id"])
        await scene.pass_ms(MOST_MS)
        await scene.work()
        await scene.sender.rest()
        assert scene.receiver.posts.empty()

    stage(body, tmp_path)


def test_a_target_that_is_set_anew_does_not_wait_for_the_failures_of_the_old_one(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.receiver.answers.append(500)
        push = await scene.push(await scene.task())
        await scene.receiver.posts.get()
        await scene.sender.rest()
        await scene.push(push["task"], id=push["id"], token="mended")
        post = await scene.receiver.posts.get()
        assert post.headers["x-a2a-notification-token"] == "mended"

    stage(body, tmp_path)


def test_addresses_out_of_reach_are_not_called_whatever_they_were_called_before(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        answers = ["8.8.8.8", "127.0.0.1"]

        async def look_up(_host: str, _port: int) -> list[str]:
            return [answers.pop(0)]

        posts = Posts(look_up=look_up)
        scene.desk.broker._check_url = posts.check
        await scene.sender.close()
        scene.sender = Sender(scene.desk.broker, posts, chance=lambda: 1.0)
        scene.sender.start()
        await scene.push(await scene.task(), url=scene.receiver.url(host="rebound.example"))
        await scene.sender.rest()
        [push] = await scene.listed()
        assert push["state"] == "failing", push
        assert push["trouble"] == "a private, loopback or link-local address"
        assert scene.receiver.posts.empty()

    stage(body, tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]"])
def test_private_addresses_are_refused_at_once(tmp_path: Path, host: str) -> None:
    async def body(scene: Scene) -> None:
        scene.desk.broker._check_url = Posts().check
        task = await scene.task()
        error = await scene.desk.refused(
            "INVALID_ARGUMENT", "push_set", task=task, url=f"http://{host}:9/hook"
        )
        assert "push_networks" in error.hint
        assert await scene.listed() == []

    stage(body, tmp_path)


def test_a_name_that_nobody_knows_now_may_be_known_later() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        raise OSError("not known")

    async def body() -> None:
        posts = Posts(look_up=look_up)
        await posts.check(read_url("https://later.example/"))
        with pytest.raises(NotPosted, match="ConnectError"):
            await posts.post("https://later.example/", [], b"{}")
        await posts.close()

    asyncio.run(body())


@asynccontextmanager
async def posting(count: int, receiver: Receiver, *hosts: str) -> AsyncIterator[Posts]:
    """So many posts at once, to hosts that are all the receiver."""

    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    posts = Posts(LOOPBACK, look_up)
    receiver.hold.clear()

    async def post(url: str) -> int:
        async with posts.turn(url):
            return (await posts.post(url, [], b"{}")).status

    urls = [receiver.url(host=hosts[number % len(hosts)]) for number in range(count)]
    running = [asyncio.create_task(post(url)) for url in urls]
    try:
        yield posts
        receiver.hold.set()
        assert await asyncio.gather(*running) == [200] * count
    finally:
        await posts.close()


@pytest.mark.parametrize(("hosts", "most"), [(1, limit("push_host_posts_max")), (8, limit("push_posts_max"))])
def test_posts_at_once_are_bounded(hosts: int, most: int) -> None:
    async def body() -> None:
        names = [f"h{number}.example" for number in range(hosts)]
        async with (
            asyncio.timeout(60),
            receiving() as receiver,
            posting(most + 5, receiver, *names),
        ):
            for _ in range(most):
                await receiver.posts.get()
            assert receiver.open == most
            receiver.hold.set()
            for _ in range(5):
                await receiver.posts.get()
            assert receiver.most == most

    asyncio.run(body())


def test_a_receiver_that_does_not_answer_in_time_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "POST_S", 0.01)

    async def body() -> None:
        async with receiving() as receiver:
            receiver.hold.clear()
            posts = Posts(LOOPBACK)
            with pytest.raises(NotPosted, match="push_post_s"):
                await posts.post(receiver.url(), [], b"{}")
            await posts.close()

    asyncio.run(body())


def test_an_answer_counts_also_if_its_body_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "_REST_S", 0.01)

    async def body() -> None:
        left = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 202 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
            await reader.read()
            writer.close()
            left.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        posts = Posts(LOOPBACK)
        assert await posts.post(f"http://127.0.0.1:{port}/", [], b"{}") == (202, None)
        await left.wait()
        await posts.close()
        server.close()

    asyncio.run(body())


def test_a_receiver_that_speaks_no_http_has_failed() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"what?\r\n\r\n")
        writer.close()

    async def body() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        posts = Posts(LOOPBACK)
        with pytest.raises(NotPosted, match="Error"):
            await posts.post(f"http://127.0.0.1:{port}/", [], b"{}")
        await posts.close()
        server.close()

    asyncio.run(body())


def test_a_client_of_the_older_version_gets_the_task_as_it_knows_it(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        task = await scene.task()
        command = PushRequest(task=task, url=scene.receiver.url(), version="0.3")
        await scene.desk.broker.execute(Caller("local", "alice"), command)
        post = await scene.receiver.posts.get()
        assert post.headers["content-type"] == "application/json"
        assert (post.body["id"], post.body["kind"]) == (task, "task")
        assert post.body["status"]["state"] == "submitted"
        await scene.sender.rest()
        await scene.work()
        while post.body["status"]["state"] != "completed":
            post = await scene.receiver.posts.get()
        await scene.sender.rest()
        assert [one["state"] for one in await scene.listed()] == ["done"]

    stage(body, tmp_path)
