"""The journal as server-sent events: in order, resumable, and for the eyes of owner and sender only."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from mq9_mcp.domain.state import Caller
from tests.rest.site import Site, error_of, run_site, until
from tests.serve.process import serving


class Told:
    """A stream as a browser reads it: events, and the id it would come back with."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self.comments: list[str] = []
        self._lines = answer.aiter_lines()

    async def __aiter__(self) -> AsyncIterator[tuple[str, Any]]:
        kind, data = "message", ""
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line == "" and data:
                yield kind, json.loads(data)
                kind, data = "message", ""
            elif name == "id":
                self.last_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                data += value
            elif name == "":
                self.comments.append(value)

    async def next(self) -> Any:
        """The next record."""
        async with asyncio.timeout(20):
            async for kind, data in self:
                assert kind == "message"
                assert self.last_id == str(data["seq"])
                return data
        raise AssertionError("the stream has ended")

    async def beat(self) -> None:
        """Return after the next comment."""
        seen = len(self.comments)
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.last_id = line.removeprefix("id: ")
                if line == "" and len(self.comments) > seen:
                    return
                if line.startswith(":"):
                    self.comments.append(line)


@asynccontextmanager
async def listening(
    site: Site, query: str = "", path: str = "/v1/events", **headers: str
) -> AsyncIterator[Told]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with site.client.stream("GET", f"{path}{query}", headers=named) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
        told = Told(answer)
        await told.beat()
        yield told


def kinds(record: Any) -> list[str]:
    return [event["event"] for event in record["events"]]


