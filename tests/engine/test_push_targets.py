"""Push targets of tasks: who sets them, what is kept and shown of them, and when they end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.cli.start import main
from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.push_commands import PushLook, PushReport
from mq9_mcp.domain.state import Caller
from tests.support import Desk, Reply, opened, run

URL = "https://hooks.example/a?key=hidden"
BROKER = Caller("mq9", "mq9.broker", True)


async def task_of(desk: Desk) -> str:
    """A new task of ``alice``."""
    task: str = (await desk.send(text="weigh the cat", task=True))["task"]
    return task


async def report(desk: Desk, push: Reply, **fields: Any) -> bool:
    """What became of a post."""
    [made] = [one.made for one in desk.engine.pushes(push["task"]) if one.id == push["id"]] or [0]
    command = PushReport(task=push["task"], id=push["id"], made=made, **fields)
    live: bool = (await desk.engine.execute(BROKER, command, desk.broker.ask()))["live"]
    return live


async def set_push(desk: Desk, task: str, url: str = URL, **fields: Any) -> Reply:
    """The target as the reply shows it."""
    push: Reply = (await desk.call("push_set", task=task, url=url, **fields))["push"]
    return push


async def pushes(desk: Desk, **fields: Any) -> list[Reply]:
    """The targets as the list shows them."""
    found: list[Reply] = (await desk.call("push_list", **fields))["pushes"]
    return found


async def finish(desk: Desk) -> None:
    """A worker completes the one task that waits."""
    [message] = await desk.fetch()
    await desk.call("task_update", "bob", task=message["task"], lease=message["lease"], state="completed")


def test_a_target_is_kept_until_its_task_is_forgotten(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        push = await set_push(desk, task, authentication={"scheme": "Bearer", "credentials": "secret-1"})
        assert push == {
            "id": push["id"],
            "task": task,
            "url": URL,
            "state": "active",
            "delivered": 0,
            "created_at": "2027-01-15T08:00:00.000Z",
            "authentication": {"scheme": "Bearer"},
        }
        assert await pushes(desk) == [push]
        await desk.restart()
        assert await pushes(desk, task=task) == [push]
        assert [one.target.credentials for one in desk.engine.pushes()] == ["secret-1"]
        await finish(desk)
        assert await report(desk, push, number=3, done=True) is False
        assert desk.engine.pushes() == []
        assert desk.engine.state.pushes == {}
        await desk.restart()
        assert desk.engine.state.pushes == {}
        [kept] = await pushes(desk)
        assert (kept["state"], kept["delivered"]) == ("done", 3)
        await desk.pass_time(limit("task_retention_s") + 1)
        assert await pushes(desk) == []

    run(body, tmp_path, "box")


def test_what_is_set_again_is_the_same_target(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        first = await set_push(desk, task, token="t")
        assert await set_push(desk, task, token="t") == first
        assert await set_push(desk, task, token="t", id=first["id"]) == first
        await report(desk, first, number=1)
        named = await set_push(desk, task, token="t", id="other")
        assert {one["id"]: one["delivered"] for one in await pushes(desk)} == {first["id"]: 1, "other": 0}
        again = await set_push(desk, task, "https://hooks.example/b", id="other")
        assert again["id"] == named["id"]
        assert [one["url"] for one in await pushes(desk)] == [URL, "https://hooks.example/b"]

    run(body, tmp_path, "box")


def test_a_report_on_what_was_set_anew_meanwhile_counts_for_nothing(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        await set_push(desk, task, id="x")
        [before] = desk.engine.pushes()
        await set_push(desk, task, "https://hooks.example/b", id="x")
        late = PushReport(task=task, id="x", made=before.made, number=1)
        assert await desk.engine.execute(BROKER, late, desk.broker.ask()) == {"live": False}
        assert [one["delivered"] for one in await pushes(desk)] == [0]

    run(body, tmp_path, "box")


def test_delete_is_idempotent_while_a_task_is_open_and_after(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        for id in ("a", "b"):
            await set_push(desk, task, id=id)
        assert await desk.call("push_delete", task=task, id="a") == {"deleted": True}
        assert await desk.call("push_delete", task=task, id="a") == {"deleted": False}
        assert [one["id"] for one in await pushes(desk)] == ["b"]
        await finish(desk)
        await report(desk, {"task": task, "id": "b"}, number=3, done=True)
        await desk.restart()
        assert await desk.call("push_delete", task=task, id="b") == {"deleted": True}
        assert await desk.call("push_delete", task=task, id="b") == {"deleted": False}
        assert await pushes(desk) == []
        await desk.refused("TASK_NOT_FOUND", "push_delete", task="task-none", id="b")

    run(body, tmp_path, "box")


def test_only_the_askers_principal_sets_and_sees_targets(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for name in ("asker", "worker", "stranger"):
            card = {"name": name, "description": "A party."}
            await desk.call("agent_register", name, principal=name, card=card)
        sent = await desk.call(
            "mailbox_send", "asker", principal="asker", to="worker", text="weigh", task=True
        )
        task = sent["receipts"][0]["task"]
        given = {"task": task, "url": URL}
        await desk.call("push_set", "asker", principal="asker", **given, id="mine")
        codes = {"worker": "FORBIDDEN", "stranger": "TASK_NOT_FOUND"}
        for name, code in codes.items():
            for command, arguments in (("push_set", given), ("push_delete", {"task": task, "id": "mine"})):
                with pytest.raises(Mq9Error) as caught:
                    await desk.call(command, name, principal=name, **arguments)
                assert caught.value.code == code
            assert (await desk.call("push_list", name, principal=name, task=task))["pushes"] == []
        [mine] = (await desk.call("push_list", "asker", principal="asker"))["pushes"]
        assert mine["id"] == "mine"

    run(body, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example/a",
        "hooks.example/a",
        "https://",
        "https://user:pass123@hooks.example/",
        "https://hooks.example:0/",
        "https://hooks.example:65536/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX: y",
        "https://hööks.example/",
        "https://[::1/",
        "https://h/" + "a" * limit("url_characters_max"),
    ],
)
def test_what_is_no_url_to_post_to_is_refused(tmp_path: Path, url: str) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        error = await desk.refused("INVALID_ARGUMENT", "push_set", task=task, url=url)
        assert "pass123" not in str(error), "a password of a URL is not repeated"
        assert desk.engine.pushes() == []

    run(body, tmp_path, "box")


def test_limits_of_a_target_at_their_edges(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        most = limit("url_characters_max")
        url = "https://h.example/" + "a" * (most - len("https://h.example/"))
        secret = "s" * limit("push_secret_characters_max")
        login = {"scheme": "Bearer", "credentials": secret}
        await set_push(desk, task, url, token=secret, authentication=login, id="i" * 96)
        for wrong in (
            {"token": secret + "s"},
            {"authentication": {**login, "credentials": secret + "s"}},
            {"id": "i" * 97},
            {"token": "a\r\nb"},
            {"authentication": {"scheme": "Be arer"}},
            {"authentication": {"scheme": "Bearer", "credentials": "a\nb"}},
        ):
            error = await desk.refused("INVALID_ARGUMENT", "push_set", task=task, url=url, **wrong)
            assert "ssss" not in str(error), "secrets are not repeated"
        for number in range(limit("pushes_max") - 1):
            await set_push(desk, task, f"https://h.example/{number}")
        error = await desk.refused("BATCH_TOO_LARGE", "push_set", task=task, url=URL)
        assert error.details == {"pushes_max": limit("pushes_max")}
        await desk.call("push_delete", task=task, id="i" * 96)
        await set_push(desk, task)

    run(body, tmp_path, "box")


def test_the_limit_counts_targets_of_a_task_that_is_over_too(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        for number in range(limit("pushes_max")):
            await set_push(desk, task, f"https://h.example/{number}")
        await finish(desk)
        for push in await pushes(desk, limit=100):
            await report(desk, push, number=3, done=True)
        await desk.restart()
        await desk.refused("BATCH_TOO_LARGE", "push_set", task=task, url=URL)

    run(body, tmp_path, "box")


def test_a_list_has_pages(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        for number in range(5):
            await set_push(desk, task, f"https://h.example/{number}")
        first = await desk.call("push_list", limit=2)
        assert [one["url"][-1] for one in first["pushes"]] == ["0", "1"]
        assert first["remaining"] == 3
        rest = await desk.call("push_list", limit=3, cursor=first["next_cursor"])
        assert [one["url"][-1] for one in rest["pushes"]] == ["2", "3", "4"]
        assert rest["remaining"] == 0
        assert "next_cursor" not in rest

    run(body, tmp_path, "box")


def test_a_receiver_that_fails_for_too_long_is_disabled_and_its_asker_hears(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        task = await task_of(desk)
        push = await set_push(desk, task)
        assert await report(desk, push, trouble="503")
        [failing] = await pushes(desk)
        assert (failing["state"], failing["trouble"]) == ("failing", "503")
        since = failing["failing_since"]
        await desk.pass_time(60)
        assert await report(desk, push, trouble="500"), "how long it fails counts from the first failure"
        assert (await pushes(desk))[0]["failing_since"] == since
        await desk.restart()
        assert (await pushes(desk))[0]["failing_since"] == since
        assert await report(desk, push, trouble="no answer", disable=True) is False
        [ended] = await pushes(desk)
        assert (ended["state"], ended["trouble"], ended["failing_since"]) == ("disabled", "no answer", since)
        [letter] = await desk.fetch("alice")
        assert letter["from"] == "mq9.broker"
        about = letter["parts"][1]["data"]
        assert about == {
            "code": "PUSH_DISABLED",
            "task": task,
            "push": push["id"],
            "host": "hooks.example",
            "trouble": "no answer",
            "failing_since": since,
            "delivered": 0,
        }
        assert "hidden" not in json.dumps(letter)
        await desk.restart()
        assert desk.engine.pushes() == []
        fresh = await set_push(desk, task, id=push["id"])
        assert fresh["state"] == "active", "who mended the receiver sets it anew"
        await report(desk, fresh, trouble="gone", disable=True)
        await finish(desk)
        assert desk.engine.state.pushes == {}

    run(body, tmp_path, "box")


def test_an_event_that_arrives_ends_the_failure(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        push = await set_push(desk, await task_of(desk))
        await report(desk, push, trouble="503")
        await report(desk, push, number=1)
        [found] = await pushes(desk)
        assert (found["state"], found["delivered"], "trouble" in found) == ("active", 1, False)
        await report(desk, push, number=1)
        assert (await pushes(desk))[0]["delivered"] == 1

    run(body, tmp_path, "box")


def test_secrets_are_in_no_reply_event_or_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with opened(tmp_path, "box") as desk:
            task = await task_of(desk)
            login = {"scheme": "Basic", "credentials": "credentials-1"}
            push = await set_push(desk, task, token="token-1", authentication=login)
            await report(desk, push, trouble="gone", disable=True)
            await desk.call("push_delete", task=task, id=push["id"])
            await set_push(desk, task, token="token-1", authentication=login)
            stream = desk.broker.stream(Caller("local", "alice"), 0)
            seen: list[Any] = [push, await pushes(desk)]
            names: list[str] = []
            async for record in stream.records():
                seen.append(record)
                names += [event["event"] for event in record["events"]]
                if names.count("push_set") == 2:
                    break
            assert [name for name in names if name.startswith("push")] == [
                *("push_set", "push_disabled", "push_deleted", "push_set")
            ]
            for secret in ("token-1", "credentials-1"):
                assert secret not in json.dumps(seen)
            look = await desk.broker.execute(Caller("local", "alice"), PushLook(task=task))
            assert [one["token"] for one in look["pushes"]] == ["token-1"]
            assert "credentials-1" not in json.dumps(look)

    asyncio.run(body())
    assert main(["journal", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "push_set" in printed
    for secret in ("token-1", "credentials-1", "hidden"):
        assert secret not in printed + caplog.text
