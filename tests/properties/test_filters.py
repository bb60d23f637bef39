"""A fetch and a query take exactly what a plain predicate takes, in the order that the contract gives."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.properties.values import examples, served
from tests.support import Desk, Reply

TIERS = ("critical", "urgent", "normal")
TAGS = ("red", "blue", "green", "ä b")
SESSIONS = ("s1", "s2")

some_tags = st.lists(st.sampled_from(TAGS), max_size=3, unique=True)
messages = st.lists(
    st.fixed_dictionaries(
        {"priority": st.sampled_from(TIERS), "tags": some_tags},
        optional={"session": st.sampled_from(SESSIONS)},
    ),
    min_size=1,
    max_size=14,
)
tags_wished = {"tags_any": some_tags, "tags_all": some_tags, "tags_none": some_tags}
session_wished = {"session": st.sampled_from([*SESSIONS, "nobody's", "own"])}
wishes = st.fixed_dictionaries(
    {}, optional={**tags_wished, **session_wished, "priority_min": st.sampled_from(TIERS)}
)
questions = st.fixed_dictionaries(
    {},
    optional={
        **tags_wished,
        **session_wished,
        "priority": st.sampled_from(TIERS),
        "order": st.sampled_from(["asc", "desc"]),
    },
)
Wish = dict[str, Any]


def fits(message: Reply, wish: Wish) -> bool:
    """The plain predicate."""
    tags = set(message["tags"])
    if wish.get("tags_any") and not tags & set(wish["tags_any"]):
        return False
    if not tags >= set(wish.get("tags_all", [])) or tags & set(wish.get("tags_none", [])):
        return False
    if "session" in wish and message["session"] != wish["session"]:
        return False
    if "priority" in wish and message["priority"] != wish["priority"]:
        return False
    return TIERS.index(message["priority"]) <= TIERS.index(wish.get("priority_min", "normal"))


async def filled(desk: Desk, mailbox: str, sent: list[Reply], wish: Wish) -> tuple[list[Reply], Wish]:
    """A new mailbox with these messages; ``own`` becomes the own session of one that has no other."""
    await desk.call("mailbox_create", address=mailbox)
    for message in sent:
        await desk.send(mailbox, **message)
    stored = (await desk.call("mailbox_query", mailbox=mailbox, limit=100))["messages"]
    if wish.get("session") == "own":
        own = [message["session"] for message in stored if message["session"] not in SESSIONS]
        wish = {**wish, "session": own[0] if own else "mq9.1"}
    return stored, wish


async def takes_what_fits(desk: Desk, mailbox: str, sent: list[Reply], wish: Wish, size: int) -> None:
    """Fetch after fetch under one filter: all that fits, by tier and then in line; what does not stays."""
    stored, wish = await filled(desk, mailbox, sent, wish)
    expected = [message["id"] for message in stored if fits(message, wish)]
    tier = {message["id"]: TIERS.index(message["priority"]) for message in stored}
    expected.sort(key=lambda id: (tier[id], id))
    taken: list[int] = []
    while got := await desk.fetch(mailbox, max=size, **wish):
        assert len(got) <= size
        taken += [message["id"] for message in got]
    assert taken == expected
    rest = [message["id"] for message in await desk.fetch(mailbox, max=100)]
    assert sorted(taken + rest) == [message["id"] for message in stored]


async def finds_what_fits(desk: Desk, mailbox: str, sent: list[Reply], wish: Wish) -> None:
    """A query with the same filters."""
    stored, wish = await filled(desk, mailbox, sent, wish)
    expected = [message["id"] for message in stored if fits(message, wish)]
    if wish.get("order") == "desc":
        expected.reverse()
    reply = await desk.call("mailbox_query", mailbox=mailbox, limit=100, **wish)
    assert [message["id"] for message in reply["messages"]] == expected
    assert reply["remaining"] == 0


def test_a_fetch_takes_what_fits(tmp_path: Path) -> None:
    with served(tmp_path) as (desk, serve):
        numbers = count()

        @examples(30)
        @given(messages, wishes, st.integers(1, 5))
        def check(sent: list[Reply], wish: Wish, size: int) -> None:
            serve(takes_what_fits(desk, f"box-{next(numbers)}", sent, wish, size))

        check()


def test_a_query_finds_what_fits(tmp_path: Path) -> None:
    with served(tmp_path) as (desk, serve):
        numbers = count()

        @examples(30)
        @given(messages, questions)
        def check(sent: list[Reply], wish: Wish) -> None:
            serve(finds_what_fits(desk, f"box-{next(numbers)}", sent, wish))

        check()
