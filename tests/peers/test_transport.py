"""httpx over pinned connections: where it goes, what it takes, what it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from mq9_mcp.peers import transport
from mq9_mcp.peers.pinned import OutOfReach
from mq9_mcp.peers.reach import Reach, read_networks
from mq9_mcp.peers.transport import Ourselves, PinnedTransport
from tests.peers.web import Web, web

Test = Callable[[Web, httpx.AsyncClient], Coroutine[Any, Any, None]]
LOOPBACK = Reach(read_networks(["127.0.0.1"]))


@asynccontextmanager
async def client(reach: Reach, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the transport."""
    async with httpx.AsyncClient(transport=PinnedTransport(reach, **options), trust_env=False) as http:
        yield http


def on_web(test: Test) -> None:
    """Run a test with a web that may be called."""

    async def body() -> None:
        async with asyncio.timeout(30), web() as site, client(LOOPBACK) as http:
            await test(site, http)

    asyncio.run(body())


def test_what_is_sent_arrives_and_the_answer_comes_back() -> None:
    async def test(site: Web, http: httpx.AsyncClient) -> None:
        site.page("/rpc?a=b", b'{"ok": true}', "200 OK", "content-type: application/json")
        answer = await http.post(site.url("/rpc?a=b"), json={"n": 1}, headers={"x-word": "weigh"})
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
        assert site.heads[0].startswith("POST /rpc?a=b HTTP/1.1")
        assert "x-word: weigh" in site.heads[0].lower()

    on_web(test)


def test_private_addresses_are_not_called() -> None:
    async def body() -> None:
        async with asyncio.timeout(30), web() as site, client(Reach()) as http:
            for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"):
                with pytest.raises(OutOfReach):
                    await http.get(site.url("/rpc", host))
            assert site.asked == []

    asyncio.run(body())


def test_the_server_itself_is_not_called_under_any_name() -> None:
    async def everywhere(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async def body() -> None:
        async with asyncio.timeout(30), web() as site, web() as other:
            own = ("127.0.0.1", site.port)
            async with client(LOOPBACK, own=lambda: own, look_up=everywhere) as http:
                for host in ("127.0.0.1", "broker.example.com"):
                    with pytest.raises(Ourselves):
                        await http.get(site.url("/rpc", host))
                assert (await http.get(other.url("/rpc", "broker.example.com"))).status_code == 404
            assert site.asked == []

    asyncio.run(body())


def test_redirects_are_answers_and_cookies_are_forgotten() -> None:
    async def test(site: Web, http: httpx.AsyncClient) -> None:
        site.redirect("/rpc", site.url("/secret"))
        assert (await http.get(site.url("/rpc"))).status_code == 302
        site.page("/rpc", b"{}", "200 OK", "set-cookie: a=b")
        for _ in range(2):
            await http.get(site.url("/rpc"))
        assert site.asked == ["/rpc"] * 3
        assert not any("cookie" in head.lower() for head in site.heads)

    on_web(test)


def test_packed_and_endless_answers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(site: Web, http: httpx.AsyncClient) -> None:
        site.page("/rpc", b"x", "200 OK", "content-encoding: gzip")
        with pytest.raises(httpx.DecodingError):
            await http.get(site.url("/rpc"))
        monkeypatch.setattr(transport, "BYTES_MAX", 1000)
        site.page("/rpc", b"x" * 1000)
        assert len((await http.get(site.url("/rpc"))).content) == 1000
        site.page("/rpc", b"x" * 1001)
        with pytest.raises(httpx.DecodingError, match="more than 1000 bytes"):
            await http.get(site.url("/rpc"))

    on_web(test)


def test_who_is_not_there_is_told_from_a_line_that_broke() -> None:
    async def test(site: Web, http: httpx.AsyncClient) -> None:
        site.pages["/rpc"] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"
        with pytest.raises(httpx.ReadError):
            await http.get(site.url("/rpc"))
        with pytest.raises(httpx.ConnectError):
            await http.get("http://127.0.0.1:1/rpc")

    on_web(test)
