"""Resources, prompts, completion and subscriptions: the same rights, the same fences, the same names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import (
    PromptReference,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
    TextContent,
    TextResourceContents,
)

from mq9_mcp.broker.catalogue import CATALOGUE
from mq9_mcp.domain.state import Caller
from mq9_mcp.doors.mcp_tools.handles import TaskHandles
from mq9_mcp.doors.mcp_tools.listening import Listening
from mq9_mcp.doors.mcp_tools.prompts import PROMPTS
from mq9_mcp.doors.mcp_tools.reading import Reading
from mq9_mcp.doors.mcp_tools.uris import NOUNS, Place, place_of, template, touched
from tests.mcp_door.host import ERAS, host, reply_of
from tests.mcp_door.test_fence import POISON, split
from tests.rest.site import Site, run_site
from tests.support import Desk, run

BOX = "mq9://mailboxes/box"


async def text_at(client: Client, uri: str) -> str:
    """The text of a resource."""
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert (content.mime_type, str(content.uri)) == ("text/plain", uri)
    return content.text


def card_of(name: str) -> dict[str, Any]:
    """The card of a cook."""
    return {"name": name, "description": "cooks", "skills": []}


# --- resources


@pytest.mark.parametrize("era", ERAS)
def test_a_mailbox_is_read_with_its_messages_fenced(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as client:
            await reply_of(client, "mailbox_send", to="box", text=POISON)
            outside, inside = split(await text_at(client, BOX))
            assert outside[1].startswith("mailbox: address box; owner local")
            assert not [line for line in outside if POISON in line]
            assert inside[-1].endswith(POISON)
            assert (await site.desk.fetch())[0]["attempt"] == 1, "reading took nothing"

    run_site(body, tmp_path, "box")


@pytest.mark.parametrize("era", ERAS)
def test_tasks_conversations_and_agents_are_read_fenced(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as client:
            card = {
                "name": "Bob",
                "description": POISON,
                "skills": [{"name": "weigh", "description": POISON}],
            }
            await site.call("agent_register", agent="bob", card=card)
            sent = await reply_of(client, "mailbox_send", to="bob", text=POISON, task=True)
            task = sent["receipts"][0]["task"]
            [work] = (await site.call("mailbox_fetch", agent="bob"))["messages"]
            await site.call(
                "task_update", agent="bob", task=task, lease=work["lease"], state="completed", message=POISON
            )
            for uri, says in (
                (f"mq9://tasks/{task}", f"task {task}: completed; version 3; mailbox bob; asker alice"),
                (f"mq9://sessions/{work['session']}", f"session: id {work['session']}; state open; turns 2"),
                ("mq9://agents/bob", "agent bob; status available; mailbox bob; version 1"),
            ):
                outside, inside = split(await text_at(client, uri))
                assert outside[1].startswith(says)
                assert not [line for line in outside if POISON in line]
                assert any(POISON in fenced for fenced in inside)

    run_site(body, tmp_path)


def test_resources_are_listed_by_the_page_and_templates_are_what_there_is(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        for number in range(101):
            await site.desk.call("mailbox_create", address=f"box-{number:03}")
        for era in ERAS:
            await listed(site, era)

    async def listed(site: Site, era: str) -> None:
        async with host(site, era) as client:
            first = await client.list_resources()
            assert [str(one.uri) for one in first.resources][:2] == [
                "mq9://mailboxes/box-000",
                "mq9://mailboxes/box-001",
            ]
            assert first.next_cursor is not None
            rest = await client.list_resources(cursor=first.next_cursor)
            assert len(first.resources) + len(rest.resources) == 101
            assert rest.next_cursor is None
            with pytest.raises(MCPError, match="INVALID_ARGUMENT: cursor"):
                await client.list_resources(cursor="x" * 300)
            found = (await client.list_resource_templates()).resource_templates
            assert [one.uri_template for one in found] == [template(name) for name in NOUNS]

    run_site(body, tmp_path)


@pytest.mark.parametrize(
    "uri",
    [
        "mq9://mailboxes/nobody",
        "mq9://mailboxes/",
        "mq9://mailboxes/No%20Address",
        "mq9://tasks/task-none",
        "mq9://sessions/none",
        "mq9://agents/nobody",
        "mq9://x/y",
        "file:///etc/passwd",
    ],
)
def test_what_is_not_there_is_not_found(tmp_path: Path, uri: str) -> None:
    async def body(site: Site) -> None:
        for era in ERAS:
            async with host(site, era) as client:
                with pytest.raises(MCPError, match="Resource not found") as caught:
                    await client.read_resource(uri)
                assert caught.value.error.code == -32602

    run_site(body, tmp_path)


@pytest.mark.parametrize("name", ["box", "a.b_c-d", "with space", "sl/ash", "ü", "%41", "a?b#c"])
def test_a_name_goes_into_an_address_and_comes_back(name: str) -> None:
    assert place_of(Place("mailboxes", name).uri) == Place("mailboxes", name)


def test_an_event_touches_what_it_names() -> None:
    events = [
        {
            "event": "sent",
            "messages": [{"id": 7, "mailbox": "box"}, {"id": 8, "mailbox": "b", "session": "s"}],
        },
        {"event": "task_moved", "task": "t1", "agent": "worker"},
        {"event": "acked", "mailbox": "box", "ids": [7]},
    ]
    assert {*touched(events)} == {
        Place("mailboxes", "box"),
        Place("mailboxes", "b"),
        Place("sessions", "mq9.7"),
        Place("sessions", "s"),
        Place("tasks", "t1"),
        Place("agents", "worker"),
    }


def test_who_may_not_read_is_told_nothing_not_even_that_it_is_there(tmp_path: Path) -> None:
    hers = "mq9://mailboxes/hers"

    async def body(desk: Desk) -> None:
        reading = Reading(desk.broker)
        stranger = Caller("mallory", "mallory")
        assert "mailbox" in await reading.look(Caller("local", None), hers)
        for uri in (hers, "mq9://mailboxes/nobody"):
            with pytest.raises(MCPError) as caught:
                await reading.look(stranger, uri)
            name = uri.rpartition("/")[2]
            assert caught.value.error.message.replace(name, "") == (
                "Resource not found: mq9://mailboxes/: MAILBOX_NOT_FOUND: there is no mailbox '' "
                "(mailbox_create makes one; agent_discover lists agents)"
            )
        listening = Listening(desk.broker, reading, TaskHandles(desk.broker))
        assert await listening.visible(stranger, [hers]) == {}
        assert [*await listening.visible(Caller("local", None), [hers])] == [Place("mailboxes", "hers")]

    run(body, tmp_path, "hers")


# --- subscriptions


def test_a_program_of_the_newest_version_listens(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            wanted = [BOX, "mq9://mailboxes/nobody"]
            async with client.listen(resource_subscriptions=wanted) as told:
                assert told.honored.resource_subscriptions == [BOX]
                await site.call("mailbox_send", to="other", text="x")
                await site.call("mailbox_send", to="box", text="x")
                assert await anext(aiter(told)) == ResourceUpdated(uri=BOX)
                await site.call("mailbox_fetch", mailbox="box")
                assert await anext(aiter(told)) == ResourceUpdated(uri=BOX)

    run_site(body, tmp_path, "box", "other")


def test_a_listener_takes_no_room_and_ends_with_the_broker(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client, client.listen(resource_subscriptions=[BOX]) as told:
            ending = asyncio.ensure_future(_all(told))
            await site.desk.broker.close()
            assert await ending == []

    run_site(body, tmp_path, "box")


async def _all(told: Any) -> list[Any]:
    return [one async for one in told]


def test_a_program_hears_of_tasks_agents_and_conversations(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            await site.call(
                "agent_register", agent="bob", card={"name": "bob", "description": "cooks", "skills": []}
            )
            sent = await reply_of(client, "mailbox_send", to="bob", text="x", task=True, session="talk")
            task = sent["receipts"][0]["task"]
            wanted = [f"mq9://tasks/{task}", "mq9://sessions/talk", "mq9://agents/bob"]
            async with client.listen(resource_subscriptions=wanted) as told:
                assert told.honored.resource_subscriptions == wanted
                heard = aiter(told)
                await site.call("mailbox_fetch", agent="bob")
                assert await anext(heard) == ResourceUpdated(uri=wanted[0])
                await reply_of(client, "mailbox_send", to="bob", text="y", session="talk")
                assert await anext(heard) == ResourceUpdated(uri=wanted[1])
                await site.call("agent_report", agent="bob", status="busy")
                assert await anext(heard) == ResourceUpdated(uri=wanted[2])

    run_site(body, tmp_path)


@asynccontextmanager
async def told_host(site: Site) -> AsyncIterator[tuple[Client, asyncio.Queue[str]]]:
    """A host of the handshake versions that hears what changed."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.put_nowait(str(message.params.uri))

    async with host(site, "legacy", message_handler=hear) as client:
        yield client, heard


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
def test_a_session_subscribes_and_unsubscribes(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with told_host(site) as (client, heard):
            await client.subscribe_resource(BOX)
            await client.subscribe_resource("mq9://mailboxes/other")
            with pytest.raises(MCPError, match="Resource not found"):
                await client.subscribe_resource("mq9://mailboxes/nobody")
            await site.call("mailbox_send", to="box", text="x")
            assert await heard.get() == BOX
            await client.unsubscribe_resource(BOX)
            await site.call("mailbox_send", to="box", text="x")
            await site.call("mailbox_send", to="other", text="x")
            assert await heard.get() == "mq9://mailboxes/other"

    run_site(body, tmp_path, "box", "other")


# --- prompts and completion


@pytest.mark.parametrize("era", ERAS)
def test_prompts_name_only_tools_that_there_are(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as client:
            found = (await client.list_prompts()).prompts
            assert [one.name for one in found] == list(PROMPTS)
            for one in found:
                given = {gap.name: "some thing" for gap in one.arguments or ()}
                needed = {gap.name: "x" for gap in one.arguments or () if gap.required}
                for arguments in (given, needed):
                    [message] = (await client.get_prompt(one.name, arguments)).messages
                    assert isinstance(message.content, TextContent)
                    words = {word.partition("(")[0].strip(".,:;") for word in message.content.text.split()}
                    named = {
                        word
                        for word in words
                        if word.partition("_")[0] in ("mailbox", "task", "agent", "session")
                    }
                    assert {word for word in named if "_" in word and "=" not in word} <= set(CATALOGUE)

    run_site(body, tmp_path)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("nothing", {}, "Unknown prompt"),
        ("hand_over", {}, "work: missing"),
        ("work_inbox", {"box": "x"}, "'box': unknown; accepted: mailbox"),
    ],
)
def test_a_prompt_that_cannot_be_made_says_why(
    tmp_path: Path, name: str, arguments: dict[str, str], says: str
) -> None:
    async def body(site: Site) -> None:
        async with host(site, "auto") as client:
            with pytest.raises(MCPError, match=says):
                await client.get_prompt(name, arguments)

    run_site(body, tmp_path)


