"""The scenarios of the official compatibility kit, told apart by the prefix of ``messageId``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.a2a_door.kit import ARTIFACTS, TEXT, kit
from tests.a2a_door.site import Peer, both, run_peer, words_of, working
from tests.support import Desk, Reply


@asynccontextmanager
async def kit_agent(peer: Peer) -> AsyncIterator[None]:
    async def work(desk: Desk, message: Reply) -> None:
        await kit(lambda command, **given: desk.call(command, "bob", **given), message, "bob")

    async with working(peer.desk, work):
        yield


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("tck-complete-task", "COMPLETED"),
        ("tck-input-required", "INPUT_REQUIRED"),
        ("tck-reject-task", "REJECTED"),
        ("tck-artifact-text", "COMPLETED"),
        ("tck-artifact-file", "COMPLETED"),
        ("tck-artifact-file-url", "COMPLETED"),
        ("tck-artifact-data", "COMPLETED"),
    ],
)
@both
def test_a_task_of_the_kit(tmp_path: Path, binding: str, name: str, state: str) -> None:
    async def test(peer: Peer) -> None:
        async with kit_agent(peer):
            for _ in range(2):  # the kit uses its names again
                task = await peer.send(id=f"{name}-x", wait=True)
                assert task["status"]["state"] == f"TASK_STATE_{state}"
                if name in ARTIFACTS:
                    assert [one["parts"] for one in task["artifacts"]] == [[ARTIFACTS[name]]]
        tasks = (await peer.call("ListTasks", includeArtifacts=True))["tasks"]
        assert len({one["id"] for one in tasks}) == 2

    run_peer(test, tmp_path, binding)


@both
def test_turns_of_the_kit(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        async with kit_agent(peer):
            asked = await peer.send(id="tck-input-required-1", wait=True)
            done = await peer.send(id="tck-complete-task-1", wait=True, taskId=asked["id"])
            assert (done["id"], done["status"]["state"]) == (asked["id"], "TASK_STATE_COMPLETED")
            bare = await peer.send(id="tck-message-response-1", wait=True)
            assert bare["parts"] == [{"text": "Direct message response"}]

    run_peer(test, tmp_path, binding)


@pytest.mark.parametrize(
    ("name", "artifacts"),
    [
        ("tck-stream-001", 1),
        ("tck-stream-002", 1),
        ("tck-stream-003", 1),
        ("tck-stream-ordering-001", 1),
        ("tck-stream-artifact-text", 1),
        ("tck-stream-artifact-file", 1),
        ("tck-stream-artifact-chunked", 2),
        ("test-resubscribe-message-id", 0),
    ],
)
@both
def test_a_stream_of_the_kit(tmp_path: Path, binding: str, name: str, artifacts: int) -> None:
    async def test(peer: Peer) -> None:
        message = {"messageId": f"{name}-x", "role": "ROLE_USER", "parts": [{"text": "x"}]}
        async with peer.stream("SendStreamingMessage", message=message) as stream:
            task = (await anext(stream))["event"]["task"]
            async with peer.stream("SubscribeToTask", id=task["id"]) as second:
                assert (await anext(second))["event"]["task"]["id"] == task["id"]
                async with kit_agent(peer):
                    events = [event async for event in stream]
                assert [event async for event in second] == events
        told = [words_of(event) for event in events]
        middle = ["status:working"] if artifacts == 0 else ["status:working", *["artifact"] * artifacts]
        assert told == [*middle, "status:completed"]
        text = "".join(
            part.get("text", "")
            for event in events
            for part in event["event"].get("artifactUpdate", {}).get("artifact", {}).get("parts", ())
        )
        assert text == {
            "tck-stream-artifact-chunked": "chunk-1 chunk-2",
            "tck-stream-artifact-file": "",
            "test-resubscribe-message-id": "",
        }.get(name, TEXT["text"])

    run_peer(test, tmp_path, binding)
