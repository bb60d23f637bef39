"""The bridge's pieces by themselves: lines, messages, what may be repeated and as what."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq9_mcp.bridge.call import Call
from mq9_mcp.bridge.main import make_parser
from mq9_mcp.bridge.messages import find_id, one_line, read
from mq9_mcp.bridge.stdio import KEPT_BYTES, Lines, TooLong
from mq9_mcp.broker.catalogue import CATALOGUE
from tests.house.source import ROOT
from tests.serve.process import ENVIRONMENT

HEAVY = {"mcp", "mcp_types", "pydantic", "duckdb", "starlette", "uvicorn", "aiohttp", "httpx", "rich"}


def test_the_bridge_imports_nothing_heavy() -> None:
    program = "import mq9_mcp.bridge, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    told = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert "httptools" in told.stdout.split(), "it sees what is imported"
    assert HEAVY & set(told.stdout.split()) == set()


def test_every_option_and_variable_is_on_the_page() -> None:
    page = (ROOT / "docs" / "how-to" / "hosts" / "index.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    text = make_parser().format_help()
    options = set(re.findall(r"--[a-z]+", text)) - {"--help", "--version"}
    assert len(options) == 3
    for name in (*options, *re.findall(r"MQ9_[A-Z]+", text)):
        assert any(f"`{name}" in row for row in rows), name


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_come_out_whole_however_they_come_in(lines: list[bytes], data: Any) -> None:
    cutter, stream, found = Lines(20), b"".join(line + b"\n" for line in lines), list[Any]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += cutter.cut(stream[:size])
        stream = stream[size:]
    assert list(cutter.end()) == []
    assert len(found) == len(lines)
    for given_, came in zip(lines, found, strict=True):
        assert came == given_ if len(given_) <= 20 else isinstance(came, TooLong)


def test_a_line_without_end_takes_no_memory() -> None:
    cutter = Lines(10_000)
    assert list(cutter.cut(b'{"id": 3,')) == []
    for _ in range(100):
        assert list(cutter.cut(b"x" * 5_000)) == []
    assert len(cutter._rest) <= KEPT_BYTES
    [long] = cutter.cut(b'x, "id": 4}\n')
    assert isinstance(long, TooLong)
    assert bytes(find_id(long.ends)) == b"3"
    assert list(cutter.cut(b"{}\n")) == [b"{}"]


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"text":"', b"7"),
        (b'{"method":"x","params":{"id":1},"jsonrpc":"2.0","id":"a"}', b'"a"'),
        (b'{"method":"x","params":{"id":1}}', b"null"),
        (b'{"method":"x","id":1,"params":{"a":{"id":2}}}', b"null"),
        (b"garbage", b"null"),
    ],
)
def test_the_id_of_what_cannot_be_read_is_its_own_or_none(line: bytes, id: bytes) -> None:
    assert bytes(find_id(line)) == id


def test_a_message_of_several_lines_becomes_one() -> None:
    assert one_line(b'{\n "a": 12345678901234567890123.10\r\n}') == b'{"a":12345678901234567890123.10}'
    assert one_line(b'{"a":  1}') == b'{"a":  1}'


def called(tool: str, arguments: dict[str, Any] | str) -> tuple[Call, Any, Any]:
    """A call, and its arguments in its first and its second try."""
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments)

    async def made() -> tuple[Call, Any, Any]:
        line = (
            f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{raw}}}}}'
        )
        call = Call(read(line.encode()))
        first, second = (json.loads(call.body())["params"]["arguments"] for _ in range(2))
        return call, first, second

    return asyncio.run(made())


@pytest.mark.parametrize(
    ("tool", "inside"), [("mailbox_send", "messages"), ("mailbox_ack", "send"), ("mailbox_send", None)]
)
def test_all_that_is_sent_has_a_key_that_stays(tool: str, inside: str | None) -> None:
    messages = [{"to": "a", "text": "1"}, {"to": "b", "text": "2", "dedup_key": "mine"}]
    _, first, second = called(tool, {inside: messages} if inside else messages[0])
    assert first == second
    keys = [one["dedup_key"] for one in (first[inside] if inside else [first])]
    assert len(keys[0]) == 32
    assert keys[1:] == ["mine"] * len(keys[1:])


def test_a_key_that_is_null_is_none() -> None:
    _, first, second = called("mailbox_send", {"to": "a", "text": "1", "dedup_key": None, "messages": None})
    assert first == second
    assert len(first["dedup_key"]) == 32
    assert "messages" not in first


def test_arguments_stay_to_the_letter() -> None:
    parts = b'[{"data": {"n": 123456789012345678901234567890, "x": 1.10, "e": 1e400}}]'
    params = b'{"name":"mailbox_send","arguments":{"to":"a","parts":%b}}' % parts

    async def body() -> bytes:
        return Call(read(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params)).body()

    assert parts in asyncio.run(body())


def test_a_wait_gets_shorter_and_never_longer() -> None:
    _, first, second = called("mailbox_fetch", {"wait_s": 20, "max": 3})
    assert first == {"wait_s": 20, "max": 3}
    assert 19 < second["wait_s"] <= 20
    assert second["max"] == 3
    assert called("mailbox_fetch", {"wait_s": "long"})[2] == {"wait_s": "long"}, "for the broker to refuse"


@pytest.mark.parametrize("arguments", ["[1]", "null", '{"messages": 3}', '{"messages": [3]}'])
def test_what_is_no_message_is_for_the_broker_to_refuse(arguments: str) -> None:
    assert called("mailbox_send", arguments)[1] == json.loads(arguments)


ONCE = frozenset(
    {"mailbox_delete", "mailbox_drop", "mailbox_redrive", "group_reset", "group_delete", "task_update"}
    | {"task_cancel", "agent_register", "agent_unregister", "session_close", "session_reopen"}
    | {"push_set", "push_delete"}
)


def test_every_command_is_known_as_repeatable_or_not() -> None:
    once = {name for name in CATALOGUE if not called(name, {"address": "a", "to": "a"})[0].repeatable}
    assert once == ONCE
    assert not called("mailbox_create", {"settings": {}})[0].repeatable, "it makes another mailbox each time"
    assert not called("unheard_of", {})[0].repeatable


@pytest.mark.parametrize(
    ("state", "again"), [("completed", True), ("input-required", True), ("working", False)]
)
def test_a_state_that_ends_a_lease_may_be_said_again(state: str, again: bool) -> None:
    assert called("task_update", {"task": "t", "lease": "l", "state": state})[0].repeatable is again
