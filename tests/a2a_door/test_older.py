"""Clients of A2A 0.3: their methods, paths and words, over the same tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.serve.logs import TextLines
from tests.a2a_door.site import BOX, RPC, Peer, run_peer, update, working
from tests.support import Desk, Reply

MESSAGE = {
    "kind": "message",
    "messageId": "m1",
    "role": "user",
    "parts": [{"kind": "text", "text": "hello"}],
}


async def finish(desk: Desk, message: Reply) -> None:
    await update(desk, message, "completed", message="done", artifacts=[{"text": "a"}])


async def call(peer: Peer, method: str, **params: Any) -> Reply:
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    answer = await peer.site.client.post(f"/a2a/{BOX}", json=body)
    assert answer.status_code == 200
    found: Reply = answer.json()
    return found


def test_json_rpc_of_0_3(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        async with working(peer.desk, finish):
            task = (await call(peer, "message/send", message=MESSAGE))["result"]
        assert (task["kind"], task["status"]["state"]) == ("task", "completed")
        assert task["artifacts"][0]["parts"] == [{"kind": "text", "text": "a"}]
        assert (await call(peer, "tasks/get", id=task["id"]))["result"] == task
        assert (await call(peer, "tasks/get", id="none"))["error"]["code"] == -32001
        assert (await call(peer, "tasks/cancel", id=task["id"]))["error"]["code"] == -32002
        blocked = {"configuration": {"blocking": False}}
        waiting = (await call(peer, "message/send", message={**MESSAGE, "messageId": "m2"}, **blocked))[
            "result"
        ]
        assert waiting["status"]["state"] == "submitted"
        canceled = (await call(peer, "tasks/cancel", id=waiting["id"]))["result"]
        assert canceled["status"]["state"] == "canceled"

    run_peer(test, tmp_path, RPC)


def test_a_method_of_0_3_is_none_of_1_0(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        failed = await peer.failure("tasks/get", id="task-none")
        assert (failed.code, failed.info["reason"]) == (-32601, "METHOD_NOT_FOUND")
        assert "GetTask" in failed.message

    run_peer(test, tmp_path, RPC)


def test_push_configs_of_0_3(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        url, methods = "https://hooks.example/a", "tasks/pushNotificationConfig/"
        blocked = {"configuration": {"blocking": False, "pushNotificationConfig": {"url": url, "id": "a"}}}
        task = (await call(peer, "message/send", message=MESSAGE, **blocked))["result"]
        login = {"schemes": ["Bearer"], "credentials": "secret-1"}
        config = {"url": url, "id": "b", "token": "t", "authentication": login}
        about = {"taskId": task["id"], "pushNotificationConfig": config}
        assert (await call(peer, methods + "set", **about))["result"]["taskId"] == task["id"]
        assert [push.target.version for push in peer.desk.engine.pushes()] == ["0.3", "0.3"]
        assert peer.desk.engine.pushes()[1].target.credentials == "secret-1"
        listed = (await call(peer, methods + "list", id=task["id"]))["result"]
        assert [one["pushNotificationConfig"]["id"] for one in listed] == ["a", "b"]
        named = {"id": task["id"], "pushNotificationConfigId": "b"}
        found = (await call(peer, methods + "get", **named))["result"]["pushNotificationConfig"]
        assert (found["url"], found["token"]) == (url, "t")
        assert found["authentication"] == {"schemes": ["Bearer"]}
        assert "error" not in await call(peer, methods + "delete", **named)
        assert (await call(peer, methods + "get", **named))["error"]["code"] == -32001

    run_peer(test, tmp_path, RPC)


def test_streams_of_0_3(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        body = {"jsonrpc": "2.0", "id": 7, "method": "message/stream", "params": {"message": MESSAGE}}
        kinds = []
        async with (
            working(peer.desk, finish),
            peer.site.client.stream("POST", f"/a2a/{BOX}", json=body) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    kinds.append(json.loads(line[5:])["result"]["kind"])
        assert kinds == ["task", "status-update", "artifact-update", "status-update"]

    run_peer(test, tmp_path, RPC)


def test_http_of_0_3(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        message = {"messageId": "m1", "role": "ROLE_USER", "content": [{"text": "hello"}]}
        async with working(peer.desk, finish):
            answer = await peer.site.client.post(
                f"/a2a/{BOX}/v1/message:send", json={"request": message, "configuration": {"blocking": True}}
            )
        assert answer.status_code == 200, answer.text
        task = answer.json()["task"]
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        found = await peer.site.client.get(f"/a2a/{BOX}/v1/tasks/{task['id']}")
        assert found.json()["id"] == task["id"]
        missing = await peer.site.client.get(f"/a2a/{BOX}/v1/tasks/none")
        assert missing.status_code == 404

    run_peer(test, tmp_path, RPC)


def test_a_body_of_0_3_that_is_no_json_is_the_callers_fault(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        for body in (b"\xff\xfe", b"{", b"[" * 100_000):
            answer = await peer.client.post(
                f"/a2a/{BOX}/v1/message:send", content=body, headers={"content-type": "application/json"}
            )
            assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")

    run_peer(test, tmp_path, RPC)


def test_nothing_that_a_client_of_0_3_sent_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(peer: Peer) -> None:
        wrong = {**MESSAGE, "metadata": ["secret"]}
        assert (await call(peer, "message/send", message=wrong))["error"]["code"] in (-32600, -32602)
        assert (await call(peer, "tasks/get", id="secret"))["error"]["code"] == -32001
        answer = await peer.client.post(
            f"/a2a/{BOX}/v1/message:send", json={"message": {"messageId": "a", "role": "secret"}}
        )
        assert answer.status_code == 400
        assert (await peer.client.get(f"/a2a/{BOX}/v1/tasks/secret")).status_code == 404

    run_peer(test, tmp_path, RPC)
    assert not [line for line in map(TextLines().format, caplog.records) if "secret" in line]
