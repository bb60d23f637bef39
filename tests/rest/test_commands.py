"""Every command over HTTP: the body is the arguments, the answer the reply, a refusal has one shape."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from mq9_mcp.broker.catalogue import CATALOGUE, LATER
from tests.rest.site import Site, error_of, run_site


def test_every_example_of_the_catalogue_is_answered(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await site.call("mailbox_fetch")
        for entry in CATALOGUE.values():
            for example in entry.examples:
                reply = await site.call(entry.name, **example.arguments)
                assert {*reply} <= {*entry.reply}

    run_site(body, tmp_path)


def test_a_message_goes_round(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        sent = await site.call("mailbox_send", to="box", text="weigh the cat")
        [message] = (await site.call("mailbox_fetch", agent="bob", mailbox="box"))["messages"]
        assert (message["id"], message["from"], message["verified"]) == (
            sent["receipts"][0]["id"],
            "alice",
            False,
        )
        results = await site.call("mailbox_ack", agent="bob", items=[{"lease": message["lease"]}])
        assert results["results"][0]["ok"]

    run_site(body, tmp_path, "box")


DATA: list[Any] = [
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    2**64,
    2**64 + 1,
    -(2**63) - 1,
    10**40 + 7,
    -(10**300) - 7,
    0.1,
    1e300,
    True,
    None,
    "é\u2028\U0001f600",
    {"": {"deep": [[]]}},
]


def test_data_comes_back_exactly(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await site.call("mailbox_send", to="box", parts=[{"data": DATA}])
        answer = await site.post("mailbox_fetch", b'{"mailbox": "box"}')
        [message] = json.loads(answer.content)["messages"]
        found = message["parts"][0]["data"]
        assert json.dumps(found) == json.dumps(DATA)

    run_site(body, tmp_path, "box")


def test_raw_bytes_come_back_byte_for_byte(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        raw = base64.b64encode(bytes(range(256)) * 40).decode()
        part = {"raw": raw, "mediaType": "application/octet-stream", "filename": "all.bin"}
        await site.call("mailbox_send", to="box", parts=[part])
        [message] = (await site.call("mailbox_fetch", mailbox="box"))["messages"]
        assert message["parts"] == [part]

    run_site(body, tmp_path, "box")


def test_no_body_is_no_arguments(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        answer = await site.post("mailbox_fetch")
        assert answer.json() == {"messages": [], "remaining": 0, "cancel_requested": []}

    run_site(body, tmp_path)


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"[]", "body: Expected `object`, got `array`"),
    (b"null", "body: Expected `object`, got `null`"),
    (b'"text"', "body: Expected `object`, got `str`"),
    (b"{", "body: Input data was truncated"),
    (b"   ", "body: Input data was truncated"),
    (b"{} {}", "body: JSON is malformed: trailing characters"),
    (b"\xef\xbb\xbf{}", "body: JSON is malformed"),
    (b'{"to": "a", "text": "\xff"}', "body: "),
    (b'{"to": "a", "text": "\xed\xa0\x80"}', "body: "),
    (b'{"to": "a", "text": "\\ud800"}', "body: "),
    (b'{"to": "a", "parts": [{"data": NaN}]}', "body: JSON is malformed"),
    (b'{"to": "a", "parts": [{"data": Infinity}]}', "body: JSON is malformed"),
    (b'{"to": "a", "parts": [{"data": 1e999}]}', "body: "),
    (b'{"to": "a", "delay_s": 1e999}', "body: "),
    (b'{"to": "a", "parts": [{"data": ' + b"9" * 5000 + b"}]}", ""),
    (b'{"to": "a", "delay_s": ' + b"9" * 5000 + b"}", ""),
    (b'{"in_reply_to": ' + b"9" * 40 + b"}", ""),
    (
        b'{"to": "a", "metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        "the arguments are nested",
    ),
    (b'{"to": "a", "text": "x", "metadata": ' + b"[" * 300 + b"]" * 300 + b"}", ""),
    (b'{"to": "a", "parts": [{"data": ' + b"[" * 300 + b"]" * 300 + b"}]}", "parts[0].data: nested deeper"),
    (b'{"to": "a", "txet": "hello"}', "txet: unknown; accepted: to, text, parts"),
    (b'{"to": 7}', "to: 7; expected"),
    (b'{"to": "a", "text": "x", "priority": "high"}', "priority: 'high'; accepted: critical, normal, urgent"),
]


def test_a_bad_body_is_refused(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        for sent, message in BAD_BODIES:
            assert error_of(await site.post("mailbox_send", sent), 400).startswith(message), sent
        assert (await site.call("mailbox_list"))["mailboxes"] == []

    run_site(body, tmp_path)


def test_what_is_no_command_is_refused_by_name(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        for name in LATER:
            assert error_of(await site.post(name), 400).startswith(f"{name} is not part of this version")
        for name in ("mailbox_sned", "mailbox_send/", "mailbox_send/x", "", "%ff", "a%00b"):
            assert error_of(await site.post(name), 400).startswith("there is no command '")

    run_site(body, tmp_path)


def test_another_method_is_refused(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            json_only = {"content-type": "application/json"}
            answer = await site.client.request(method, "/v1/mailbox_send", headers=json_only)
            assert error_of(answer, 405) == f"method: '{method}'; accepted: POST"
            assert answer.headers["allow"] == "POST"

    run_site(body, tmp_path)


def test_a_refusal_has_the_status_of_its_code(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async def refused(name: str, status: int, code: str, **arguments: Any) -> None:
            error_of(await site.post(name, json.dumps(arguments).encode()), status, code)

        await refused("mailbox_get", 404, "MAILBOX_NOT_FOUND", address="nowhere")
        await refused("mailbox_create", 409, "MAILBOX_EXISTS", address="box", settings={"ttl_s": 5})
        await refused("mailbox_send", 413, "MESSAGE_TOO_LARGE", to="box", text="x" * 1_100_000)
        await site.call("mailbox_create", address="small", settings={"messages_max": 1})
        await site.call("mailbox_send", to="small", text="1")
        await refused("mailbox_send", 429, "MAILBOX_FULL", to="small", text="2")
        answer = await site.post("mailbox_list", authorization="Bearer none")
        error_of(answer, 401, "UNAUTHENTICATED")
        error_of(await site.post("mailbox_list", agent="mq9.broker"), 400)
        two = [("mq9-agent", "alice"), ("mq9-agent", "bob"), ("content-type", "application/json")]
        answer = await site.client.post("/v1/mailbox_list", headers=two)
        assert error_of(answer, 400) == "Mq9-Agent: names two agents; accepted: one"

    run_site(body, tmp_path, "box")


def test_a_body_in_pieces_is_one_body(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async def pieces() -> Any:
            for piece in (b'{"to": "bo', b'x", "te', b'xt": "in three"}'):
                yield piece

        answer = await site.client.post(
            "/v1/mailbox_send",
            content=pieces(),
            headers={"mq9-agent": "alice", "content-type": "application/json"},
        )
        assert answer.status_code == 200
        [message] = (await site.call("mailbox_query", mailbox="box"))["messages"]
        assert message["parts"] == [{"text": "in three"}]

    run_site(body, tmp_path, "box")


def test_a_stopping_broker_says_so(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await site.desk.broker.close()
        error_of(await site.post("mailbox_list"), 503, "SHUTTING_DOWN")

    run_site(body, tmp_path)
