"""Who may knock, and how much at a time: real connections to a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mq9_mcp.domain.errors import CODES
from tests.serve.http import JSON, Answer, Line, ask, call, get, head, metric
from tests.serve.process import eventually, serving

BODY_MAX, HEAD_MAX = 4096, 2048
SEND = json.dumps({"to": "anna", "text": "hi"}).encode()


@pytest.fixture(name="url", scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with small bounds."""
    data = tmp_path_factory.mktemp("guard") / "data"
    with serving(
        data,
        request_bytes_max=BODY_MAX,
        header_bytes_max=HEAD_MAX,
        bodies_bytes_max=16 * 1024 * 1024,
        allowed_hosts="mq9.example",
        allowed_origins="https://app.example",
    ) as server:
        yield server.url


@pytest.fixture(name="busy", scope="module")
def busy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with room for one call, one that waits, and three connections."""
    data = tmp_path_factory.mktemp("busy") / "data"
    with serving(data, calls_max=1, waiting_max=1, connections_max=3) as server:
        yield server.url


def post(url: str, **headers: str) -> Answer:
    """A send with these headers, ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(url, "POST", "/v1/mailbox_send", {"Mq9-Agent": "anna", **named}, SEND)


def refused(answer: Answer, code: str) -> str:
    """The message of a refusal in the one error shape."""
    error = answer.json["error"]
    assert (error["code"], answer.status) == (code, CODES[code].status)
    assert answer.headers["content-type"] == "application/json"
    message: str = error["message"]
    return message


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:1",
        "LOCALHOST",
        "127.0.0.1:9009",
        "127.9.9.9",
        "[::1]",
        "[::1]:9",
        "mq9.example",
    ],
)
def test_a_loopback_or_allowed_host_gets_in(url: str, host: str) -> None:
    assert post(url, Host=host, **JSON_HEADER).status == 200


JSON_HEADER = {"Content_Type": "application/json"}


def test_two_kinds_of_content_are_none(url: str) -> None:
    two = {"Content-Type": "text/plain", "content-type": "application/json"}
    refused(ask(url, "POST", "/v1/mailbox_send", two, SEND), "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9009",
        "10.0.0.1",
        "0.0.0.0",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "mq9.example.evil",
        "evil.example@127.0.0.1",
        "127.0.0.1/evil.example",
        "localhost#.evil.example",
        "[::1%evil.example]",
    ],
)
@pytest.mark.parametrize("path", ["/v1/mailbox_send", "/health", "/metrics", "/nothing"])
def test_a_foreign_host_does_not(url: str, host: str, path: str) -> None:
    method = "POST" if path.startswith("/v1") else "GET"
    answer = ask(url, method, path, {**JSON, "Host": host}, SEND if method == "POST" else b"")
    assert "Host" in refused(answer, "POLICY_VIOLATION")


def test_one_host_is_named_exactly_once(url: str) -> None:
    for hosts in (
        b"",
        b"Host: localhost\r\nHost: evil.example\r\n",
        b"Host: localhost\r\nHost: localhost\r\n",
    ):
        with Line(url) as line:
            line.write(b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n")
            assert line.answer().code == "POLICY_VIOLATION"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "http://127.0.0.1",
        "https://[::1]:8",
        "https://app.example",
        "http://mq9.example",
    ],
)
def test_a_near_or_allowed_origin_gets_in(url: str, origin: str) -> None:
    assert post(url, Origin=origin, **JSON_HEADER).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example@localhost",
        "evil://localhost",
        "https://evil.example",
        "null",
        "",
        "http://app.example",
        "https://app.example.evil",
        "http://[::1",
    ],
)
def test_a_foreign_origin_does_not(url: str, origin: str) -> None:
    assert "Origin" in refused(post(url, Origin=origin, **JSON_HEADER), "POLICY_VIOLATION")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
