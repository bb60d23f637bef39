"""``card_url``: a card from the web, bounded in every way, and never from where the broker must not go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.domain.errors import Mq9Error
from mq9_mcp.domain.limits import limit
from mq9_mcp.peers import cards
from mq9_mcp.peers.cards import CardFetcher
from mq9_mcp.peers.reach import Reach, read_networks
from tests.engine.cards import full, short, skill
from tests.peers.web import Web, web
from tests.support import Desk, opened

Test = Callable[[Web, CardFetcher], Coroutine[Any, Any, None]]


def on_web(test: Test, *, allowed: str = "127.0.0.1") -> None:
    """Run a test with a web that only ``allowed`` lets in."""

    async def body() -> None:
        async with asyncio.timeout(30), web() as site:
            await test(site, CardFetcher(Reach(read_networks([allowed]))))

    asyncio.run(body())


async def refused(fetch: CardFetcher, url: str) -> str:
    """Why there is no card at ``url``; nothing of the path is said again."""
    with pytest.raises(Mq9Error) as caught:
        await fetch(url)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.message.startswith("card_url: ")
    assert "secret" not in str(caught.value)
    return caught.value.message


def test_a_card_is_fetched() -> None:
    async def test(site: Web, fetch: CardFetcher) -> None:
        site.page("/card.json?key=secret", json.dumps(full(), indent=4).encode())
        assert await fetch(site.url("/card.json?key=secret")) == full()
        assert "accept-encoding: identity" in site.heads[0].lower()
        assert f"host: 127.0.0.1:{site.port}" in site.heads[0].lower()

    on_web(test)


def test_registered_by_card_url(tmp_path: Path) -> None:
    async def body() -> None:
        async with asyncio.timeout(30), web() as site, opened(tmp_path) as desk:
            desk.broker.agents._fetch_card = CardFetcher(Reach(read_networks(["127.0.0.1"])))
            site.page("/card.json", json.dumps(full("From Afar")).encode())
            made = await desk.call("agent_register", card_url=site.url())
            assert (made["agent"]["name"], made["agent"]["card"]) == ("from-afar", full("From Afar"))
            site.page("/card.json", json.dumps({**full(), "skills": [{"id": "x"}]}).encode())
            error = await desk.refused("INVALID_ARGUMENT", "agent_register", card_url=site.url())
            assert error.message.startswith("card_url.skills[0].name: missing")
            await _edges_of_the_url(desk, site)

    asyncio.run(body())


async def _edges_of_the_url(desk: Desk, site: Web) -> None:
    most, base = limit("url_characters_max"), site.url("/")
    path = "/" + "p" * (most - len(base))
    site.page(path, json.dumps(short("Far", skill())).encode())
    error = await desk.refused("INVALID_ARGUMENT", "agent_register", card_url=site.url(path + "p"))
    assert str(most) in error.message
    assert (await desk.call("agent_register", card_url=site.url(path)))["created"]


def test_without_an_operators_word_only_public_addresses_are_called() -> None:
    """Whatever the name is that leads there; and nobody is asked."""

    async def test(site: Web, _: CardFetcher) -> None:
        fetch = CardFetcher()
        hosts = ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0")
        for host in (*hosts, "169.254.169.254", "10.0.0.1", "[fe80::1]"):
            said = await refused(fetch, site.url("/secret", host))
            assert "private, loopback or link-local" in said, host
        assert site.asked == []

    on_web(test)


def test_a_redirect_is_checked_like_the_first_address() -> None:
    async def test(site: Web, fetch: CardFetcher) -> None:
        for host in ("localhost", "127.0.0.2", "[::1]", "169.254.169.254"):
            site.redirect("/card.json", site.url("/secret", host))
            said = await refused(CardFetcher(Reach(read_networks(["127.0.0.1/32"])), _own), site.url())
            assert "private, loopback or link-local" in said, host
        for to in ("file:///etc/passwd", "ftp://127.0.0.1/", "http://me:secret@127.0.0.1/"):
            site.redirect("/card.json", to)
            await refused(fetch, site.url())
        assert set(site.asked) == {"/card.json"}

    on_web(test)


async def _own(host: str, _port: int) -> list[str]:
    """A name service in which localhost is another address."""
    return ["127.0.0.3"] if host == "localhost" else [host.strip("[]")]


def test_what_was_checked_is_what_is_connected_to() -> None:
    """A name that leads to a public address at first and to a private one next has no second time."""
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    async def look_up(_host: str, _port: int) -> list[str]:
        return answers.pop(0)

    async def test(site: Web, _: CardFetcher) -> None:
        site.page("/card.json", b"{}")
        fetch = CardFetcher(Reach(read_networks(["127.0.0.1"])), look_up)
        assert await fetch(site.url(host="example.org")) == {}
        assert len(answers) == 1
        assert f"host: example.org:{site.port}" in site.heads[0].lower()

    on_web(test)


def test_a_name_with_one_private_address_is_not_called_at_all() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1", "10.0.0.1"]

    async def test(site: Web, _: CardFetcher) -> None:
        said = await refused(CardFetcher(Reach(read_networks(["127.0.0.1"])), look_up), site.url())
        assert "private" in said
        assert site.asked == []

    on_web(test)


def test_redirects_have_an_end() -> None:
    async def test(site: Web, fetch: CardFetcher) -> None:
        most = limit("card_redirects_max")
        for number in range(most + 1):
            site.redirect(f"/{number}", f"/{number + 1}", "307 Temporary Redirect")
        site.page(f"/{most + 1}", b"{}")
        assert await fetch(site.url("/1")) == {}
        assert f"card_redirects_max is {most}" in await refused(fetch, site.url("/0"))

    on_web(test)


def test_a_card_from_the_web_has_its_size() -> None:
    async def test(site: Web, fetch: CardFetcher) -> None:
        most = limit("card_fetch_bytes_max")
        site.page("/card.json", b"{}".ljust(most))
        assert await fetch(site.url()) == {}
        site.page("/card.json", b"{}".ljust(most + 1))
        assert str(most) in await refused(fetch, site.url())

    on_web(test)


def test_a_card_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit("card_fetch_s") == cards.FETCH_S
    monkeypatch.setattr(cards, "FETCH_S", 0.05)

    async def test(site: Web, fetch: CardFetcher) -> None:
        site.hold.clear()
        assert "card_fetch_s" in await refused(fetch, site.url())

    on_web(test)


def test_so_many_are_fetched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit("card_fetches_max") == cards.AT_ONCE
    monkeypatch.setattr(cards, "AT_ONCE", 1)

    async def test(site: Web, _: CardFetcher) -> None:
        fetch = CardFetcher(Reach(read_networks(["127.0.0.1"])))
        site.page("/one", b'{"n": 1}')
        site.page("/two", b'{"n": 2}')
        site.hold.clear()
        first = asyncio.create_task(fetch(site.url("/one")))
        await site.waiting.wait()
        second = asyncio.create_task(fetch(site.url("/two")))
        await asyncio.wait({second}, timeout=0.05)
        assert site.asked == ["/one"]
        site.hold.set()
        assert [await first, await second] == [{"n": 1}, {"n": 2}]

    on_web(test)


def test_what_is_no_card_is_refused() -> None:
    async def test(site: Web, fetch: CardFetcher) -> None:
        assert "answered 404" in await refused(fetch, site.url("/nothing"))
        for body in (b"", b"[]", b"<html>secret", b"\xff\xfe", b"[" * 100_000, b'{"a": "\xed\xa0\x80"}'):
            site.page("/card.json", body)
            assert "no JSON object" in await refused(fetch, site.url())
        site.page("/card.json", b"secret", "500 Broken")
        assert "answered 500" in await refused(fetch, site.url())
        site.page("/card.json", b"{}", "200 OK", "content-encoding: gzip")
        assert "packed" in await refused(fetch, site.url())
        site.pages["/card.json"] = b"nonsense\r\n\r\n"
        assert "could not be asked" in await refused(fetch, site.url())
        site.pages["/card.json"] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}"
        assert "could not be asked" in await refused(fetch, site.url())
        for url in ("http://a:port/", "http://xn--a/", "http://xn--/"):
            site.redirect("/card.json", url)
            assert "no URL" in await refused(fetch, site.url())
            assert "no URL" in await refused(fetch, url)
        for port in ("0", "99999"):
            assert "accepted: 1 to 65535" in await refused(fetch, f"http://127.0.0.1:{port}/card.json")

    on_web(test)


def test_who_does_not_answer_is_said() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    async def test(site: Web, fetch: CardFetcher) -> None:
        reach = Reach(read_networks(["127.0.0.1"]))
        assert "could not be asked" in await refused(
            CardFetcher(reach, look_up), site.url(host="nowhere.test")
        )
        assert "could not be asked" in await refused(fetch, "http://127.0.0.1:1/secret")

    on_web(test)


def test_a_broker_that_stops_waits_for_no_card(tmp_path: Path) -> None:
    async def body() -> None:
        async with asyncio.timeout(30), web() as site, opened(tmp_path) as desk:
            desk.broker.agents._fetch_card = CardFetcher(Reach(read_networks(["127.0.0.1"])))
            site.hold.clear()
            call = asyncio.create_task(desk.refused("SHUTTING_DOWN", "agent_register", card_url=site.url()))
            await site.waiting.wait()
            await desk.broker.close()
            await call

    asyncio.run(body())
