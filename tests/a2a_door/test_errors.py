"""Errors: the code, the HTTP status and the reason that the specification gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.broker import Broker
from tests.a2a_door.site import BOX, HTTP, RPC, Peer, both, result_of, run_peer, update
from tests.support import Reply

MESSAGE = {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
KINDS = {  # JSON-RPC code, HTTP status
    "TASK_NOT_FOUND": (-32001, 404),
    "TASK_NOT_CANCELABLE": (-32002, 400),
    "UNSUPPORTED_OPERATION": (-32004, 400),
    "EXTENSION_SUPPORT_REQUIRED": (-32008, 400),
    "VERSION_NOT_SUPPORTED": (-32009, 400),
    "INVALID_PARAMS": (-32602, 400),
    "AGENT_NOT_FOUND": (-32602, 404),
    "RESOURCE_EXHAUSTED": (-32603, 429),
}


async def fails(peer: Peer, reason: str, method: str, /, **params: Any) -> Reply:
    """The method fails for this reason, with the codes that belong to it."""
    failure = await peer.failure(method, **params)
    assert failure.info["reason"] == reason, failure
    assert failure.info["domain"] == "a2a-protocol.org"
    code, status = KINDS[reason]
    expected = (code, 200) if peer.binding == RPC else (status, status)
    assert (failure.code, failure.status) == expected
    return {"details": failure.details, "message": failure.message}


@both
def test_operations_fail_as_specified(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        task = await peer.send()
        [message] = await peer.desk.fetch()
        await update(peer.desk, message, "completed")
        await fails(peer, "TASK_NOT_FOUND", "GetTask", id="nope")
        await fails(peer, "TASK_NOT_CANCELABLE", "CancelTask", id=task["id"])
        await fails(peer, "UNSUPPORTED_OPERATION", "SubscribeToTask", id=task["id"])
        await fails(
            peer, "TASK_NOT_FOUND", "SendStreamingMessage", message={**MESSAGE, "taskId": "task-none"}
        )
        assert (await peer.call("ListTasks"))["totalSize"] == 1, "what is refused is not stored"
        nobody = Peer(peer.site, binding, "nobody")
        await fails(nobody, "AGENT_NOT_FOUND", "SendMessage", message=MESSAGE)
        await fails(Peer(peer.site, binding, "no..address"), "AGENT_NOT_FOUND", "GetTask", id="x")

    run_peer(test, tmp_path, binding)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "message.message_id"),
        ({**MESSAGE, "parts": []}, "message.parts"),
        ({**MESSAGE, "role": "user"}, "message.role"),
        ({**MESSAGE, "parts": [{}]}, ""),
        ({**MESSAGE, "parts": [{"text": "a", "url": "b"}]}, ""),
        ({**MESSAGE, "parts": "text"}, ""),
        ({**MESSAGE, "messageId": 7.5}, ""),
        ({**MESSAGE, "contextId": "c" * 200}, ""),
    ],
)
@both
def test_a_wrong_message_is_refused(tmp_path: Path, binding: str, message: Reply, field: str) -> None:
    async def test(peer: Peer) -> None:
        told = await fails(peer, "INVALID_PARAMS", "SendMessage", message=message)
        if field:
            [violation, *_] = told["details"][1]["fieldViolations"]
            assert violation["field"] == field
        assert await peer.desk.fetch() == []

    run_peer(test, tmp_path, binding)


@both
def test_other_forms_of_the_same_json_are_read(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        part = {"data": {"big": 2**53 + 1}, "media_type": "application/json", "text": None, "new": 1}
        message = {"message_id": "m1", "role": 1, "parts": [part], "metadata": {"n": 2**60}, "future": {}}
        await peer.call("SendMessage", message=message, configuration={"return_immediately": True})
        [found] = await peer.desk.fetch()
        assert found["parts"] == [{"data": {"big": 2**53 + 1}, "mediaType": "application/json"}]
        assert found["metadata"] == {"n": 2**60}
        assert found["a2a"] == {"messageId": "m1", "role": "ROLE_USER"}

    run_peer(test, tmp_path, binding)


@both
def test_only_a_version_that_is_spoken_is_served(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        for version in ("1.1", "2.0", "abc"):
            peer.headers["a2a-version"] = version
            await fails(peer, "VERSION_NOT_SUPPORTED", "SendMessage", message=MESSAGE)
        for version in ("1.0", "1.0.1"):
            peer.headers["a2a-version"] = version
            await peer.send()
        del peer.headers["a2a-version"]
        request = peer.request("ListTasks", {})
        request.url = request.url.copy_merge_params({"A2A-Version": "1.0"})
        assert (await peer.site.client.send(request)).status_code == 200
        if binding == RPC:
            await fails(peer, "VERSION_NOT_SUPPORTED", "SendMessage", message=MESSAGE)

    run_peer(test, tmp_path, binding)


@both
def test_an_extension_that_the_agent_requires_must_be_known(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        capabilities = {"extensions": [{"uri": "urn:need", "required": True}, {"uri": "urn:may"}]}
        await peer.desk.call("agent_register", name=BOX, card=full_card(capabilities))
        told = await fails(peer, "EXTENSION_SUPPORT_REQUIRED", "SendMessage", message=MESSAGE)
        assert "urn:need" in told["message"]
        peer.headers["a2a-extensions"] = "urn:other, urn:need"
        await peer.send()

    run_peer(test, tmp_path, binding)


def full_card(capabilities: Reply) -> Reply:
    return {
        "name": "Box",
        "description": "Takes things.",
        "supportedInterfaces": [
            {"url": "https://else.where", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
        "version": "1",
        "capabilities": capabilities,
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s", "name": "Store", "description": "Stores.", "tags": ["keep"]}],
    }


@both
def test_a_full_mailbox_says_so(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        await peer.desk.call("mailbox_create", address="full", settings={"messages_max": 1})
        full = Peer(peer.site, binding, "full")
        await full.send()
        await fails(full, "RESOURCE_EXHAUSTED", "SendMessage", message={**MESSAGE, "messageId": "m2"})

    run_peer(test, tmp_path, binding)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b'"\xff"', -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b'{"jsonrpc": "1.0", "method": "GetTask", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": "GetTask", "id": true}', -32600),
        (b'{"jsonrpc": "2.0", "method": "Nope", "id": 1}', -32601),
        (b'{"jsonrpc": "2.0", "method": "no/such", "id": 1}', -32601),
        (b'{"jsonrpc": "2.0", "method": "GetTask", "id": 1, "params": []}', -32602),
        (b'{"jsonrpc": "2.0", "method": "GetTask", "id": 1, "params": {}}', -32602),
    ],
)
def test_what_is_no_request_is_told_so(tmp_path: Path, body: bytes, code: int) -> None:
    async def test(peer: Peer) -> None:
        headers = {**peer.headers, "content-type": "application/json"}
        for path in ("/a2a/box", "/a2a/box/"):
            answer = await peer.site.client.post(path, content=body, headers=headers)
            assert answer.status_code == 200
            assert answer.json()["error"]["code"] == code

    run_peer(test, tmp_path, RPC)


def test_paths_and_verbs_that_are_not_there(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        client, headers = peer.site.client, peer.headers
        for verb, path, status in (
            ("GET", "/a2a/box", 405),
            ("GET", "/a2a/box/v1/message:send", 405),
            ("GET", "/a2a/box/v1/nothing", 404),
            ("GET", "/a2a/box/elsewhere", 404),
            ("POST", "/.well-known/agent-card.json", 405),
            ("GET", "/search", 405),
        ):
            given: Reply | None = {} if verb == "POST" else None
            answer = await client.request(verb, path, headers=headers, json=given)
            assert (path, answer.status_code) == (path, status)
            assert ("allow" in answer.headers) == (status == 405)
        answer = await client.post("/a2a/box/v1/message:send", content=b"{", headers={**headers, **JSON})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)

    run_peer(test, tmp_path, HTTP)


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json, text/plain",
        "application/jsonx",
        "",
    ],
)
@both
def test_a_body_that_is_no_json_is_refused_in_words_of_a2a(tmp_path: Path, binding: str, kind: str) -> None:
    async def test(peer: Peer) -> None:
        for version in ("1.0", "0.3"):
            params = {"message": MESSAGE, "configuration": {"returnImmediately": True}}
            request = peer.request("SendMessage", params, a2a_version=version, content_type=kind)
            failure = await peer.client.send(request)
            assert failure.status_code == 415
            error = failure.json()["error"]
            assert error["code"] == (-32005 if binding == RPC else 415)
            [info] = error["data" if binding == RPC else "details"]
            assert info["reason"] == "CONTENT_TYPE_NOT_SUPPORTED"
        assert (await peer.call("ListTasks"))["tasks"] == []

    run_peer(test, tmp_path, binding)


@pytest.mark.parametrize(
    "kind", ["application/a2a+json", "application/json; Charset=UTF-8", "Application/JSON;v=1"]
)
@both
def test_every_kind_of_json_is_taken(tmp_path: Path, binding: str, kind: str) -> None:
    async def test(peer: Peer) -> None:
        params = {"message": MESSAGE, "configuration": {"returnImmediately": True}}
        answer = await peer.client.send(peer.request("SendMessage", params, content_type=kind))
        assert "task" in result_of(answer)

    run_peer(test, tmp_path, binding)


@both
def test_the_tenant_of_a_request_to_the_broker_itself_names_the_mailbox(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        params = {"message": MESSAGE, "configuration": {"returnImmediately": True}}
        client, headers = peer.site.client, peer.headers
        if binding == RPC:
            rpc = {"jsonrpc": "2.0", "id": 7, "method": "SendMessage", "params": params}
            plain = await client.post("/a2a", json=rpc, headers=headers)
            assert plain.json()["error"]["code"] == -32602
            assert plain.json()["error"]["data"][0]["metadata"]["code"] == "NO_MATCHING_AGENT"
            named = {**rpc, "params": {**params, "tenant": BOX}}
            for path in ("/a2a", "/a2a/", "/a2a/box"):
                answer = await client.post(path, json=named, headers=headers)
                assert "task" in answer.json()["result"]
            other = await client.post("/a2a/other", json=named, headers=headers)
            assert other.json()["error"]["code"] == -32602
        else:
            plain = await client.post("/a2a/v1/message:send", json=params, headers=headers)
            assert (plain.status_code, plain.json()["error"]["details"][0]["reason"]) == (
                404,
                "AGENT_NOT_FOUND",
            )
            answer = await client.post(f"/a2a/v1/{BOX}/message:send", json=params, headers=headers)
            task = answer.json()["task"]
            found = await client.get(f"/a2a/v1/{BOX}/tasks/{task['id']}", headers=headers)
            assert found.json() == task

    run_peer(test, tmp_path, binding)


@both
def test_who_calls_is_told_as_at_the_other_doors(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        client = peer.site.client
        request = peer.request("ListTasks", {}, authorization="Bearer x")
        answer = await client.send(request)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        task = await Peer(peer.site, binding, agent="carol").send()
        [message] = await peer.desk.fetch()
        assert message["from"] == "carol"
        await update(peer.desk, message, "completed", message="done")
        [notice] = await peer.desk.fetch("carol", "carol")
        assert notice["task"] == task["id"], "an agent hears in its own mailbox too"

    run_peer(test, tmp_path, binding)


@both
def test_a_broker_that_stops_says_so(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        broker: Broker = peer.desk.broker
        await broker.close()
        failure = await peer.failure("SendMessage", message=MESSAGE)
        assert failure.code == (-32603 if binding == RPC else 503)
        assert failure.info["metadata"]["code"] == "SHUTTING_DOWN"

    run_peer(test, tmp_path, binding)