def test_json_gets_in(url: str, kind: str) -> None:
    assert post(url, Content_Type=kind).status == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "",
        "application/json; charset=utf-16",
        "application/jsonx",
        "application/a2a+json",
    ],
)
def test_what_a_form_can_post_does_not(url: str, kind: str) -> None:
    assert "Content-Type" in refused(post(url, Content_Type=kind), "INVALID_ARGUMENT")


def test_a_body_without_a_type_does_not_get_in(url: str) -> None:
    assert "Content-Type: none" in refused(post(url), "INVALID_ARGUMENT")
    assert "Content-Type: none" in refused(ask(url, "POST", "/v1/mailbox_list", {}), "INVALID_ARGUMENT")


def test_a_call_that_only_listens_needs_no_body_and_no_type(url: str) -> None:
    path, version = "/a2a/anna/v1/tasks/task-none:subscribe", {"A2A-Version": "1.0"}
    answer = ask(url, "POST", path, version, b"")
    assert (answer.status, answer.json["error"]["details"][0]["reason"]) == (404, "TASK_NOT_FOUND")
    for wrong, body in ((path, SEND), (path.replace("subscribe", "cancel"), b"")):
        answer = ask(url, "POST", wrong, version, body)
        assert (answer.status, answer.json["error"]["status"]) == (415, "INVALID_ARGUMENT")
    refused(ask(url, "POST", path, {**version, "Origin": "https://evil.example"}, b""), "POLICY_VIOLATION")


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(url: str) -> None:
    with Line(url) as line:
        line.begin("/v1/mailbox_send", JSON, BODY_MAX + 1)
        message = refused(line.answer(), "BATCH_TOO_LARGE")
        assert str(BODY_MAX + 1) in message
        assert f"request_bytes_max, {BODY_MAX}" in message
        line.write(b"x" * (BODY_MAX + 1))  # what comes all the same is thrown away
        line.post("mailbox_send", {"to": "anna", "text": "next"})
        assert line.answer().status == 200


def test_a_body_that_does_not_say_how_large_it_is_ends_at_the_limit(url: str) -> None:
    with Line(url) as line:
        line.write(
            head("POST", "/v1/mailbox_send", {"Host": "localhost", **JSON, "Transfer-Encoding": "chunked"})
        )
        for _ in range(BODY_MAX // 1024 + 1):
            line.write(b"400\r\n" + b" " * 1024 + b"\r\n")
        assert "request_bytes_max" in refused(line.answer(), "BATCH_TOO_LARGE")
    eventually(lambda: metric(url, "mq9_calls_in_work") == 0, "the call ends")


def test_a_body_of_the_largest_size_gets_in_whole_or_in_pieces(url: str) -> None:
    body = SEND + b" " * (BODY_MAX - len(SEND))
    assert ask(url, "POST", "/v1/mailbox_send", {**JSON, "Mq9-Agent": "anna"}, body).status == 200
    with Line(url) as line:
        named = {"Host": "localhost", **JSON, "Mq9-Agent": "anna", "Transfer-Encoding": "chunked"}
        line.write(head("POST", "/v1/mailbox_send", named))
        for at in range(0, BODY_MAX, 512):
            line.write(b"200\r\n" + body[at : at + 512] + b"\r\n")
        line.write(b"0\r\n\r\n")
        assert line.answer().status == 200


def test_a_head_that_is_too_large_is_refused(url: str) -> None:
    assert "header_bytes_max" in refused(post(url, X="x" * HEAD_MAX, **JSON_HEADER), "INVALID_ARGUMENT")
    with Line(url) as line:
        line.write(head("GET", "/health?" + "x" * HEAD_MAX, {"Host": "localhost"}))
        assert "header_bytes_max" in refused(line.answer(), "INVALID_ARGUMENT")


def test_a_head_without_end_is_cut_off(url: str) -> None:
    with Line(url) as line:
        line.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        with pytest.raises(ConnectionError):
            line.write(b"x" * 64 * 1024 * 1024)
    assert get(url, "/health").status == 200


def test_what_is_no_http_is_refused(url: str) -> None:
    with Line(url) as line:
        line.write(b"\x16\x03\x01nonsense\r\n\r\n")
        assert line.answer().status == 400
        assert line.ended()


def test_a_path_or_method_that_is_none_has_the_error_shape(url: str) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("DELETE", "/health", 405)):
        answer = ask(url, method, path, {})
        assert (answer.status, answer.code) == (status, "INVALID_ARGUMENT")
        assert (
            "accepted: POST /v1/{command}, /mcp and /a2a/{address}; GET /v1/openapi.json, /v1/events, "
            in answer.json["error"]["message"]
        )
    assert "GET" in answer.headers["allow"]


