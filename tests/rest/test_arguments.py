"""A body that is decoded at once means what its arguments mean, and is refused in the same words."""

from __future__ import annotations

import json
from typing import Any

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
