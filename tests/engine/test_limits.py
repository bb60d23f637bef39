"""Section 2: at every limit the edge is accepted; one over is refused by name and value, nothing stored."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.limits import LIMITS, limit
from tests.support import Desk, Reply, run

Arguments = dict[str, Any]
MIB = 1024 * 1024


class Edge:
    """A call with as much of something as ``make`` is told; over the edge the refusal is ``code``."""

    def __init__(
        self, command: str, make: Callable[[int], Arguments], code: str = "INVALID_ARGUMENT", step: float = 1
    ) -> None:
        self.command = command
        self.make = make
        self.code = code
        self.step = step


def sending(**arguments: Callable[[int], Any]) -> Callable[[int], Arguments]:
    """Arguments of a send, made from the amount."""
    return lambda n: {"to": "box", "text": "x", **{name: make(n) for name, make in arguments.items()}}


def metadata(size: int) -> Arguments:
    """A metadata object of exactly ``size`` bytes encoded."""
    return {"k": "x" * (size - len('{"k":""}'))}


def nested(levels: int) -> Any:
    """JSON with so many levels of lists."""
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def item(**fields: Any) -> Arguments:
    """An ack call with one item whose lease is none: the item is refused, the call is not."""
    return {"items": [{"lease": "1.1.none", **fields}]}


def times(n: int) -> list[str]:
    """``n`` different words."""
    return [f"w{index}" for index in range(n)]


EDGES: dict[str, list[Edge]] = {
    "batch_messages_max": [
        Edge("mailbox_send", lambda n: {"messages": [{"to": "box", "text": "x"}] * n}, "BATCH_TOO_LARGE"),
        Edge("mailbox_send", lambda n: {"to": [f"m{i}" for i in range(n)], "text": "x"}, "BATCH_TOO_LARGE"),
    ],
    "fetch_messages_max": [Edge("mailbox_fetch", lambda n: {"mailbox": "box", "max": n})],
    "fetch_mailboxes_max": [Edge("mailbox_fetch", lambda n: {"mailbox": [f"m{i}" for i in range(n)]})],
    "ack_items_max": [Edge("mailbox_ack", lambda n: {"items": [{"lease": "1.1.none"}] * n})],
    "parts_max": [Edge("mailbox_send", lambda n: {"to": "box", "parts": [{"text": "x"}] * n})],
    "tags_max": [
        Edge("mailbox_send", sending(tags=times)),
        Edge("mailbox_fetch", lambda n: {"mailbox": "box", "tags_any": times(n)}),
        Edge("mailbox_fetch", lambda n: {"mailbox": "box", "tags_all": times(n)}),
        Edge("mailbox_query", lambda n: {"mailbox": "box", "tags_none": times(n)}),
    ],
    "tag_characters_max": [
        Edge("mailbox_send", sending(tags=lambda n: ["ü" * n])),
        Edge("mailbox_fetch", lambda n: {"mailbox": "box", "tags_any": ["t" * n]}),
    ],
    "metadata_bytes_max": [
        Edge("mailbox_send", sending(metadata=metadata)),
        Edge("mailbox_send", lambda n: {"to": "box", "parts": [{"text": "x", "metadata": metadata(n)}]}),
    ],
    "nesting_max": [
        Edge("mailbox_send", lambda n: {"to": "box", "parts": [{"data": nested(n)}]}),
        Edge("mailbox_send", sending(metadata=lambda n: {"k": nested(n - 1)})),
    ],
    "number_digits_max": [Edge("mailbox_send", lambda n: {"to": "box", "parts": [{"data": 10**n - 1}]})],
    "address_characters_max": [
        Edge("mailbox_create", lambda n: {"address": "a" * n}),
        Edge("mailbox_send", sending(reply_to=lambda n: "a" * n)),
        Edge("mailbox_create", lambda n: {"settings": {"dead_letter": "a" * n}}),
    ],
    "name_characters_max": [Edge("mailbox_fetch", lambda n: {"mailbox": "box", "group": "g" * n})],
    "key_characters_max": [
        Edge("mailbox_send", sending(dedup_key=lambda n: "k" * n)),
        Edge("mailbox_send", sending(state_key=lambda n: "ü" * n)),
    ],
    "session_characters_max": [
        Edge("mailbox_send", sending(session=lambda n: "s" * n)),
        Edge("mailbox_fetch", lambda n: {"mailbox": "box", "session": "s" * n}),
        Edge("mailbox_query", lambda n: {"mailbox": "box", "session": "s" * n}),
    ],
    "reason_characters_max": [Edge("mailbox_ack", lambda n: item(outcome="nack", reason="r" * n))],
    "description_characters_max": [
        Edge("mailbox_ack", lambda n: item(outcome="reject", description="d" * n)),
        Edge("mailbox_create", lambda n: {"address": "new", "description": "d" * n}),
    ],
    "trace_characters_max": [
        Edge("mailbox_send", sending(tracestate=lambda n: "t" * n)),
        Edge("mailbox_send", sending(traceparent=lambda n: "t" * n)),
    ],
    "query_limit_max": [
        Edge("mailbox_query", lambda n: {"mailbox": "box", "limit": n}),
        Edge("mailbox_query", lambda n: {"mailbox": "box", "ids": [1] * n}),
        Edge("mailbox_list", lambda n: {"limit": n}),
    ],
    "wait_s_max": [Edge("mailbox_send", sending(wait_s=lambda n: n), step=0.001)],
    "lease_s_max": [
        Edge("mailbox_fetch", lambda n: {"mailbox": "box", "lease_s": n}, step=0.001),
        Edge("mailbox_ack", lambda n: item(outcome="extend", lease_s=n), step=0.001),
    ],
    "nack_delay_s_max": [Edge("mailbox_ack", lambda n: item(outcome="nack", delay_s=n), step=0.001)],
    "delay_s_max": [
        Edge("mailbox_send", sending(delay_s=lambda n: n), step=0.001),
        Edge("mailbox_send", sending(ttl_s=lambda n: n), step=0.001),
        Edge("mailbox_create", lambda n: {"address": "new", "settings": {"ttl_s": n}}),
        Edge("mailbox_create", lambda n: {"address": "new", "settings": {"dedup_window_s": n}}),
        Edge("mailbox_create", lambda n: {"address": "new", "settings": {"retention": {"age_s": n}}}),
    ],
    "redrive_max": [
        Edge("mailbox_redrive", lambda n: {"mailbox": "box", "limit": n}),
    ],
    "discover_text_characters_max": [Edge("agent_discover", lambda n: {"text": "t" * n})],
    "turns_max_most": [Edge("session_reopen", lambda n: {"session": "known", "turns_max": n})],
    "redrive_rate_max": [Edge("mailbox_redrive", lambda n: {"mailbox": "box", "rate": n})],
}
# Shown by tests of their own: in tests/mcp_servers; here in test_agent*, test_card_url, test_intent,
# test_learning, test_park, test_push*, test_task*.
BY_HAND = {
    "intent_text_characters_max",
    "parked_messages_max",
    "parked_per_sender_max",
    "parked_ttl_s",
    "agents_max",
    "learnt_requests_max",
    "learnt_asker_requests_max",
    "learnt_request_characters_max",
    "outcomes_max",
    "mcp_arguments_max",
    "mcp_argument_characters_max",
    "mcp_start_s",
    "mcp_starts_max",
    "card_bytes_max",
    "card_skills_max",
    "card_label_characters_max",
    "skill_tags_max",
    "skill_examples_max",
    "discover_bytes_max",
    "url_characters_max",
    "card_fetch_s",
    "card_fetch_bytes_max",
    "card_fetches_max",
    "card_redirects_max",
    "presence_s",
    "pushes_max",
    "push_secret_characters_max",
    "push_post_s",
    "push_failing_s",
    "push_tries_min",
    "push_backoff_first_s",
    "push_backoff_max_s",
    "push_posts_max",
    "push_host_posts_max",
    "checkpoint_bytes_max",
    "follow_ups_max",
    "task_artifacts_max",
    "task_artifacts_bytes_max",
    "message_bytes_max",
    "request_bytes_max",
    "fetch_bytes_max",
    "groups_max",
    "remaining_max",
    "messages_max",
    "bytes_max",
}
# No edge that a call could reach: defaults, times that pass, and what memory holds; their own tests are
# in test_dedup, test_retention, test_follow, test_session and those of leases, groups, settling, history.
WITHOUT_EDGE = {
    "query_limit_default",
    "lease_s_default",
    "restart_lease_s",
    "group_idle_s",
    "dedup_keys_in_memory",
    "session_limit_default",
    "session_idle_s",
    "session_places_in_memory",
    "turns_max",
    "ended_tasks_in_memory",
    "task_retention_s",
    "past_leases_max",
    "past_names_max",
    "history_page",
    "max_attempts",
    "backoff_first_s",
    "backoff_max_s",
    "dedup_window_s",
    "retention_age_s",
    "retention_bytes",
}


def test_every_limit_has_its_test() -> None:
    assert {*EDGES, *BY_HAND, *WITHOUT_EDGE} >= LIMITS.keys()
    assert {*EDGES, *BY_HAND, *WITHOUT_EDGE} <= LIMITS.keys()


CASES = [(name, edge) for name, edges in EDGES.items() for edge in edges]


@pytest.mark.parametrize(
    ("name", "edge"), CASES, ids=[f"{name}-{index}" for index, (name, _) in enumerate(CASES)]
)
def test_the_edge_is_accepted_and_one_over_is_refused(tmp_path: Path, name: str, edge: Edge) -> None:
    async def body(desk: Desk) -> None:
        if name in ("batch_messages_max", "fetch_mailboxes_max"):
            for index in range(limit(name) + 1):
                desk_create = {"address": f"m{index}"}
                await desk.call("mailbox_create", **desk_create)
        if name == "turns_max_most":
            await desk.send(session="known")
        before = desk.engine.journal.last_seq
        over = limit(name) + edge.step
        error = await desk.refused(edge.code, edge.command, **edge.make(over))  # type: ignore[arg-type]
        assert names_limit_and_value(error.message, name, over)
        assert desk.engine.journal.last_seq == before
        await desk.call(edge.command, **edge.make(limit(name)))

    run(body, tmp_path, "box")


def names_limit_and_value(message: str, name: str, over: float) -> bool:
    """True if a refusal says what the limit is and what was seen; ten-thousand digits say "more than"."""
    numbers = message.replace(",", "")
    seen = name in ("number_digits_max", "nesting_max", "batch_messages_max") or str(over) in numbers
    return seen and str(limit(name)) in numbers.replace(".0", "")


async def sized(desk: Desk, size: int, **arguments: Any) -> Reply:
    """Arguments of a message whose body has exactly ``size`` bytes encoded."""
    await desk.send("probe", text="", **arguments)
    body = (await desk.call("mailbox_get", address="probe"))["mailbox"]["counts"]["unsettled_bytes"]
    await desk.call("mailbox_drop", address="probe")
    await desk.call("mailbox_create", address="probe")
    return {"text": "x" * (size - body), **arguments}


def test_a_message_has_at_most_1_mib_encoded(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for arguments in ({}, {"tags": ["ü"], "metadata": {"a": 1}, "priority": "urgent"}):
            edge = await sized(desk, limit("message_bytes_max"), **arguments)
            before = desk.engine.journal.last_seq
            over = {**edge, "text": edge["text"] + "x"}
            error = await desk.refused("MESSAGE_TOO_LARGE", "mailbox_send", to="box", **over)
            assert "message_bytes_max is 1048576" in error.message
            assert "1048577" in error.message
            assert error.details["message_bytes_max"] == MIB
            assert desk.engine.journal.last_seq == before
            await desk.send(**edge)
            [message] = await desk.fetch()
            assert message["parts"] == [{"text": edge["text"]}]

    run(body, tmp_path, "box", "probe")


def test_what_counts_is_the_encoded_size(tmp_path: Path) -> None:
    """Escapes count as they are written; raw bytes count as base64."""

    async def body(desk: Desk) -> None:
        await desk.send(text="x" * (MIB // 2))
        await desk.refused("MESSAGE_TOO_LARGE", "mailbox_send", to="box", text="\n" * (MIB // 2))
        raw = base64.b64encode(bytes(MIB * 3 // 4)).decode()
        await desk.refused("MESSAGE_TOO_LARGE", "mailbox_send", to="box", parts=[{"raw": raw}])

    run(body, tmp_path, "box")


def test_a_request_has_at_most_16_mib_all_or_none(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        big = {"to": "box", **await sized(desk, MIB)}
        before = desk.engine.journal.last_seq
        messages = [*[big] * 16, {"to": "box", "text": ""}]
        error = await desk.refused("BATCH_TOO_LARGE", "mailbox_send", messages=messages)
        assert f"request_bytes_max is {16 * MIB}" in error.message
        assert error.details["request_bytes_max"] == 16 * MIB
        assert desk.engine.journal.last_seq == before
        reply = await desk.call("mailbox_send", messages=[big] * 16)
        assert len(reply["receipts"]) == 16

    run(body, tmp_path, "box", "probe")


def test_a_batch_counts_the_copies_of_its_fan_outs(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        many = [f"m{index}" for index in range(500)]
        for address in many:
            await desk.call("mailbox_create", address=address)
        twice = {"to": many, "text": "x"}
        before = desk.engine.journal.last_seq
        messages = [twice, twice, {"to": "box", "text": "x"}]
        error = await desk.refused("BATCH_TOO_LARGE", "mailbox_send", messages=messages)
        assert "batch_messages_max is 1000" in error.message
        assert desk.engine.journal.last_seq == before
        assert len((await desk.call("mailbox_send", messages=messages[:2]))["receipts"]) == 1000

    run(body, tmp_path, "box")


def test_a_fetch_reply_has_at_most_4_mib_fewer_messages_rather_than_more(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        big = await sized(desk, MIB)
        for _ in range(6):
            await desk.send(**big)
        reply = await desk.call("mailbox_fetch", "bob", mailbox="box", max=100)
        sizes = [len(str(message)) for message in reply["messages"]]
        assert sum(sizes) <= limit("fetch_bytes_max")
        assert len(sizes) >= 3
        assert reply["remaining"] == 6 - len(sizes)
        taken = len(sizes)
        while messages := await desk.fetch(max=100):
            taken += len(messages)
        assert taken == 6

    run(body, tmp_path, "box", "probe")


def test_a_mailbox_has_at_most_256_groups(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for number in range(limit("groups_max")):
            await desk.fetch(group=f"g{number}")
        before = desk.engine.journal.last_seq
        error = await desk.refused("INVALID_ARGUMENT", "mailbox_fetch", mailbox="box", group="one more")
        assert "groups_max is 256" in error.message
        assert desk.engine.journal.last_seq == before
        assert await desk.fetch(group="g0") == []
        reset = await desk.call("group_reset", mailbox="box", group="g1", to="earliest")
        assert reset["group"]["name"] == "g1"
        await desk.call("group_delete", mailbox="box", group="g1")
        assert await desk.fetch(group="one more") == []

    run(body, tmp_path, "box")


def test_remaining_is_counted_to_1000(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        batch = [{"to": "box", "text": "x", "tags": ["t"]}] * 1000
        await desk.call("mailbox_send", messages=batch)
        await desk.send(tags=["t"])
        first = await desk.call("mailbox_query", mailbox="box", limit=1)
        assert first["remaining"] == 1000
        await desk.send(tags=["t"])
        for tags in ([], ["t"]):
            asked = await desk.call("mailbox_query", mailbox="box", limit=1, tags_any=tags)
            assert asked["remaining"] == 1000
        taken = await desk.call("mailbox_fetch", "bob", mailbox="box", max=1, lease_s=1)
        assert taken["remaining"] == 1000
        taken = await desk.call("mailbox_fetch", "bob", mailbox="box", max=2)
        assert taken["remaining"] == 999

    run(body, tmp_path, "box")


@pytest.mark.parametrize("name", ["messages_max", "bytes_max"])
def test_quotas_are_as_large_as_the_limits_say_unless_set(tmp_path: Path, name: str) -> None:
    async def body(desk: Desk) -> None:
        settings = (await desk.call("mailbox_get", address="box"))["mailbox"]["settings"]
        assert settings[name] == limit(name)
        made = await desk.call("mailbox_create", address="tiny", settings={name: 1})
        assert made["mailbox"]["settings"][name] == 1
        if name == "messages_max":
            await desk.send("tiny")
        error = await desk.refused("MAILBOX_FULL", "mailbox_send", to="tiny", text="x")
        assert f"{name} is 1" in error.message

    run(body, tmp_path, "box")
