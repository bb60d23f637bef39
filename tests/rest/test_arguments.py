"""A body that is decoded at once means what its arguments mean, and is refused in the same words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq9_mcp.broker.arguments import read_arguments, read_json
from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.domain.errors import Refused

WORDS = st.sampled_from(["a", "", "A", "a..b", "normal", "2027-01-15T08:00:00Z", "\x00", "\u00e9"]) | st.text(
    max_size=3
)
NUMBERS = st.sampled_from([0, 1, -1, 2**53, 2**64, -(2**70), 0.5, 1e300]) | st.integers()
LEAVES = st.none() | st.booleans() | NUMBERS | WORDS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("lease"), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    entry = draw(st.sampled_from(list(CATALOGUE.values())))
    names = st.sampled_from(entry.arguments.__struct_encode_fields__)
    return entry.name, draw(st.dictionaries(names | WORDS, VALUES, max_size=3))


@given(calls())
def test_a_body_is_read_as_its_arguments_are(call: tuple[str, dict[str, Any]]) -> None:
    name, arguments = call
    try:
        expected: Any = read_arguments(name, arguments)
    except Refused as refused:
        expected = refused.as_dict()
    try:
        found: Any = read_json(name, json.dumps(arguments).encode())
    except Refused as refused:
        found = refused.as_dict()
    assert found == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"to": "b", "reply_to": "A b"},
            "reply_to: 'A b' is no address; accepted: 1 to 96 characters of a-z",
        ),
        ({"to": "b", "reply_to": "a@node"}, "reply_to: 'a@node' names another node"),
        ({"to": "b", "tags": ["a\nb"]}, "tags[0]: 'a\\nb'; accepted: text without control characters"),
        (
            {"to": "b", "deliver_at": "soon"},
            "deliver_at: 'soon'; accepted: a time as in RFC 3339, such as 20",
        ),
        ({"to": "b", "parts": {}}, "parts: {}; expected array, got object"),
    ],
)
def test_a_refusal_says_what_is_accepted_in_words(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        read_arguments("mailbox_send", arguments)
    assert refused.value.message.startswith(words)
    assert "regex" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("mailbox_send", {"task": {"timeout": 1}}, "task.timeout: unknown; accepted: timeout_s"),
        (
            "mailbox_create",
            {"settings": {"retention": {"age": 1}}},
            "settings.retention.age: unknown; accepted: age_s, bytes",
        ),
        (
            "task_update",
            {"task": "t", "lease": "l", "progress": {"don": 1}},
            "progress.don: unknown; accepted: done, total, note",
        ),
        (
            "mailbox_ack",
            {"items": [{"lease": "l", "outcme": "ack"}]},
            "items[0].outcme: unknown; accepted: lease, outcome, ",
        ),
        (
            "mailbox_ack",
            {"items": [{"lease": "l"}], "send": {"txt": 1}},
            "send.txt: unknown; accepted: to, text",
        ),
    ],
)
def test_an_unknown_name_within_an_argument_is_told_what_is_accepted_there(
    name: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as refused:
        read_arguments(name, arguments)
    assert refused.value.message.startswith(words)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("mailbox_fetch", {"lease_s": 0}, "lease_s: 0; accepted: 1 to 43200"),
        ("task_get", {"task": "t", "wait_s": 100}, "wait_s: 100; accepted: 0 to 50"),
        ("agent_report", {"status": "busy", "load": 1.5}, "load: 1.5; accepted: 0 to 1"),
        ("mailbox_send", {"task": {"timeout_s": 0}}, "task.timeout_s: 0; accepted: over 0 to 315360000"),
        ("mailbox_fetch", {"max": 1.5}, "max: 1.5; expected int, got float"),
        ("mailbox_send", {"in_reply_to": 0}, "in_reply_to: 0; expected int >= 1"),
    ],
)
def test_a_number_that_is_out_of_its_range_is_told_the_range(
    name: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as refused:
        read_arguments(name, arguments)
    assert refused.value.message == words
