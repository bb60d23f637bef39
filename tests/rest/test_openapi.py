"""The OpenAPI document is valid, complete, and true of what a live server answers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import openapi_spec_validator
import pytest

from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.broker.replies import REPLIES
from mq9_mcp.domain.errors import CODES
from mq9_mcp.domain.names import check_address
from mq9_mcp.doors.rest.openapi import PORTABLE, as_dict, document
from tests.rest.site import Site, run_site

DOCUMENT = as_dict()


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every object closed: a field that it does not name is an error."""
    made = copy.deepcopy(document)
    for schema in made["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return made


CLOSED = closed(DOCUMENT)


def check_answer(name: str, answer: httpx.Response) -> None:
    """The answer of a command must be one that the document describes, to the last field."""
    described = DOCUMENT["paths"][f"/v1/{name}"]["post"]["responses"][str(answer.status_code)]
    [(kind, content)] = described["content"].items()
    assert answer.headers["content-type"] == kind
    schema = {**content["schema"], "components": CLOSED["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json())
    if answer.status_code != 200:
        assert f"`{answer.json()['error']['code']}`" in described["description"]


def test_the_document_is_valid_openapi() -> None:
    openapi_spec_validator.validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_command_has_its_operation() -> None:
    operations = {
        path: operation["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for operation in methods.values()
    }
    assert operations == {
        **{f"/v1/{name}": name for name in CATALOGUE},
        "/v1/events": "events",
        "/v1/tasks/{task}/events": "task_events",
        "/v1/openapi.json": "openapi",
    }
    assert {*REPLIES} == {*CATALOGUE}
    for name, entry in CATALOGUE.items():
        assert {*REPLIES[name].__struct_encode_fields__} == {*entry.reply}, name


def test_the_errors_of_a_command_stand_under_their_status() -> None:
    for name, entry in CATALOGUE.items():
        responses = DOCUMENT["paths"][f"/v1/{name}"]["post"]["responses"]
        for code in entry.errors:
            assert f"`{code}`" in responses[str(CODES[code].status)]["description"]


def test_examples_fit_their_schemas() -> None:
    for name, entry in CATALOGUE.items():
        content = DOCUMENT["paths"][f"/v1/{name}"]["post"]["requestBody"]["content"]["application/json"]
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        shown = [example["value"] for example in content.get("examples", {}).values()]
        assert shown == [example.arguments for example in entry.examples]
        for value in shown:
            jsonschema.Draft202012Validator(schema).validate(value)


def test_nothing_that_only_the_code_reads_is_in_it() -> None:
    text = document().decode()
    assert "ud800" not in text
    assert "``" not in text
    assert '"null"' not in text


ADDRESSES = [
    "a",
    "a.b",
    "a..b",
    ".a",
    "a.",
    "a-",
    "-a",
    "a._b",
    "a_.b",
    "A",
    "",
    "a.b.c-d_e",
    "a b",
    "9",
    "é",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_portable_pattern_of_an_address_is_the_same(address: str) -> None:
    pattern = next(portable for known, portable in PORTABLE.items() if "a-z0-9" in known)
    schema = {"type": "string", "pattern": pattern}
    try:
        check_address(address)
    except Exception:
        assert not jsonschema.Draft202012Validator(schema).is_valid(address)
    else:
        jsonschema.Draft202012Validator(schema).validate(address)


class Story:
    """Calls whose every answer is checked against the document; remembers what was answered."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.seen: dict[str, set[int]] = {}

    async def __call__(self, name: str, /, agent: str = "alice", **arguments: Any) -> dict[str, Any]:
        answer = await self.site.post(name, json.dumps(arguments).encode(), agent)
        check_answer(name, answer)
        self.seen.setdefault(name, set()).add(answer.status_code)
        reply: dict[str, Any] = answer.json()
        return reply


async def tell(story: Story) -> None:
    """Every command, with every field that a reply can have."""
    await story("mailbox_create", address="box", description="all", settings={"ttl_s": 900})
    await story("mailbox_create", address="box", settings={"ordered_by": "session"})
    await story("mailbox_update", address="box", settings={"max_attempts": 1})
    await story("mailbox_get", address="box")
    await story("mailbox_get", address="nowhere")
    await story("mailbox_list", limit=1)
    everything: dict[str, Any] = {
        "parts": [
            {"text": "t", "filename": "f", "mediaType": "text/plain", "metadata": {"a": 1}},
            {"data": [2**70, None]},
            {"raw": "AAEC"},
            {"url": "https://example.com/x"},
        ],
        "priority": "urgent",
        "dedup_key": "k",
        "state_key": "s",
        "tags": ["red"],
        "ttl_s": 600,
        "session": "talk",
        "reply_to": "alice",
        "metadata": {"b": [1]},
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    }
    for _ in range(2):
        await story("mailbox_send", to="box", **everything)
    await story("mailbox_send", to=["box", "alice"], text="later", delay_s=60)
    await story("mailbox_send", to="box", text="nobody takes it", wait_for="acked")
    first, second = (await story("mailbox_fetch", mailbox="box", max=2))["messages"]
    await story("mailbox_query", mailbox="box", limit=1)
    items = [
        {"lease": first["lease"], "outcome": "extend", "lease_s": 60},
        {"lease": "1.1.none"},
        {"lease": "x"},
    ]
    await story("mailbox_ack", items=items)
    answer = {"in_reply_to": first["id"], "text": "done"}
    await story("mailbox_ack", items=[{"lease": first["lease"]}], send=answer)
    await story("mailbox_ack", items=[{"lease": "1.1.none"}], send=answer)
    await story("mailbox_ack", items=[{"lease": second["lease"], "outcome": "reject", "reason": "bad"}])
    [letter] = (await story("mailbox_fetch", mailbox="box.dead"))["messages"]
    assert letter["dead_letter"]["reason"] == "bad"
    await story("mailbox_redrive", mailbox="box.dead")
    await story("mailbox_ack", items=[{"lease": letter["lease"], "outcome": "release"}])
    assert (await story("mailbox_redrive", mailbox="box.dead"))["redriven"]
    delayed = (await story("mailbox_query", mailbox="box", state="delayed"))["messages"]
    await story("mailbox_delete", mailbox="box", ids=[delayed[0]["id"]])
    await story("group_list", mailbox="box")
    await story("group_reset", mailbox="box", group="default", to="earliest")
    await story("group_delete", mailbox="box", group="default")
    assert (await story("session_get", session="talk", limit=1))["entries"]
    assert (await story("session_list", limit=1))["sessions"]
    await story("session_close", session="talk")
    await story("mailbox_send", to="box", text="too late", session="talk")
    await story("session_reopen", session="talk")
    await story("mailbox_send", to="box", text="x" * 1_100_000)
    await story("mailbox_drop", address="box")
    await tell_of_agents(story)


async def tell_of_agents(story: Story) -> None:
    """Every command about agents."""
    card = {"name": "robot", "description": "works", "skills": [{"name": "welding", "description": "welds"}]}
    await story("agent_register", card=card)
    await story("agent_register", card={**card, "skills": [{}]})
    await story("agent_report", "robot", status="busy", load=0.5, note="at work")
    [found] = (await story("agent_discover", text="welding"))["agents"]
    assert found.keys() >= {"score", "reason", "skill", "load", "note", "card"}
    await story("agent_discover", limit=1)
    await story("agent_unregister", name="robot", delete_mail=True)
    await story("agent_unregister", name="robot")


async def tell_of_tasks(story: Story) -> None:
    """A task's life, with every field that it can have."""
    [receipt] = (await story("mailbox_send", to="alice", text="work", task={"timeout_s": 600}))["receipts"]
    task = receipt["task"]
    [held] = (await story("mailbox_fetch", max=1, session=receipt["session"]))["messages"]
    update: dict[str, Any] = {"task": task, "lease": held["lease"]}
    await story("mailbox_send", task=task, text="more")
    piece = {"artifact_id": "a", "name": "A", "data": {"n": 1}, "append": True, "last_chunk": True}
    progress = {"done": 1, "total": 2.5, "note": "half"}
    await story("task_update", **update, progress=progress, artifacts=[piece], message="going")
    await story("task_update", **update, checkpoint=[1, None], state="submitted")
    [held] = (await story("mailbox_fetch", max=1, session=receipt["session"]))["messages"]
    assert held["checkpoint"] == [1, None]
    update["lease"] = held["lease"]
    await story("task_update", **update, state="input-required", message=[{"text": "which?"}])
    await story("mailbox_send", task=task, text="that one")
    await story("task_list", asker="alice")
    found = (await story("mailbox_fetch", max=10, session=receipt["session"]))["messages"]
    [answer] = [one for one in found if "question" in one]
    await story("mailbox_send", task=task, text="and more")
    await story("task_cancel", task=task, reason="rain")
    extended = await story("mailbox_ack", items=[{"lease": answer["lease"], "outcome": "extend"}])
    assert extended["results"][0]["cancel_requested"]
    assert extended["results"][0]["follow_ups"]
    [notice] = [one for one in found if "question" not in one]
    done = {"task": task, "lease": answer["lease"], "state": "completed"}
    await story("mailbox_ack", items=[{"lease": notice["lease"]}], tasks=[done])
    assert (await story("task_get", task=task, history=50))["task"]["history"]
    await story("task_get", task="task-none")
    login = {"scheme": "Bearer", "credentials": "secret"}
    for id in ("a", "b"):
        url = f"https://hooks.example/{id}"
        await story("push_set", task=task, url=url, id=id, token="t", authentication=login)
    assert (await story("push_list", limit=1))["remaining"] == 1
    await story("push_delete", task=task, id="a")
    await story("push_set", task="task-none", url="https://hooks.example/")
    await story("push_delete", task="task-none", id="a")


def test_what_a_live_server_answers_is_what_the_document_says(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        answer = await site.client.get("/v1/openapi.json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == DOCUMENT
        story = Story(site)
        await tell(story)
        await tell_of_tasks(story)
        assert {name for name, statuses in story.seen.items() if 200 in statuses} == {*CATALOGUE}
        assert {404, 409, 413} <= set.union(*story.seen.values())

    run_site(body, tmp_path)
