"""The generated files are those that the catalogue and the async client make, and cover them."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from mq9_mcp.broker import shapes
from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.client import Consumer, Mq9Client, SyncConsumer, SyncMq9Client, replies
from mq9_mcp.client.base import given
from tests.house.source import ROOT
from tools.make_client import REPLIES, files

MADE = files()


@pytest.mark.parametrize("path", MADE)
def test_a_generated_file_is_fresh(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == MADE[path], "the file is stale; run: make client"


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_method_has_the_arguments_of_its_command(name: str) -> None:
    fields = CATALOGUE[name].arguments.__struct_encode_fields__
    for client in (Mq9Client, SyncMq9Client):
        parameters = list(inspect.signature(getattr(client, name)).parameters)[1:]
        assert sorted(one.rstrip("_") for one in parameters) == sorted(fields)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_reply_type_has_the_fields_of_the_reply(name: str) -> None:
    kind = getattr(replies, REPLIES[name])
    assert set(kind.__annotations__) >= CATALOGUE[name].reply.keys()


def test_a_type_inside_a_reply_has_the_fields_of_the_shape_of_its_name() -> None:
    common = [name for name in vars(replies) if isinstance(getattr(shapes, name, None), type(msgspec.Struct))]
    assert {"Receipt", "Routed", "DeadLetter"} <= set(common)
    for name in common:
        known = getattr(replies, name).__annotations__
        missing = set(getattr(shapes, name).__struct_encode_fields__) - set(known)
        assert not missing, f"{name} lacks {missing}"


def test_the_facade_has_every_public_name_of_the_client() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(SyncMq9Client) == public(Mq9Client) | {"agent"}
    # What only the client itself calls is not needed there.
    assert public(SyncConsumer) == (public(Consumer) | {"processed_count", "failed_count", "error"}) - {
        "when_ended"
    }


def test_what_was_left_out_is_not_sent() -> None:
    assert given("mailbox_fetch", {"self": 1, "mailbox": None, "group": "default", "max": 10}) == {}
    assert given("mailbox_fetch", {"mailbox": "a", "max": 2}) == {"mailbox": "a", "max": 2}
    assert given("mailbox_query", {"from_": "anna"}) == {"from": "anna"}
