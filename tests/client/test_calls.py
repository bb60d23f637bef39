"""Every command through both clients, on a real server: arguments, replies and errors arrive as they are."""

from __future__ import annotations

import asyncio
import base64
import gzip
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from mq9_mcp.client import ConnectionFailed, Mq9Client, Refused, SyncMq9Client, Unavailable
from mq9_mcp.client import wire as wire_module
from mq9_mcp.client.errors import read_error
from tests.client.between import Between, answer, between, refusal
from tests.client.serving import Server

Test = Callable[[Mq9Client], Coroutine[Any, Any, None]]
BetweenTest = Callable[[Between, Mq9Client], Coroutine[Any, Any, None]]


def run(server: Server, test: Test) -> None:
    """Run a test's body with a client of its own."""

    async def body() -> None:
        async with asyncio.timeout(60), Mq9Client(server.url, agent="alice") as client:
            await test(client)

    asyncio.run(body())


def run_between(server: Server, test: BetweenTest, *plan: str | bytes) -> None:
    """Run a test's body with a client whose connection does as planned."""

    async def body() -> None:
        async with (
            asyncio.timeout(60),
            between(server.url, *plan) as wire,
            Mq9Client(wire.url, agent="carol") as client,
        ):
            await test(wire, client)

    asyncio.run(body())


def test_every_command_from_asyncio(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        created = await client.mailbox_create(address="every", settings={"max_attempts": 1})
        assert created["created"]
        assert created["mailbox"]["settings"]["max_attempts"] == 1
        sent = await client.mailbox_send(
            messages=[{"to": "every", "text": "a"}, {"to": "every", "text": "b"}]
        )
        first, second = sent["receipts"]
        fetched = await client.mailbox_fetch(mailbox=["every"], max=1, lease_s=60)
        [message] = fetched["messages"]
        assert (message["id"], message["attempt"], fetched["remaining"]) == (first["id"], 1, 1)
        settled = await client.mailbox_ack(
            items=[{"lease": message["lease"], "outcome": "reject", "reason": "r"}]
        )
        assert settled["results"] == [{"id": first["id"], "outcome": "reject", "ok": True}]
        queried = await client.mailbox_query(mailbox="every", from_="alice", state="waiting")
        assert [one["id"] for one in queried["messages"]] == [second["id"]]
        assert (await client.mailbox_delete(mailbox="every", ids=[second["id"]]))["deleted"] == 1
        redriven = await client.mailbox_redrive(mailbox="every.dead")
        assert redriven["redriven"][0]["mailbox"] == "every"
        assert (await client.mailbox_get(address="every"))["mailbox"]["counts"]["unsettled"] == 1
        updated = await client.mailbox_update(address="every", settings={"max_attempts": 7})
        assert updated["mailbox"]["settings"]["max_attempts"] == 7
        assert [one["name"] for one in (await client.group_list(mailbox="every"))["groups"]] == ["default"]
        await client.group_reset(mailbox="every", group="default", to="latest")
        assert (await client.group_delete(mailbox="every", group="default"))["deleted"] == "default"
        listed = await client.mailbox_list(prefix="every")
        assert [one["address"] for one in listed["mailboxes"]] == ["every", "every.dead"]
        assert (await client.mailbox_drop(address="every"))["dropped"] == "every"

    run(server, test)


def test_every_command_without_a_loop(server: Server) -> None:
    with SyncMq9Client(server.url, agent="bob") as client:
        client.mailbox_create(address="plain")
        [receipt] = client.mailbox_send(to="plain", text="a")["receipts"]
        [message] = client.mailbox_fetch(mailbox="plain")["messages"]
        assert message["id"] == receipt["id"]
        assert message["from"] == client.agent == "bob"
        assert client.mailbox_ack(items=[{"lease": message["lease"]}])["results"][0]["ok"]
        assert client.mailbox_query(mailbox="plain")["messages"][0]["deliveries"][0]["state"] == "acked"
        assert client.mailbox_delete(mailbox="plain", ids=[receipt["id"]]) == {"deleted": 1}
        assert client.mailbox_update(address="plain", description="d")["mailbox"]["description"] == "d"
        assert client.mailbox_get(address="plain")["mailbox"]["owner"] == "local"
        assert client.mailbox_list(prefix="plain")["remaining"] == 0
        assert client.group_list(mailbox="plain")["groups"][0]["leased"] == 0
        assert client.group_reset(mailbox="plain", group="default", to=1)["group"]["name"] == "default"
        assert client.group_delete(mailbox="plain", group="default") == {"deleted": "default"}
        assert client.mailbox_drop(address="plain") == {"dropped": "plain"}
        with pytest.raises(Refused, match="MAILBOX_NOT_FOUND"):
            client.mailbox_redrive(mailbox="plain")
        assert client.call("mailbox_list", {"prefix": "plain"})["mailboxes"] == []
        assert repr(client) == f"SyncMq9Client({client.url!r}, agent='bob')"


def test_the_facade_can_be_used_again_after_close(server: Server) -> None:
    client = SyncMq9Client(server.url)
    client.close()
    client.mailbox_list()
    client.close()
    client.mailbox_list()
    client.close()


NUMBERS = {"big": 10**40, "low": -(10**30), "edge": 2**64, "float": 0.1, "none": None}
BYTES = bytes(range(256))


def test_content_arrives_exactly(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="exact")
        parts: list[dict[str, Any]] = [
            {"data": NUMBERS},
            {"raw": BYTES, "mediaType": "x/y"},
            {"text": "\u00e9\U0001f600\x00"},
        ]
        later = datetime.now(UTC) + timedelta(hours=1)
        await client.mailbox_send(to="exact", parts=parts, tags=("a", "b"), expires_at=later)
        [message] = (await client.mailbox_fetch(mailbox="exact"))["messages"]
        data, raw, text = message["parts"]
        assert data["data"] == NUMBERS
        assert base64.b64decode(raw["raw"]) == BYTES
        assert text["text"] == "\u00e9\U0001f600\x00"
        assert message["tags"] == ["a", "b"]
        assert abs(datetime.fromisoformat(message["expires_at"]) - later) < timedelta(milliseconds=1)

    run(server, test)


def test_a_batch_of_megabytes_is_sent_whole(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="large")
        text = "x" * 700_000
        await client.mailbox_send(messages=[{"to": "large", "text": text}] * 4)
        fetched = await client.mailbox_fetch(mailbox="large", max=4)
        assert [one["parts"] for one in fetched["messages"]] == [[{"text": text}]] * 4

    run(server, test)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "parts[0].data.x[0]: nan"),
        (float("inf"), "parts[0].data.x[0]: inf"),
        (object(), "object"),
        ("\ud800", "surrogates"),
    ],
)
def test_what_json_cannot_carry_is_refused(server: Server, value: Any, said: str) -> None:
    async def test(client: Mq9Client) -> None:
        with pytest.raises(Refused) as caught:
            await client.mailbox_send(to="exact", parts=[{"data": {"x": [value]}}])
        assert caught.value.code == "INVALID_ARGUMENT"
        assert said in str(caught.value)

    run(server, test)