def overloaded(answer: Answer, name: str) -> None:
    """It was refused for now, and says when to come again."""
    assert name in refused(answer, "RATE_LIMITED")
    assert int(answer.headers["retry-after"]) >= 1


def test_calls_beyond_the_limit_are_refused_at_once_and_health_is_answered(busy: str) -> None:
    with Line(busy) as working:
        working.begin("/v1/mailbox_send", {**JSON, "Mq9-Agent": "anna"}, len(SEND))
        eventually(lambda: metric(busy, "mq9_calls_in_work") == 1, "the call is in work")
        overloaded(call(busy, "mailbox_send", to="anna", text="no"), "calls_max")
        assert get(busy, "/health").status == 200
        assert get(busy, "/ready").status == 200
        working.write(SEND)
        assert working.answer().status == 200
    assert call(busy, "mailbox_send", to="anna", text="again").status == 200


def test_calls_that_wait_are_counted_apart(busy: str) -> None:
    with Line(busy) as waiting:
        waiting.post("mailbox_fetch", {"wait_s": 50}, agent="berta")
        eventually(lambda: metric(busy, "mq9_calls_waiting") == 1, "it waits")
        overloaded(call(busy, "mailbox_fetch", agent="carl", wait_s=50), "waiting_max")
        assert call(busy, "mailbox_fetch", agent="carl").status == 200
        assert call(busy, "mailbox_send", to="berta", text="wake up").status == 200
        assert waiting.answer().json["messages"][0]["parts"] == [{"text": "wake up"}]


def test_connections_beyond_the_limit_get_one_answer(busy: str) -> None:
    lines = [Line(busy) for _ in range(3)]
    try:
        eventually(lambda: metric_of(lines[0], "mq9_connections") == 3, "they are open")
        answer = call(busy, "mailbox_send", to="anna", text="no")
        overloaded(answer, "connections_max")
        assert answer.headers["connection"] == "close"
        assert get(busy, "/health").status == 200
        lines[1].post("mailbox_send", {"to": "anna", "text": "one of them"})
        assert lines[1].answer().status == 200
    finally:
        for line in lines:
            line.hang_up()
    eventually(lambda: call(busy, "mailbox_send", to="anna", text="yes").status == 200, "there is room again")


def metric_of(line: Line, name: str) -> float:
    """A metric, asked over a connection that is there already."""
    line.write(head("GET", "/metrics", {"Host": line.host}))
    rows = line.answer().body.decode().splitlines()
    return float(next(row.split()[1] for row in rows if row.startswith(name + " ")))


def test_bodies_of_all_calls_together_are_bounded(tmp_path: Path) -> None:
    size = 16 * 1024 * 1024
    with serving(tmp_path / "data", bodies_bytes_max=size) as server, Line(server.url) as large:
        large.begin("/v1/mailbox_send", JSON, size)
        eventually(lambda: metric(server.url, "mq9_calls_in_work") == 1, "the large one is in work")
        overloaded(call(server.url, "mailbox_send", to="anna", text="x"), "bodies_bytes_max")
        large.hang_up()
        eventually(lambda: call(server.url, "mailbox_send", to="anna", text="x").status == 200, "room again")
