"""A task's stream over real HTTP: the task first, then every later entry in order, until it is over."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mq9_mcp.domain.state import Caller
from tests.client.serving import Server
from tests.client.serving import serving as restartable
from tests.rest.site import Site, error_of, run_site, until
from tests.rest.test_events import Told, listening


async def opened(site: Site, text: str = "weigh all cats") -> tuple[str, dict[str, Any]]:
    """A task that is worked on, and the arguments of an update."""
    task = (await site.call("mailbox_send", to="jobs", text=text, task=True))["receipts"][0]["task"]
    found = (await site.call("mailbox_fetch", agent="bob", mailbox="jobs", max=1))["messages"]
    return task, {"task": task, "lease": found[0]["lease"]}


@asynccontextmanager
async def following(site: Site, task: str, query: str = "", **headers: str) -> AsyncIterator[Told]:
    async with listening(site, query, f"/v1/tasks/{task}/events", **headers) as told:
        yield told


async def take(told: Told, count: int | None = None) -> list[Any]:
    """The next ``count`` events, or all to the end; each id must be the number that the event tells."""
    found: list[Any] = []
    if count == 0:
        return found
    async with asyncio.timeout(20):
        async for kind, data in told:
            assert kind == "message"
            number = data["task"]["version"] if "task" in data else data["entry"]["number"]
            assert told.last_id == str(number)
            found.append(data)
            if len(found) == count:
                return found
    assert count is None, "the stream has ended"
    return found


async def history(site: Site, task: str) -> list[Any]:
    entries: list[Any] = (await site.call("task_get", task=task, history=100))["task"]["history"]
    return entries


def test_the_task_comes_first_and_then_every_later_entry_until_it_is_over(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        task, update = await opened(site)
        async with following(site, task) as told:
            [snapshot] = await take(told, 1)
            assert snapshot == await site.call("task_get", task=task)
            await site.call("task_update", **update, progress={"done": 1}, artifacts=[{"text": "one"}])
            await site.call("mailbox_send", task=task, text="in grams")
            await site.call("task_update", **update, state="completed", message="weighed")
            entries = await take(told)
        assert [one["entry"] for one in entries] == (await history(site, task))[2:]
        kinds = [one["entry"]["kind"] for one in entries]
        assert kinds == ["progress", "artifact", "follow_up", "status"]
        assert entries[-1]["entry"]["state"] == "completed"
        async with following(site, task) as told:  # over: as it stands, and the end
            assert await take(told) == [await site.call("task_get", task=task)]

    run_site(body, tmp_path, "jobs")


def test_a_follower_goes_on_behind_any_entry_and_misses_none(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        task, update = await opened(site)
        for done in range(3):
            await site.call("task_update", **update, progress={"done": done})
        async with following(site, task, "?after=0") as told:
            [first, second] = await take(told, 2)  # and then the line is cut
        assert (first["entry"]["number"], second["entry"]["number"], told.last_id) == (1, 2, "2")
        await site.call("task_update", **update, state="failed", message="no scales")
        whole = await history(site, task)
        async with following(site, task, "?after=0", last_event_id=told.last_id) as told:
            assert [one["entry"] for one in await take(told)] == whole[2:]
        for after in range(len(whole)):
            async with following(site, task, f"?after={after}") as told:
                assert [one["entry"] for one in await take(told)] == whole[after:]
        answer = await site.client.get(f"/v1/tasks/{task}/events", headers={"last-event-id": str(len(whole))})
        assert (answer.status_code, answer.content) == (204, b"")

    run_site(body, tmp_path, "jobs")


def test_whoever_may_not_see_the_task_hears_that_there_is_none(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        theirs = Caller("other", "zoe")
        await site.desk.broker.call(theirs, "mailbox_create", {"address": "zoe-jobs"})
        sent = {"to": "zoe-jobs", "text": "private", "task": True}
        reply = await site.desk.broker.call(theirs, "mailbox_send", sent)
        for task in (reply["receipts"][0]["task"], "task-none", "a b", "%00", "é"):
            answer = await site.client.get(f"/v1/tasks/{task}/events")
            assert error_of(answer, 404, "TASK_NOT_FOUND").startswith("task: there is no task")
        answer = await site.client.get("/v1/tasks/task-none/events", headers={"authorization": "Bearer x"})
        error_of(answer, 401, "UNAUTHENTICATED")

    run_site(body, tmp_path, "jobs")


def test_where_a_stream_cannot_begin_is_refused_with_what_is_accepted(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        task, _ = await opened(site)

        async def refused(query: str, message: str, **headers: str) -> None:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await site.client.get(f"/v1/tasks/{task}/events{query}", headers=named)
            assert error_of(answer, 400) == message

        words = "accepted: the number of an entry, 0 or more"
        await refused("?after=-1", f"after: '-1'; {words}")
        await refused("?after=", f"after: ''; {words}")
        await refused("", f"Last-Event-ID: 'x'; {words}", last_event_id="x")
        await refused("?since=1", "'since': unknown; accepted: after")
        await refused("?after=3", "after: 3; the task's history ends with entry 2; accepted: 0 to 2")
        answer = await site.post(f"tasks/{task}/events")
        assert error_of(answer, 405) == "method: 'POST'; accepted: GET, HEAD"
        error_of(await site.client.get("/v1/tasks//events"), 400)
        error_of(await site.client.get(f"/v1/tasks/{task}"), 400)

    run_site(body, tmp_path, "jobs")


def test_a_quiet_task_is_told_by_heartbeats_that_carry_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mq9_mcp.doors.rest.events.HEARTBEAT_S", 0.05)

    async def body(site: Site) -> None:
        task, _ = await opened(site)
        async with following(site, task) as told:
            await take(told, 1)
            assert told.last_id == "2"
            await told.beat()
            assert (told.last_id, told.comments[-1]) == ("2", ": here")

    run_site(body, tmp_path, "jobs")


def test_a_follower_that_hangs_up_is_let_go(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        task, _ = await opened(site)
        async with following(site, task) as told:
            await take(told, 1)
            await until(lambda: site.desk.engine.followed == {task})
        await until(lambda: not site.desk.engine.followed)

    run_site(body, tmp_path, "jobs")


def test_a_stopping_broker_ends_the_stream_cleanly(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        task, update = await opened(site)
        async with following(site, task) as told:
            await take(told, 1)
            await site.call("task_update", **update, progress={"note": "the last"})
            await site.desk.broker.close()
            assert [one["entry"]["kind"] for one in await take(told)] == ["progress"]
        error_of(await site.client.get(f"/v1/tasks/{task}/events"), 503, "SHUTTING_DOWN")

    run_site(body, tmp_path, "jobs")


def test_a_slow_follower_holds_nothing_up_and_gets_every_entry(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        task, update = await opened(site)
        caller = site.deaf_connection()
        caller.sendall(f"GET /v1/tasks/{task}/events?after=0 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        caller.setblocking(False)
        for done in range(40):
            await site.call("task_update", **update, progress={"done": done, "note": "x" * 900})
        await site.call("task_update", **update, state="completed")
        loop, heard = asyncio.get_running_loop(), b""
        async with asyncio.timeout(30):
            while not heard.endswith(b"\r\n0\r\n\r\n"):
                piece = await loop.sock_recv(caller, 2**20)
                assert piece, heard[-300:]
                heard += piece
        caller.close()
        lines = heard.replace(b"\r\n", b"\n").split(b"\n")
        told = [json.loads(one[6:]) for one in lines if one.startswith(b"data: ")]
        assert [one["entry"]["number"] for one in told] == list(range(1, 44))

    run_site(body, tmp_path, "jobs")


class Plain:
    """Calls of a server that may be killed, without an event loop."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.server.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def call(self, name: str, **arguments: Any) -> Any:
        connection = self._connection()
        headers = {"content-type": "application/json", "mq9-agent": "alice"}
        connection.request("POST", f"/v1/{name}", json.dumps(arguments), headers)
        answer = connection.getresponse()
        reply = json.loads(answer.read())
        assert answer.status == 200, reply
        connection.close()
        return reply

    def follow(self, task: str, after: str) -> Iterator[tuple[str, Any]]:
        """Ids and data, until the line is cut or the stream ends."""
        connection = self._connection()
        connection.request("GET", f"/v1/tasks/{task}/events", headers={"last-event-id": after})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        id = ""
        try:
            while line := answer.readline():
                if line.startswith(b"id: "):
                    id = line[4:].strip().decode()
                if line.startswith(b"data: "):
                    yield id, json.loads(line[6:])
        except (http.client.HTTPException, OSError):
            return
        finally:
            connection.close()


def test_a_follower_goes_on_after_the_broker_was_killed(tmp_path: Path) -> None:
    with restartable(tmp_path / "data") as server:
        plain = Plain(server)
        plain.call("mailbox_create", address="jobs")
        sent = plain.call("mailbox_send", to="jobs", text="weigh", task=True)
        task = sent["receipts"][0]["task"]
        [message] = plain.call("mailbox_fetch", mailbox="jobs")["messages"]
        update = {"task": task, "lease": message["lease"]}
        plain.call("task_update", **update, progress={"done": 1})
        stream = plain.follow(task, "0")
        seen = [next(stream) for _ in range(3)]
        server.kill()
        assert list(stream) == []
        server.start()
        plain.call("task_update", **update, progress={"done": 2})
        plain.call("task_update", **update, state="completed")
        seen += list(plain.follow(task, seen[-1][0]))
        whole = plain.call("task_get", task=task, history=50)["task"]["history"]
        assert [one["entry"] for _, one in seen] == whole
        assert [int(id) for id, _ in seen] == list(range(1, len(whole) + 1))
