"""Addresses and names: accepted exactly where the contract's sentence says so, whatever the text."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq9_mcp.broker.arguments import read_arguments
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.names import check_address, check_new_address, dead_letter_address
from tests.properties.values import outcome_of

ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"
near_addresses = st.text(ALNUM + "._-" * 6, max_size=100)
any_address = st.one_of(
    near_addresses,
    st.text(max_size=30),
    st.tuples(near_addresses, st.sampled_from(["\n", " ", "@node", "..", "é", "A", "\0", "\uff11"])).map(
        "".join
    ),
    st.integers(90, 100).map(lambda length: "a" * length),
)
any_name = st.one_of(
    st.text(max_size=12),
    st.text(max_size=12).map(lambda text: text + "\n"),
    st.integers(120, 135).map(lambda length: "n" * length),
)


def is_address(text: str) -> bool:
    """Section 1: 1 to 96 characters of [a-z0-9._-], first and last alphanumeric, no '..'."""
    if not 1 <= len(text) <= 96 or ".." in text:
        return False
    return set(text) <= {*ALNUM, *"._-"} and text[0] in ALNUM and text[-1] in ALNUM


def is_name(text: str, longest: int) -> bool:
    """Something to be shown: no control characters of ASCII, no halves of characters, not too long."""
    plain = all(ord(one) >= 0x20 and ord(one) != 0x7F and unicodedata.category(one) != "Cs" for one in text)
    return 1 <= len(text) <= longest and plain


def accepted(name: str, arguments: dict[str, Any]) -> bool:
    """False if the arguments are refused, with the code for it."""
    _, error = outcome_of(lambda: read_arguments(name, arguments), Refused)
    if error is None:
        return True
    assert error.code == "INVALID_ARGUMENT"
    assert error.message.isprintable()
    return False


@given(any_address)
def test_an_address_is_what_the_contract_says(text: str) -> None:
    checked, error = outcome_of(lambda: check_address(text), Refused)
    assert checked == (text if is_address(text) else None)
    assert error is None or error.code == "INVALID_ARGUMENT"
    assert accepted("mailbox_create", {"address": text}) == is_address(text)
    assert accepted("mailbox_fetch", {"mailbox": [text]}) == is_address(text)


@given(any_address, st.sampled_from(["", "mq9.", "mq9"]))
def test_the_brokers_own_prefix_is_nobodys(text: str, prefix: str) -> None:
    address = prefix + text
    free = is_address(address) and not address.startswith("mq9.")
    made, _ = outcome_of(lambda: check_new_address(address), Refused)
    assert made == (address if free else None)


@given(near_addresses.filter(is_address), near_addresses.filter(is_address))
def test_a_dead_letter_address_is_one_and_differs(one: str, other: str) -> None:
    made = dead_letter_address(one)
    assert is_address(made)
    assert made.endswith(".dead")
    assert made == dead_letter_address(one)
    assert (made == dead_letter_address(other)) == (one == other)


@pytest.mark.parametrize(
    ("command", "argument", "longest"),
    [("mailbox_fetch", "session", 128), ("mailbox_fetch", "group", 96), ("mailbox_query", "session", 128)],
)
def test_names_are_what_can_be_shown(command: str, argument: str, longest: int) -> None:
    @given(any_name)
    def check(text: str) -> None:
        assert accepted(command, {argument: text}) == is_name(text, longest)

    check()