@pytest.mark.parametrize("era", ERAS)
def test_addresses_are_completed(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        async with host(site, era) as client:
            gap = ResourceTemplateReference(uri=template("mailboxes"))
            found = (await client.complete(gap, {"name": "name", "value": "bo"})).completion
            assert (found.values, found.total, found.has_more) == (["box", "box-2"], 2, False)
            prompt = PromptReference(name="work_inbox")
            found = (await client.complete(prompt, {"name": "mailbox", "value": "box-"})).completion
            assert found.values == ["box-2"]
            nothing = (await client.complete(prompt, {"name": "other", "value": ""})).completion
            assert nothing.values == []

    run_site(body, tmp_path, "box", "box-2", "other")


@pytest.mark.parametrize("era", ERAS)
def test_agents_are_completed(tmp_path: Path, era: str) -> None:
    async def body(site: Site) -> None:
        for name in ("weigher", "weaver", "cook"):
            await site.call(
                "agent_register", agent=name, card={"name": name, "description": "cooks", "skills": []}
            )
        async with host(site, era) as client:
            gap = ResourceTemplateReference(uri=template("agents"))
            found = (await client.complete(gap, {"name": "name", "value": "we"})).completion
            assert (found.values, found.total) == (["weaver", "weigher"], 2)

    run_site(body, tmp_path)
