"""Who a bridge is when nobody says: always a good address, the same one each time, another one elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq9_mcp.bridge.naming import Identity, agent_of, header_value
from mq9_mcp.domain.names import check_new_address


@pytest.mark.parametrize(
    ("client", "folder", "name"),
    [
        ("claude-code", "/w/ada/shop", "claude-code-shop"),
        ("Claude Code", "/w/ada/My Shop/", "claude-code-my-shop"),
        ("Visual Studio Code", "/w/a..b__.c", "visual-studio-code-a-b-c"),
        ("claude-ai", "/", "claude-ai"),
        ("", "/w/shop", "mcp-shop"),
        ("mq9.tool", "/w", "mq9-tool-w"),
        ("codex", "/w/Café", "codex-cafe"),
        ("codex", "/w/магазин", "codex-8a1e74"),
        ("codex", "/w/shop-магазин", "codex-shop-9e235e"),
        ("x" * 60, "/w/" + "y" * 80, "x" * 40 + "-" + "y" * 48 + "-369e80"),
    ],
)
def test_the_name_is_client_and_folder(client: str, folder: str, name: str) -> None:
    assert agent_of(client, folder).name == name


@given(st.text(), st.text())
def test_every_name_is_an_address(client: str, folder: str) -> None:
    check_new_address(agent_of(client, folder).name)


def test_the_first_client_settles_it() -> None:
    said: list[str] = []
    identity = Identity(None, "secret", "/w/shop", said.append)
    assert "mq9-agent" not in identity.headers()
    identity.meet("codex")
    identity.meet("other")
    assert identity.headers()["mq9-agent"] == "codex-shop"
    assert identity.headers()["authorization"] == "Bearer secret"
    assert said == [identity.says()]
    assert "--agent or MQ9_AGENT" in said[0]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("mailbox_send", "mailbox_send"),
        ("mq9://mailboxes/a b", "mq9://mailboxes/a b"),
        (" a", "=?base64?IGE=?="),
        ("ü\n", "=?base64?w7wK?="),
        ("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="),
    ],
)
def test_a_header_holds_any_words(words: str, value: str) -> None:
    assert header_value(words) == value
