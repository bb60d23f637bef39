"""Section 2: parts - 1 to 64 A2A Parts; integers in data and bytes in raw survive exactly."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.support import Desk, Reply, run

KINDS: list[dict[str, Any]] = [
    {"text": "hello \U0001f600 ünï\u0000\n"},
    {"text": ""},
    {"data": {"a": [1, None, True, False, "x", 1.5, {}]}},
    {"data": []},
    {"data": None},
    {"data": "just text"},
    {"data": 7},
    {"raw": "", "mediaType": "application/octet-stream"},
    {"raw": base64.b64encode(bytes(range(256))).decode(), "mediaType": "image/png", "filename": "a.png"},
    {"url": "https://example.org/x.pdf", "mediaType": "application/pdf", "filename": "x.pdf"},
    {"text": "t", "metadata": {"k": {"n": [1, 2]}}, "filename": "f", "mediaType": "text/plain"},
]
INTEGERS = [0, -1, 2**31, 2**53, 2**53 + 1, -(2**63), 2**63, 2**64 - 1, 2**64, 10**100, -(10**4299) + 1]


async def through(desk: Desk, parts: list[dict[str, Any]]) -> Reply:
    """Send parts; the message as it is fetched."""
    await desk.call("mailbox_send", to="box", parts=parts)
    [message] = await desk.fetch()
    return message


@pytest.mark.parametrize("part", KINDS, ids=lambda part: "-".join(part))
def test_every_kind_of_part_comes_back_as_it_was(tmp_path: Path, part: dict[str, Any]) -> None:
    async def body(desk: Desk) -> None:
        assert (await through(desk, [part]))["parts"] == [part]
        await desk.restart()
        assert [message["parts"] for message in await desk.query()] == [[part]]

    run(body, tmp_path, "box")


def test_text_alone_is_shorthand_for_one_text_part(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text="hi")
        [message] = await desk.fetch()
        assert message["parts"] == [{"text": "hi"}]
        error = await desk.refused(
            "INVALID_ARGUMENT", "mailbox_send", to="box", text="a", parts=[{"text": "b"}]
        )
        assert "text and parts" in error.message

    run(body, tmp_path, "box")


def test_integers_in_data_survive_exactly(tmp_path: Path) -> None:
    """Through journal, memory, tables and a restart; as fetched, queried and as a dead letter."""

    async def body(desk: Desk) -> None:
        message = await through(desk, [{"data": INTEGERS}])
        assert message["parts"][0]["data"] == INTEGERS
        await desk.restart()
        for mailbox in ("box", "box.dead"):
            [shown] = await desk.query(mailbox)
            found = shown["parts"][0]["data"]
            assert found == INTEGERS
            assert all(type(one) is int for one in found)
            if mailbox == "box":
                await desk.settle(message, "reject")

    run(body, tmp_path, "box")


def test_floats_stay_floats_and_booleans_booleans(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        data = [1.0, 0.1, 1e300, -0.0, True, False, 1]
        found = (await through(desk, [{"data": data}]))["parts"][0]["data"]
        assert [(type(one), str(one)) for one in found] == [(type(one), str(one)) for one in data]

    run(body, tmp_path, "box")


def test_bytes_in_raw_survive_exactly(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        payload = bytes(range(256)) * 1000
        raw = base64.b64encode(payload).decode()
        message = await through(desk, [{"raw": raw, "mediaType": "application/x-any"}])
        assert base64.b64decode(message["parts"][0]["raw"]) == payload

    run(body, tmp_path, "box")


def test_the_order_of_parts_and_the_names_in_data_stay(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        parts: list[dict[str, Any]] = [{"text": str(number)} for number in range(64)]
        parts[10] = {"data": {"z": 1, "a": 2, "": 3, "\u0000": 4}}
        found = (await through(desk, parts))["parts"]
        assert found == parts
        assert list(found[10]["data"]) == ["z", "a", "", "\u0000"]

    run(body, tmp_path, "box")


BAD: dict[str, Any] = {
    "no parts": [],
    "65 parts": [{"text": "x"}] * 65,
    "an empty part": [{}],
    "two contents": [{"text": "a", "url": "b"}],
    "no content": [{"mediaType": "text/plain"}],
    "an unknown field": [{"text": "a", "mimeType": "text/plain"}],
    "text that is no string": [{"text": 1}],
    "url that is no string": [{"url": None}],
    "a media type that is none": [{"text": "a", "mediaType": 7}],
    "raw that is not base64": [{"raw": "%%%"}],
    "raw without padding": [{"raw": "YQ"}],
    "raw with a space": [{"raw": "YQ= ="}],
    "metadata that is no object": [{"text": "a", "metadata": "x"}],
    "infinity": [{"data": {"x": float("inf")}}],
    "a second part at fault": [{"text": "a"}, {"text": 2}],
}


@pytest.mark.parametrize("parts", BAD.values(), ids=BAD)
def test_other_parts_are_refused_by_name_and_nothing_is_stored(tmp_path: Path, parts: Any) -> None:
    async def body(desk: Desk) -> None:
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box", parts=parts)
        assert f"parts[{len(parts) - 1}]" in error.message or error.message.startswith("parts:")
        assert await desk.query() == []

    run(body, tmp_path, "box")


def test_metadata_and_trace_context_are_carried_through(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        metadata = {"n": 2**70, "deep": [{"er": None}], "ü": "\U0001f600"}
        trace = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "tracestate": "a=1,b=2"}
        await desk.send(metadata=metadata, **trace)
        [message] = await desk.fetch(lease_s=5)
        await desk.settle(message, "reject")
        [letter] = await desk.fetch("box.dead")
        for one in (message, letter):
            assert one["metadata"] == metadata
            assert {name: one[name] for name in trace} == trace

    run(body, tmp_path, "box")


def test_metadata_is_a_json_object(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        wrong: Any
        for wrong in ([], "x", 7, {"x": float("nan")}):
            error = await desk.refused("INVALID_ARGUMENT", "mailbox_send", to="box", text="x", metadata=wrong)
            assert "metadata" in error.message
        assert await desk.query() == []

    run(body, tmp_path, "box")