def test_what_happens_is_told_in_order(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with listening(site) as told:
            receipt = (await site.call("mailbox_send", to="box", text="secret words"))["receipts"][0]
            sent = await told.next()
            assert kinds(sent) == ["mailbox_created", "sent"]
            assert sent["events"][1]["messages"] == [
                {"id": receipt["id"], "mailbox": "box", "from": "alice", "priority": "normal"}
            ]
            [message] = (await site.call("mailbox_fetch", agent="bob", mailbox="box"))["messages"]
            await site.call("mailbox_ack", agent="bob", items=[{"lease": message["lease"]}])
            records = [await told.next() for _ in range(3)]
            assert [kinds(record) for record in records] == [["group_made"], ["leased"], ["acked"]]
            assert records[2]["events"] == [
                {"event": "acked", "mailbox": "box", "group": "default", "ids": [receipt["id"]]}
            ]
            await site.call("mailbox_drop", address="box")
            assert (await told.next())["events"] == [
                {"event": "mailbox_dropped", "mailbox": "box", "reason": "dropped"}
            ]
            assert "secret" not in json.dumps(records) + json.dumps(sent)
            assert message["lease"].split(".")[2] not in json.dumps(records)

    run_site(body, tmp_path, "box")


def test_a_reader_comes_back_where_it_was(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with listening(site, "?after=0") as told:
            first = await told.next()
            assert kinds(first) == ["mailbox_created"]
        await site.call("mailbox_send", to="box", text="1")
        async with listening(site, "?after=0", last_event_id=told.last_id) as told:
            again = await told.next()
            assert (again["seq"], kinds(again)) == (first["seq"] + 1, ["mailbox_created", "sent"])
        async with listening(site, f"?after={first['seq']}") as told:
            assert await told.next() == again

    run_site(body, tmp_path, "box")


def test_from_now_on_leaves_out_what_was(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        await site.call("mailbox_send", to="box", text="before")
        async with listening(site) as told:
            position = told.last_id
            assert position == str(site.desk.engine.journal_span()[1])
            await site.call("mailbox_send", to="box", text="after")
            assert (await told.next())["seq"] == int(position) + 1

    run_site(body, tmp_path, "box")


def test_a_heartbeat_carries_the_place_past_what_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mq9_mcp.doors.rest.events.HEARTBEAT_S", 0.05)

    async def body(site: Site) -> None:
        async with listening(site, mq9_agent="alice") as told:
            theirs = Caller("other", "zoe")
            await site.desk.broker.call(theirs, "mailbox_send", {"to": "zoe", "text": "private"})
            last = str(site.desk.engine.journal_span()[1])
            assert told.last_id != last
            while told.last_id != last:
                await told.beat()
            await site.call("mailbox_send", agent="alice", to="zoe", text="to a stranger")
            [created, sent] = (await told.next())["events"]
            assert (created["mailbox"], sent["messages"][0]["mailbox"]) == ("alice", "zoe")

    run_site(body, tmp_path)


def test_where_a_stream_cannot_begin_is_refused(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async def refused(query: str, message: str, **headers: str) -> None:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await site.client.get(f"/v1/events{query}", headers=named)
            assert error_of(answer, 400) == message

        for _ in range(12):
            await site.call("mailbox_send", to="box", text="x" * 4000)
            for message in (await site.call("mailbox_fetch", mailbox="box"))["messages"]:
                await site.call("mailbox_ack", items=[{"lease": message["lease"]}])
        await site.call("mailbox_query", mailbox="box")
        first, last = site.desk.engine.journal_span()
        assert first > 1
        accepted = f"accepted: {first - 1} to {last}"
        await refused("?after=0", f"after: 0; the journal begins with record {first}; {accepted}")
        await refused(
            f"?after={last + 1}", f"after: {last + 1}; the journal ends with record {last}; {accepted}"
        )
        words = "accepted: the sequence of a record, 0 or more"
        await refused("?after=-1", f"after: '-1'; {words}")
        await refused("?after=", f"after: ''; {words}")
        await refused("", f"Last-Event-ID: 'x'; {words}", last_event_id="x")
        await refused("?since=3", "'since': unknown; accepted: after")
        answer = await site.post("events")
        assert error_of(answer, 405) == "method: 'POST'; accepted: GET, HEAD"
        answer = await site.client.get("/v1/events", headers={"authorization": "Bearer x"})
        error_of(answer, 401, "UNAUTHENTICATED")
        assert (await site.client.head("/v1/events")).status_code == 200

    run_site(body, tmp_path, "box", segment_bytes=16 * 1024, journal_bytes=0)


def test_a_stream_ends_cleanly_when_the_broker_stops(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        async with listening(site) as told:
            await site.call("mailbox_send", to="box", text="the last")
            await site.desk.broker.close()
            async with asyncio.timeout(20):
                records = [data async for _, data in told]
            assert kinds(records[-1])[-1] == "sent"
        error_of(await site.client.get("/v1/events"), 503, "SHUTTING_DOWN")

    run_site(body, tmp_path, "box")


def test_a_stream_ends_cleanly_when_the_server_is_told_to_stop(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        parts = urlsplit(server.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        connection.request("GET", "/v1/events?after=0")
        answer = connection.getresponse()
        assert answer.readline().startswith(b": events after 0")
        server.signal()
        assert answer.read().endswith(b"\n\r\n")  # the end of an event, and a whole answer
        connection.close()


def test_a_reader_that_hangs_up_is_let_go(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        before = len(asyncio.all_tasks())
        async with listening(site):
            assert len(asyncio.all_tasks()) > before + 2
        await until(lambda: len(asyncio.all_tasks()) <= before + 1)  # the watcher for a stop stays

    run_site(body, tmp_path, "box")


def test_a_slow_reader_holds_nothing_up_and_is_told_what_it_missed(tmp_path: Path) -> None:
    """The journal goes on without it, and it hears so when it reads on."""

    async def body(site: Site) -> None:
        caller = site.deaf_connection()
        caller.sendall(b"GET /v1/events?after=0 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        caller.setblocking(False)
        batch = [{"to": "box", "text": "x"} for _ in range(500)]
        while site.desk.engine.journal_span()[0] < 24:
            await site.call("mailbox_send", messages=batch)
            reply = await site.call("mailbox_fetch", mailbox="box", max=500)
            leases = [{"lease": message["lease"]} for message in reply["messages"]]
            await site.call("mailbox_ack", items=leases)
            await site.call("mailbox_query", mailbox="box")
        loop = asyncio.get_running_loop()
        heard = b""
        async with asyncio.timeout(30):
            while b"event: error" not in heard or not heard.endswith(b"0\r\n\r\n"):
                piece = await loop.sock_recv(caller, 2**20)
                assert piece, heard[-300:]
                heard += piece
        caller.close()
        assert b"the journal begins with record" in heard[heard.index(b"event: error") :]

    run_site(body, tmp_path, "box", segment_bytes=64 * 1024, journal_bytes=0)
