"""Refusals that cost little: the connection itself answers what there is no room for, and stays of use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from mq9_mcp.doors import wire
from mq9_mcp.doors.guard import Load
from mq9_mcp.doors.head import Heads
from mq9_mcp.doors.web.app import alive
from tests.serve.http import JSON, Line, call, get, head, metric
from tests.serve.process import eventually, serving

SEND = json.dumps({"to": "anna", "text": "hi"}).encode()
NAMED = {**JSON, "Mq9-Agent": "anna"}


@pytest.fixture(name="url", scope="module")
def full_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with room for one call."""
    with serving(tmp_path_factory.mktemp("wire") / "data", calls_max=1) as server:
        yield server.url


@contextmanager
def full(url: str) -> Iterator[Line]:
    """The one call is in work until its body comes; it is done at the end."""
    with Line(url) as working:
        working.begin("/v1/mailbox_send", NAMED, len(SEND))
        eventually(lambda: metric(url, "mq9_calls_in_work") == 1, "it is in work")
        yield working
        working.write(SEND)
        assert working.answer().status == 200


def test_a_refused_call_leaves_the_connection_of_use(url: str) -> None:
    with Line(url) as line:
        with full(url):
            for _ in range(3):  # whoever does not wait is answered all the same, a little later
                line.post("mailbox_send", {"to": "anna", "text": "no"})
                answer = line.answer()
                assert (answer.status, answer.code) == (429, "RATE_LIMITED")
                assert answer.headers["retry-after"] == "1"
        line.post("mailbox_send", {"to": "anna", "text": "yes"})
        assert line.answer().status == 200


def test_the_body_of_a_refused_call_is_thrown_away_whenever_it_comes(url: str) -> None:
    with Line(url) as line:
        with full(url):
            line.begin("/v1/mailbox_send", NAMED, 3_000_000)
            assert line.answer().status == 429
            for _ in range(3):
                line.write(b"x" * 1_000_000)
        line.post("mailbox_send", {"to": "anna", "text": "next"})
        assert line.answer().status == 200


def test_whoever_wants_the_connection_to_end_gets_that_too(url: str) -> None:
    with full(url), Line(url) as line:
        line.write(head("POST", "/v1/mailbox_send", {"Host": line.host, "Connection": "close", **NAMED}))
        assert line.answer().status == 429
        assert line.ended()


def test_calls_one_behind_the_other_on_a_connection_are_all_answered(url: str) -> None:
    """Pipelined: the second one comes while the first is in work, so it is not counted twice."""
    body = json.dumps({"to": "anna", "text": "both"}).encode()
    one = (
        head("POST", "/v1/mailbox_send", {"Host": "localhost", **NAMED, "Content-Length": str(len(body))})
        + body
    )
    with Line(url) as line:
        line.write(one + one)
        assert {line.answer().status, line.answer().status} <= {200, 429}
    eventually(lambda: metric(url, "mq9_calls_in_work") == 0, "nothing is left over")
    assert call(url, "mailbox_send", to="anna", text="after").status == 200


def test_a_caller_that_vanishes_in_mid_request_leaves_room(url: str) -> None:
    for _ in range(3):
        with Line(url) as line:
            line.begin("/v1/mailbox_send", NAMED, 100)
            eventually(lambda: metric(url, "mq9_calls_in_work") == 1, "it is in work")
        eventually(lambda: metric(url, "mq9_calls_in_work") == 0, "it is over")
    assert call(url, "mailbox_send", to="anna", text="after").status == 200


def test_an_address_that_is_none_is_refused_and_counts_nothing(url: str) -> None:
    for _ in range(3):
        with Line(url) as line:
            line.write(b"POST http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert line.answer().status == 400
    assert call(url, "mailbox_send", to="anna", text="after").status == 200


def test_a_burst_gets_in_and_steady_load_is_kept_small() -> None:
    now = 100.0
    load = Load(8, 2, clock=lambda: now)

    def taken(calls: int) -> int:
        """How many of so many calls at once are let in; all of them end."""
        before = load.calls
        for _ in range(calls):
            load.calls += not load.full()
        taken, load.calls = load.calls - before, before
        return taken

    assert taken(20) == 8, "a burst"
    now += 0.5
    assert taken(20) == 8, "not longer than a burst may last"
    now += 0.25
    assert [taken(20), taken(1)] == [2, 1], "busy for longer than that"
    now += 0.25
    assert taken(20) == 2
    now += 0.75
    assert taken(20) == 8, "it was quiet for a while"


def test_the_start_of_the_data_directory_is_private(tmp_path: Path) -> None:
    with serving(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_in_an_open_data_directory_the_mail_is_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    with serving(data) as server:
        assert call(server.url, "mailbox_send", to="anna", text="hi").status == 200
        eventually((data / "mq9.duckdb.wal").exists, "the tables have a log")
        files = [path for path in data.rglob("*") if path.is_file()]
        assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_trailers_are_no_headers_and_have_an_end(url: str) -> None:
    chunked = {**NAMED, "Transfer-Encoding": "chunked"}
    with Line(url) as line:
        begin = head("POST", "/v1/mailbox_send", {"Host": line.host, **chunked})
        body = b"%x\r\n%s\r\n0\r\n" % (len(SEND), SEND)
        line.write(begin + body + b"Host: evil.example\r\nMq9-Agent: boss\r\nMq9-Key: k\r\n\r\n")
        assert line.answer().status == 200
        line.write(begin + body)
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            line.write((b"X: " + b"x" * 10_000 + b"\r\n") * 1_000)


def test_whoever_reads_no_answers_is_not_read_for_ever(url: str) -> None:
    with Line(url) as line:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        line.socket.settimeout(1)
        many = head("GET", "/health", {"Host": line.host}) * 1_000
        with pytest.raises(TimeoutError):
            line.write(many * 400)
    assert get(url, "/health").status == 200


def test_a_body_that_comes_byte_by_byte_holds_no_call_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte comes in time, all together do not."""
    monkeypatch.setattr(wire, "COMING_S", 1)

    async def body() -> None:
        async with asyncio.timeout(30), listening() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            headers = {"Host": "localhost", **NAMED, "Content-Length": "1000"}
            writer.write(head("POST", "/v1/mailbox_send", headers))
            while True:
                writer.write(b" ")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        assert await reader.read() == b""
                        break
            writer.close()

    asyncio.run(body())


@pytest.mark.parametrize("requests", [1, 3])
def test_a_caller_that_hangs_up_is_noticed_whatever_stands_behind_its_request(requests: int) -> None:
    async def body() -> None:
        begun, heard = asyncio.Event(), asyncio.Event()

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            begun.set()
            await receive()
            while (await receive())["type"] != "http.disconnect":
                pass
            await send({"type": "http.response.body", "body": b"nobody reads it"})
            heard.set()

        async with asyncio.timeout(30), listening(stream) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head("GET", "/a2a", {"Host": "localhost"}) * requests)
            await begun.wait()
            writer.close()
            await heard.wait()

    asyncio.run(body())


async def _read_all(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    while (await receive()).get("more_body"):
        pass


@asynccontextmanager
async def listening(app: ASGIApp = _read_all) -> AsyncIterator[int]:
    """Connections of a server in this process, before an application; their port."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
    config.load()
    state = ServerState()
    kind = wire.bounded(10, Heads(32_768, (), ()), Load(10, 10), alive())
    server = await asyncio.get_running_loop().create_server(
        lambda: kind(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*state.tasks)
