"""Pages of any size give every message once and in order, also while mail comes and goes."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.properties.values import examples, served
from tests.support import Desk

acts = st.lists(
    st.one_of(
        st.tuples(st.just("page"), st.integers(1, 7)),
        st.tuples(st.just("send"), st.integers(1, 4)),
        st.tuples(st.just("delete"), st.integers(0, 30)),
        st.tuples(st.just("settle"), st.integers(1, 3)),
    ),
    max_size=14,
)


class Reader:
    """Reads a mailbox page by page and knows what it must see."""

    def __init__(self, desk: Desk, mailbox: str, order: str) -> None:
        self.desk = desk
        self.mailbox = mailbox
        self.order = order
        self.there: set[int] = set()
        self.gone: set[int] = set()
        self.seen: list[int] = []
        self.cursor: dict[str, Any] = {}
        self.done = False

    async def send(self, some: int) -> None:
        """Mail comes."""
        batch = [{"to": self.mailbox, "text": "x"} for _ in range(some)]
        reply = await self.desk.call("mailbox_send", messages=batch)
        self.there |= {receipt["id"] for receipt in reply["receipts"]}

    async def delete(self, which: int) -> None:
        """Mail goes."""
        if self.there:
            id = sorted(self.there)[which % len(self.there)]
            await self.desk.call("mailbox_delete", mailbox=self.mailbox, ids=[id])
            self.there.remove(id)
            self.gone.add(id)

    async def settle(self, some: int) -> None:
        """Mail is worked; it stays where it is."""
        for message in await self.desk.fetch(self.mailbox, agent="alice", max=some):
            await self.desk.settle(message, agent="alice")

    async def page(self, size: int) -> None:
        """The next page."""
        if self.done:
            return
        ahead = self.ahead()
        reply = await self.desk.call(
            "mailbox_query", mailbox=self.mailbox, limit=size, order=self.order, **self.cursor
        )
        ids = [message["id"] for message in reply["messages"]]
        assert ids == ahead[:size]
        assert reply["remaining"] == max(0, len(ahead) - size)
        assert ("next_cursor" in reply) == (len(ahead) > size)
        self.seen += ids
        self.done = "next_cursor" not in reply
        self.cursor = {"cursor": reply.get("next_cursor")}

    def ahead(self) -> list[int]:
        """What is there now and lies behind the last page."""
        ordered = sorted(self.there, reverse=self.order == "desc")
        if not self.seen:
            return ordered
        last = self.seen[-1]
        return [id for id in ordered if (id < last if self.order == "desc" else id > last)]


async def read_to_the_end(reader: Reader, first: int, acts: list[tuple[str, int]], size: int) -> None:
    """The acts in turn, then the rest of the pages."""
    await reader.send(first)
    before = set(reader.there)
    for name, argument in acts:
        await getattr(reader, name)(argument)
    while not reader.done:
        await reader.page(size)
    assert reader.seen == sorted(set(reader.seen), reverse=reader.order == "desc"), "twice, or out of order"
    assert before - reader.gone <= set(reader.seen), "there all the time, and never shown"


def test_every_message_is_on_one_page(tmp_path: Path) -> None:
    with served(tmp_path) as (desk, serve):
        numbers = count()

        @examples(30)
        @given(st.integers(1, 20), acts, st.integers(1, 9), st.sampled_from(["asc", "desc"]))
        def check(first: int, some: list[tuple[str, int]], size: int, order: str) -> None:
            mailbox = f"box-{next(numbers)}"
            serve(desk.call("mailbox_create", address=mailbox))
            serve(read_to_the_end(Reader(desk, mailbox, order), first, some, size))

        check()
