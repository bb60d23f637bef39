"""What passes through the bridge, in both eras of the protocol, to a small server of the official SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridge.host import NEW, OLD, Small, hosting, small
from tests.serve.process import eventually

ERAS = pytest.mark.parametrize("version", [OLD, NEW])


@pytest.fixture(name="server", scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """One server for all tests that leave it alive."""
    with small(tmp_path_factory.mktemp("small")) as server:
        yield server


@ERAS
def test_a_tool_is_called_as_the_agent_named_after_client_and_folder(
    server: Small, version: str, tmp_path: Path
) -> None:
    project = tmp_path / "My Project"
    project.mkdir()
    with hosting("--url", server.url, version=version, folder=project) as host:
        told = host.open()["instructions"]
        assert told.startswith("Small, and for tests.\n\nThe agent here is test-host-my-project, ")
        assert host.text(host.call("mailbox_send", to="anna", text="hi")) == "hi"
        names = [tool["name"] for tool in host.result(host.ask("tools/list"))["tools"]]
        assert "mailbox_fetch" in names
    out, err = host.rest()
    assert out == []
    assert any("test-host-my-project" in line for line in err)
    assert server.calls("mailbox_send")[-1]["agent"] == "test-host-my-project"


@ERAS
def test_a_chosen_agent_is_who_calls(server: Small, version: str) -> None:
    with hosting("--url", f"{server.url}/mcp", version=version, MQ9_AGENT="boss") as host:
        assert "The agent here is boss." in host.open()["instructions"]
        assert host.text(host.call("mailbox_send", to="anna", text="hi")) == "hi"
    assert server.calls("mailbox_send")[-1]["agent"] == "boss"


@ERAS
def test_what_is_sent_stays_as_it_is_and_gets_a_key(server: Small, version: str) -> None:
    with hosting("--url", server.url, version=version) as host:
        host.open()
        words = "ü\u2028 \\n \x7f 12345678901234567890123"
        assert host.text(host.call("mailbox_send", to="anna", text=words)) == words
        assert host.text(host.call("mailbox_send", to="anna", text="x", dedup_key="mine")) == "x"
    first, second = server.calls("mailbox_send")[-2:]
    assert first["text"] == words
    assert len(first["dedup_key"]) == 32
    assert second["dedup_key"] == "mine"


@ERAS
def test_progress_and_cancellation_pass(server: Small, version: str) -> None:
    with hosting("--url", server.url, version=version) as host:
        host.open()
        before = len(server.calls("fetch_ended"))
        id = host.call("mailbox_fetch", _meta={"progressToken": "p"}, wait_s=50)
        assert host.hear("notifications/progress")["params"]["progressToken"] == "p"
        assert host.hear("notifications/progress")["params"]["progress"] == 2
        host.say(method="notifications/cancelled", params={"requestId": id})
        eventually(lambda: len(server.calls("fetch_ended")) == before + 1, "the call ends there")
        assert host.result(host.ask("tools/list"))["tools"]
    assert id not in [message.get("id") for message in host.heard], "a cancelled request has no answer"


@ERAS
def test_the_end_of_stdin_ends_what_waits(server: Small, version: str) -> None:
    with hosting("--url", server.url, version=version) as host:
        host.open()
        before = len(server.calls("fetch_ended"))
        host.call("mailbox_fetch", _meta={"progressToken": 1}, wait_s=50)
        host.hear("notifications/progress")
        assert host.end() == 0
    eventually(lambda: len(server.calls("fetch_ended")) == before + 1, "the call ends there")


def test_the_end_of_stdin_lets_an_answer_come_that_is_nearly_there(server: Small) -> None:
    with hosting("--url", server.url) as host:
        id = host.call("mailbox_send", to="anna", text="last")
        assert host.end() == 0
        assert host.text(id) == "last"


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_it_in_order(server: Small, number: int) -> None:
    with hosting("--url", server.url) as host:
        host.open()
        before = len(server.calls("fetch_ended"))
        host.call("mailbox_fetch", _meta={"progressToken": 1}, wait_s=50)
        host.hear("notifications/progress")
        host.process.send_signal(number)
        assert host.process.wait(30) == 0
    eventually(lambda: len(server.calls("fetch_ended")) == before + 1, "the call ends there")


def test_an_elicitation_passes_both_ways(server: Small) -> None:
    with hosting("--url", server.url, version=OLD) as host:
        host.open(elicitation={"form": {}})
        id = host.call("ask_back")
        asked = host.hear("elicitation/create")
        assert asked["params"]["message"] == "Which word?"
        host.say(id=asked["id"], result={"action": "accept", "content": {"word": "cat"}})
        assert host.text(id) == "cat"


def test_a_stream_that_listens_passes(server: Small) -> None:
    with hosting("--url", server.url) as host:
        host.open()
        host.ask("subscriptions/listen", notifications={"resourceSubscriptions": ["small://a"]})
        host.hear("notifications/subscriptions/acknowledged")
        assert host.text(host.call("touch", name="a")) == "a"
        found = host.heard or [host.next()]
        assert [one["params"]["uri"] for one in found] == ["small://a"]


def test_a_subscription_of_a_session_passes(server: Small) -> None:
    with hosting("--url", server.url, version=OLD) as host:
        host.open()
        assert host.result(host.ask("resources/subscribe", uri="small://b")) == {}
        assert host.text(host.call("touch", name="b")) == "b"
        found = host.heard or [host.next()]
        assert [one["params"]["uri"] for one in found] == ["small://b"]


def test_what_is_no_message_gets_an_error_and_the_next_one_an_answer(server: Small) -> None:
    with hosting("--url", server.url) as host:
        for line, code, id in (
            (b"garbage", -32700, None),
            (b'{"jsonrpc": "2.0", "id": 7, "method": "x", ', -32700, 7),
            (b'{"id": 8, "method": "\xff"}', -32700, 8),
            (b"[1]", -32600, None),
            (b'{"jsonrpc": "2.0", "id": 9}', -32600, 9),
            (b"{}", -32600, None),
        ):
            host.write(line)
            said = host.next()
            assert (said["error"]["code"], said["id"]) == (code, id), line
        host.write(b"  ")
        assert host.text(host.call("mailbox_send", to="a", text="b")) == "b"


def test_a_line_over_the_limit_is_refused_by_its_id(server: Small) -> None:
    with hosting("--url", server.url) as host:
        long = json.dumps({"text": "x" * (16 * 2**20)})
        host.write(b'{"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": ' + long.encode() + b"}")
        said = host.next()
        assert (said["id"], said["error"]["code"]) == (5, -32600)
        assert "16777216" in said["error"]["message"]
        assert host.text(host.call("mailbox_send", to="a", text="b")) == "b"


def test_an_id_that_is_open_is_refused(server: Small) -> None:
    with hosting("--url", server.url) as host:
        id = host.call("mailbox_fetch", _meta={"progressToken": 1}, wait_s=50)
        host.hear("notifications/progress")
        host.say(id=id, method="ping", params={})
        while (said := host.next()).get("method"):
            pass
        assert said["id"] is None
        assert "still open" in said["error"]["message"]
