"""Cards, the catalogue and the search: agents are found by who does not know them."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from mq9_a2a.words import NUMBERS

from tests.a2a_door.site import BOX, HTTP, Peer, both, run_peer
from tests.a2a_door.test_errors import full_card
from tests.support import START_MS, Reply

CARD = "/.well-known/agent-card.json"
CATALOG = "/.well-known/ai-catalog.json"
SHORT = {
    "name": "Billing",
    "description": "Answers questions about invoices.",
    "skills": [
        {
            "name": "Refund",
            "description": "Refunds an invoice.",
            "tags": ["money"],
            "examples": ["refund invoice 12"],
        }
    ],
}


async def get(peer: Peer, path: str) -> Reply:
    answer = await peer.site.client.get(path)
    assert answer.status_code == 200, answer.text
    found: Reply = answer.json()
    return found


def test_a_registered_agent_has_its_card_at_our_address(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        base = f"http://127.0.0.1:{peer.site.port}"
        signed = {
            **full_card({"extensions": [{"uri": "urn:x"}]}),
            "signatures": [{"protected": "p", "signature": "s"}],
        }
        await peer.desk.call("agent_register", name="signed", card=signed)
        await peer.desk.call("agent_register", card=SHORT)
        for name, shown in (("signed", "Box"), ("billing", "Billing")):
            card = await get(peer, f"/a2a/{name}{CARD}")
            assert card["name"] == shown
            assert "signatures" not in card, "they were made for another address"
            interfaces = [
                (one["url"], one["protocolBinding"], one["protocolVersion"])
                for one in card["supportedInterfaces"]
            ]
            assert interfaces == [
                (f"{base}/a2a/{name}", "JSONRPC", "1.0"),
                (f"{base}/a2a/{name}/v1", "HTTP+JSON", "1.0"),
                (f"{base}/a2a/{name}", "JSONRPC", "0.3"),
            ]
            assert card["capabilities"]["streaming"]
            assert NUMBERS in [one["uri"] for one in card["capabilities"]["extensions"]]
            ParseDict(card, AgentCard(), ignore_unknown_fields=True)

    run_peer(test, tmp_path, HTTP)


def test_every_mailbox_of_the_caller_has_a_card_and_no_other(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        await peer.desk.call("mailbox_create", "eve", principal="eve", address="secret")
        assert (await get(peer, f"/a2a/{BOX}{CARD}"))["name"] == BOX
        for name in ("secret", "nobody", "no..address"):
            assert (await peer.site.client.get(f"/a2a/{name}{CARD}")).status_code == 404
        own = await get(peer, CARD)
        assert own == await get(peer, f"/a2a{CARD}")
        assert own["name"] == "mq9"

    run_peer(test, tmp_path, HTTP)


def test_a_card_is_fetched_again_only_when_it_changed(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        await peer.desk.call("agent_register", card=SHORT)
        for path in (f"/a2a/billing{CARD}", CARD, CATALOG):
            first = await peer.site.client.get(path)
            assert "max-age" in first.headers["cache-control"]
            assert parsedate_to_datetime(first.headers["last-modified"]).timestamp() * 1000 == START_MS
            known = {"if-none-match": f'"other", {first.headers["etag"]}'}
            again = await peer.site.client.get(path, headers=known)
            assert (again.status_code, again.content) == (304, b"")
            head = await peer.site.client.head(path)
            assert (head.status_code, head.headers["etag"]) == (200, first.headers["etag"])
        path = f"/a2a/billing{CARD}"
        before = (await peer.site.client.get(path)).headers["etag"]
        await peer.desk.call("agent_register", card={**SHORT, "description": "Another."})
        assert (await peer.site.client.get(path, headers={"if-none-match": before})).status_code == 200

    run_peer(test, tmp_path, HTTP)


@both
def test_the_extended_card_is_the_card(tmp_path: Path, binding: str) -> None:
    async def test(peer: Peer) -> None:
        card = await get(peer, f"/a2a/{BOX}{CARD}")
        older = {"url", "preferredTransport", "protocolVersion", "supportsAuthenticatedExtendedCard"}
        assert card.keys() >= older
        shown = {name: value for name, value in card.items() if name not in older}
        assert await peer.call("GetExtendedAgentCard") == shown, "clients of 1.0 alone ask for it so"

    run_peer(test, tmp_path, binding)


def test_agents_are_listed_and_searched(tmp_path: Path) -> None:
    async def test(peer: Peer) -> None:
        await peer.desk.call("agent_register", card=SHORT)
        await peer.desk.call(
            "agent_register", card={"name": "Painter", "description": "Paints houses.", "skills": []}
        )
        catalog = await get(peer, CATALOG)
        assert [one["displayName"] for one in catalog["entries"]] == ["Billing", "Painter", "mq9"]
        entry = catalog["entries"][0]
        assert entry["representativeQueries"] == ["refund invoice 12"]
        assert (await peer.site.client.get(entry["url"])).json()["name"] == "Billing"
        client = peer.site.client
        search = {"query": {"text": "refund my invoice"}}
        [found] = (await client.post("/search", json=search)).json()["results"]
        assert {name: found[name] for name in entry} == entry
        assert 0 < found["score"] <= 100
        assert isinstance(found["score"], int)
        search["query"]["filter"] = {"type": ["application/mcp-server+json"]}  # type: ignore[assignment]
        assert (await client.post("/search", json=search)).json() == {"results": []}
        wrongs: list[Any] = [{}, {"query": {}}, {"query": {"text": ""}}, []]
        for wrong in wrongs:
            answer = await client.post("/search", json=wrong)
            assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")

    run_peer(test, tmp_path, HTTP)
