"""A server that dies with calls in flight and comes back: one effect, one answer, or a clear word."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.bridge.host import NEW, OLD, Small, hosting, small

ERAS = pytest.mark.parametrize("version", [OLD, NEW])


@pytest.fixture(name="the_server", scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """One server for all, which takes time to start."""
    with small(tmp_path_factory.mktemp("small")) as server:
        yield server


@pytest.fixture(name="server")
def living_server(the_server: Small) -> Small:
    """It lives, and nothing was called yet."""
    if the_server.process.poll() is not None:
        the_server.start()
    (the_server.folder / "calls").write_text("")
    return the_server


@ERAS
def test_a_send_whose_answer_was_lost_is_sent_again_under_its_key(server: Small, version: str) -> None:
    server.dies_after("mailbox_send")
    with hosting("--url", server.url, version=version) as host:
        host.open()
        id = host.call("mailbox_send", to="anna", text="once")
        server.gone()
        server.start()
        assert host.text(id) == "once"
    first, second = server.calls("mailbox_send")
    assert first["pid"] != second["pid"]
    assert first["dedup_key"] == second["dedup_key"] != ""


@ERAS
def test_what_must_not_be_done_twice_is_not(server: Small, version: str) -> None:
    server.dies_after("task_update")
    with hosting("--url", server.url, version=version) as host:
        host.open()
        result = host.result(host.call("task_update", task="t"))
        assert result["isError"]
        said = result["content"][0]["text"]
        assert "task_update may have been carried out, or not" in said
        assert "task_get" in said
        assert result.get("resultType") == ("complete" if version == NEW else None)
        server.gone()
        server.start()
        assert host.text(host.call("mailbox_send", to="a", text="b")) == "b"
    assert len(server.calls("task_update")) == 1


@ERAS
def test_a_wait_goes_on_for_what_is_left_of_it(server: Small, version: str) -> None:
    with hosting("--url", server.url, version=version) as host:
        host.open()
        host.call("mailbox_fetch", _meta={"progressToken": "p"}, wait_s=50)
        seen = [host.hear("notifications/progress")["params"]["progress"] for _ in range(3)]
        server.kill()
        server.start()
        seen += [host.hear("notifications/progress")["params"]["progress"] for _ in range(3)]
        assert seen == sorted(set(seen)), "progress rises"
    first, second = server.calls("mailbox_fetch")
    assert first["pid"] != second["pid"]
    assert 40 < second["wait_s"] < first["wait_s"] == 50


def test_a_subscription_of_a_session_outlives_the_server(server: Small) -> None:
    with hosting("--url", server.url, version=OLD) as host:
        host.open()
        host.result(host.ask("resources/subscribe", uri="small://a"))
        server.kill()
        server.start()
        missed = host.hear("notifications/resources/updated")
        assert missed["params"]["uri"] == "small://a", "it may have changed meanwhile"
        assert host.text(host.call("touch", name="a")) == "a"
        found = host.heard or [host.next()]
        assert found[-1]["params"]["uri"] == "small://a"
    assert len(server.calls("subscribe")) == 2


def test_a_stream_that_listens_outlives_the_server(server: Small) -> None:
    with hosting("--url", server.url) as host:
        host.open()
        wanted = {"resourceSubscriptions": ["small://a"], "toolsListChanged": True}
        id = host.ask("subscriptions/listen", notifications=wanted)
        host.hear("notifications/subscriptions/acknowledged")
        server.kill()
        server.start()
        assert host.hear("notifications/tools/list_changed")
        missed = host.hear("notifications/resources/updated")["params"]
        assert missed["uri"] == "small://a"
        assert missed["_meta"] == {"io.modelcontextprotocol/subscriptionId": id}
        assert host.text(host.call("touch", name="a")) == "a"
        assert (host.heard or [host.next()])[-1]["params"]["uri"] == "small://a"


def test_an_elicitation_ends_with_the_server_that_asked(server: Small) -> None:
    with hosting("--url", server.url, version=OLD) as host:
        host.open(elicitation={"form": {}})
        id = host.call("ask_back")
        asked = host.hear("elicitation/create")
        server.kill()
        server.start()
        assert host.result(id)["isError"]
        again = host.call("ask_back")
        withdrawn = [one for one in (host.next(), host.next()) if one["method"] == "notifications/cancelled"]
        assert [one["params"]["requestId"] for one in withdrawn] == [asked["id"]]
        host.say(id=asked["id"], result={"action": "accept", "content": {"word": "old"}})
        assert host.text(host.call("mailbox_send", to="a", text="b")) == "b"
        assert server.calls("answered") == []
        host.say(method="notifications/cancelled", params={"requestId": again})


def test_a_stopped_server_is_not_asked_for_what_has_time(server: Small) -> None:
    with hosting("--url", server.url, version=OLD) as host:
        host.open()
        server.kill()
        id = host.call("mailbox_send", to="a", text="late")
        server.start()
        assert host.text(id) == "late"
    assert len(server.calls("mailbox_send")) == 1


def test_where_nobody_is_the_next_step_is_said() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with hosting("--url", url) as host:
            error = host.answer(host.ask("server/discover"))["error"]
            assert url in error["message"]
            assert "mq9 serve" in error["message"]
            result = host.result(host.call("mailbox_send", to="a", text="b"))
            assert result["isError"]
            assert "Next: call again" in result["content"][0]["text"]
            assert result["_meta"]["mq9/error"]["code"] == "CONNECTION_FAILED"


def test_a_server_without_an_mcp_door_is_named(server: Small) -> None:
    with hosting("--url", f"{server.url}/elsewhere") as host:
        error = host.answer(host.ask("server/discover"))["error"]
        assert "404" in error["message"]
        assert "http://127.0.0.1:9009" in error["message"]
