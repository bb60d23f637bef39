"""Handles and questions through the bridge, with a daemon that is killed in the middle of the round."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.client import SyncMq9Client
from mq9_mcp.daemon import find, stop
from tests.bridge.host import Host, hosting

TASKS = "io.modelcontextprotocol/tasks"
ABLE: dict[str, Any] = {
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "extensions": {TASKS: {}}}
}
ASKS: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}


@pytest.fixture(name="data")
def data_directory(tmp_path: Path) -> Iterator[Path]:
    """A data directory whose daemon is ended after the test."""
    yield tmp_path / "data"
    assert stop(tmp_path / "data")


def killed(data: Path) -> None:
    """``kill -9``; the next call of the bridge starts another daemon."""
    running = find(data)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)


def worker(data: Path) -> SyncMq9Client:
    """Somebody at another door of the same daemon."""
    running = find(data)
    assert running is not None
    return SyncMq9Client(running.url, agent="bob")


def asked(data: Path, task: str) -> None:
    """The worker takes the work and asks."""
    with worker(data) as bob:
        [work] = bob.mailbox_fetch(wait_s=10)["messages"]
        assert work["task"] == task
        bob.task_update(task=task, lease=work["lease"], state="input-required", message="Which cat?")


def answered(data: Path) -> Any:
    """What the worker is told."""
    with worker(data) as bob:
        [work] = bob.mailbox_fetch(wait_s=10)["messages"]
        bob.task_update(task=work["task"], lease=work["lease"], state="completed", message="4 kg")
        return work["parts"]


def call(host: Host, tool: str, meta: dict[str, Any], **params: Any) -> Any:
    """The result of a call that may ask back."""
    return host.result(host.ask("tools/call", name=tool, _meta=meta, **params))


def test_a_handle_and_its_question_outlive_the_daemon(data: Path) -> None:
    with hosting("--data", str(data), "--agent", "alice", MQ9_PORT="0") as host:
        host.open()
        host.result(host.call("mailbox_create", address="bob"))
        sent = {"to": "bob", "text": "weigh", "task": True}
        task = call(host, "mailbox_send", ABLE, arguments=sent)["taskId"]
        asked(data, task)
        killed(data)
        found = host.result(host.ask("tasks/get", taskId=task, _meta=ABLE))
        [(key, request)] = found["inputRequests"].items()
        assert request["params"]["message"].endswith("Which cat?")
        killed(data)
        answer = {key: {"action": "accept", "content": {"answer": "Tom"}}}
        host.result(host.ask("tasks/update", taskId=task, inputResponses=answer, _meta=ABLE))
        assert answered(data) == [{"text": "Tom"}]
        assert host.result(host.ask("tasks/get", taskId=task, _meta=ABLE))["status"] == "completed"


def test_a_round_that_asks_a_person_outlives_the_daemon(data: Path) -> None:
    with hosting("--data", str(data), "--agent", "alice", MQ9_PORT="0") as host:
        host.open()
        host.result(host.call("mailbox_create", address="bob"))
        sent = {"to": "bob", "text": "weigh", "task": True}
        receipt = call(host, "mailbox_send", ASKS, arguments=sent)["structuredContent"]["receipts"][0]
        asked(data, receipt["task"])
        look = {"task": receipt["task"], "wait_s": 5}
        round = call(host, "task_get", ASKS, arguments=look)
        assert round["resultType"] == "input_required"
        [(key, request)] = round["inputRequests"].items()
        assert request["method"] == "elicitation/create"
        killed(data)
        said = {key: {"action": "accept", "content": {"answer": "Tom"}}}
        waiting = host.ask(
            "tools/call",
            name="task_get",
            arguments=look,
            inputResponses=said,
            requestState=round["requestState"],
            _meta=ASKS,
        )
        task = host.result(waiting)["structuredContent"]["task"]
        assert task["state"] == "submitted"
        assert answered(data) == [{"text": "Tom"}]