def test_what_was_left_out_is_not_on_the_wire(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        await client.mailbox_fetch(group="default", max=10, tags_any=[], wait_s=0)
        await client.mailbox_send(text="a", to="carol", dedup_key="k")
        await client.mailbox_query(from_="a", limit=5)
        assert wire.bodies() == [
            {},
            {"text": "a", "to": "carol", "dedup_key": "k"},
            {"from": "a", "limit": 5},
        ]
        assert [path for path, _, _ in wire.requests][:2] == ["/v1/mailbox_fetch", "/v1/mailbox_send"]
        assert wire.requests[0][1]["mq9-agent"] == "carol"
        assert "authorization" not in wire.requests[0][1]

    run_between(server, test)


def test_an_error_is_raised_as_the_server_has_it(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        with pytest.raises(Refused) as caught:
            await client.mailbox_get(address="nowhere")
        error = caught.value
        assert (error.code, error.status) == ("MAILBOX_NOT_FOUND", 404)
        assert "nowhere" in error.message
        assert error.hint
        assert error.details == {"mailbox": "nowhere"}
        with pytest.raises(Refused, match="there is no command 'mailbox_eat'"):
            await client.call("mailbox_eat", {})
        with pytest.raises(Refused, match="audit_query is not part of this version"):
            await client.call("audit_query", {})
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            async with Mq9Client(server.url, token="secret-word") as stranger:
                await stranger.mailbox_list()

    run(server, test)


@pytest.mark.parametrize(
    ("status", "code", "kind", "read"),
    [
        (404, "NEWER_NOT_FOUND", Refused, "INVALID_ARGUMENT"),
        (500, "NEWER_FAULT", Unavailable, "INTERNAL"),
        (429, "RATE_LIMITED", Unavailable, "RATE_LIMITED"),
        (429, "MAILBOX_FULL", Refused, "MAILBOX_FULL"),
        (503, "SHUTTING_DOWN", Unavailable, "SHUTTING_DOWN"),
        (409, "LEASE_LOST", Refused, "LEASE_LOST"),
    ],
)
def test_errors_by_whose_fault(status: int, code: str, kind: type, read: str) -> None:
    error = read_error(status, refusal(status, code).partition(b"\r\n\r\n")[2])
    assert error is not None
    assert type(error) is kind
    assert (error.code, error.message, error.hint) == (read, "no", "wait")
    assert error.details == ({} if code == read else {"code": code})


@pytest.mark.parametrize("body", [b"", b"Not Found", b"[]", b'{"error": 1}', b"\xff"])
def test_what_is_no_broker_is_named_so(server: Server, body: bytes) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        with pytest.raises(Unavailable, match="is it an mq9 broker") as caught:
            await client.mailbox_list()
        assert wire.url in str(caught.value)
        assert "HTTP 404" in str(caught.value)

    run_between(server, test, answer(404, body))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff"])
def test_a_reply_that_is_none_is_named_so(server: Server, body: bytes) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        with pytest.raises(ConnectionFailed, match="is it an mq9 broker") as caught:
            await client.mailbox_list()
        assert caught.value.unknown
        assert len(wire.requests) == 1

    run_between(server, test, answer(200, body))


def test_too_large_a_request_is_refused_at_once(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        with pytest.raises(Refused, match="request_bytes_max"):
            await client.mailbox_send(messages=[{"to": "exact", "text": "x" * 1_000_000}] * 18)

    run(server, test)


def test_a_secret_is_never_shown(server: Server) -> None:
    for secret in ("with space", "line\nfeed", "\u00e9"):
        with pytest.raises(Refused) as caught:
            Mq9Client(server.url, token=secret)
        assert secret not in str(caught.value)
    assert "hidden" not in repr(Mq9Client(server.url, token="hidden"))


def test_agent_and_token_come_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        monkeypatch.setenv("MQ9_AGENT", "dora")
        monkeypatch.setenv("MQ9_TOKEN", "sesame")
        async with Mq9Client(wire.url) as named:
            with pytest.raises(Refused, match="UNAUTHENTICATED"):
                await named.mailbox_list()
        headers = wire.requests[0][1]
        assert (headers["mq9-agent"], headers["authorization"]) == ("dora", "Bearer sesame")
        assert client.agent == "carol"

    run_between(server, test)


@pytest.mark.parametrize("agent", ["Not An Address", "a\nb", "-a"])
def test_an_agent_that_is_no_address_is_refused(agent: str) -> None:
    with pytest.raises(Refused, match="agent"):
        Mq9Client("http://127.0.0.1:1", agent=agent)


def test_the_facade_must_not_be_called_on_its_own_loop(server: Server) -> None:
    with SyncMq9Client(server.url, agent="eve") as client:
        said: list[str] = []
        done = threading.Event()

        async def handler(message: Any) -> None:
            assert message["parts"] == [{"text": "a"}]
            try:
                client.mailbox_list()
            except RuntimeError as error:
                said.append(str(error))
                done.set()

        client.mailbox_send(to="eve", text="a")
        with client.consume(None, handler):
            assert done.wait(30)
        assert "use Mq9Client" in said[0]


def test_a_newer_reply_is_passed_through(server: Server) -> None:
    async def test(wire: Between, client: Mq9Client) -> None:
        reply = await client.call("mailbox_list", {"newer": 1})
        assert reply["newer"] == {"x": 2**70}
        assert wire.bodies() == [{"newer": 1}]

    body = msgspec.json.encode({"mailboxes": [], "remaining": 0, "newer": {"x": 2**70}})
    run_between(server, test, answer(200, body))


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (answer(307, b"", "location: /v1/elsewhere"), "HTTP 307"),
        (answer(302, b"", "location: /v1/elsewhere"), "HTTP 302"),
        (answer(200, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "HTTP 200"),
        (answer(400, b'{"error":{"code":"X","message":"","details":{"a":' + b"[" * 100_000), "HTTP 400"),
        (answer(200, gzip.compress(b'{"a":1}', mtime=0), "content-encoding: gzip"), "HTTP 200"),
        (answer(200, b'{"a":"' + b"a" * 300_000 + b'"}'), "more than 262144 bytes"),
    ],
)
def test_a_hostile_answer_is_no_answer(
    server: Server, hostile: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No redirect is followed, nothing is unpacked, and no end of bytes or of brackets does harm."""
    monkeypatch.setattr(wire_module, "ANSWER_BYTES_MAX", 2**18)
    address = "hostile" if b" 200 " not in hostile[:20] else None  # without one it is not repeated

    async def test(wire: Between, client: Mq9Client) -> None:
        with pytest.raises(ConnectionFailed, match=why):
            await client.mailbox_create(address=address)
        assert [path for path, _, _ in wire.requests] == ["/v1/mailbox_create"]

    run_between(server, test, hostile)
