"""Starting and stopping: the first screen, refused starts; a stop loses nothing and keeps nobody waiting."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.serve.http import JSON, Line, call, get, metric
from tests.serve.process import Server, eventually, serving

SEND = json.dumps({"to": "anna", "text": "hi"}).encode()


def waits(url: str, calls: int = 1) -> None:
    """Return when so many calls wait."""
    eventually(lambda: metric(url, "mq9_calls_waiting") == calls, f"{calls} wait")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_who_waits_and_keeps_what_was_acknowledged(number: int, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        with Line(server.url) as fetch, Line(server.url) as send:
            fetch.post("mailbox_fetch", {"wait_s": 50})
            send.post(
                "mailbox_send", {"to": "berta", "text": "kept", "wait_for": "acked", "wait_s": 50}, "berta"
            )
            waits(server.url, 2)
            begin = time.monotonic()
            server.signal(number)
            assert fetch.answer().json["messages"] == []
            assert send.answer().json["receipts"][0]["reached"] == "stored"
            assert server.end() == 0
            assert time.monotonic() - begin < 25
        events = [one["event"] for one in server.events()]
        assert events == ["started", "stopping", "stopped"]
        assert (data / "owner.lock").read_bytes() == b""
    with serving(data) as server:
        [message] = call(server.url, "mailbox_fetch", agent="berta").json["messages"]
        assert message["parts"] == [{"text": "kept"}]


def test_during_a_stop_no_new_work_is_taken_and_a_second_signal_cuts_connections(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as server:
        assert call(server.url, "mailbox_send", to="anna", text="kept").status == 200
        with Line(server.url) as late, Line(server.url) as slow:
            for line in (late, slow):
                line.begin("/v1/mailbox_send", {**JSON, "Mq9-Agent": "anna"}, len(SEND))
            eventually(lambda: metric(server.url, "mq9_calls_in_work") == 2, "both are in work")
            server.signal()
            eventually(lambda: server.logged("stopping"), "it stops")
            late.write(SEND)
            answer = late.answer()
            assert (answer.status, answer.code) == (503, "SHUTTING_DOWN")
            assert int(answer.headers["retry-after"]) >= 1
            begin = time.monotonic()
            server.signal()
            assert server.end() == 0
            assert time.monotonic() - begin < 8, "it waited for the slow one all the same"
        assert server.logged("stop_now")
    with serving(data) as server:
        query = call(server.url, "mailbox_query", mailbox="anna").json
        assert [message["parts"][0]["text"] for message in query["messages"]] == ["kept"]


def test_a_fetch_whose_caller_hung_up_takes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        gone = Line(server.url)
        gone.post("mailbox_fetch", {"wait_s": 50})
        waits(server.url)
        gone.hang_up()
        waits(server.url, 0)
        call(server.url, "mailbox_send", to="anna", text="for the next one")
        [message] = call(server.url, "mailbox_fetch").json["messages"]
        assert message["attempt"] == 1
        assert metric(server.url, 'mq9_commands_total{command="mailbox_fetch",outcome="HUNG_UP"}') == 1


def test_it_says_in_plain_words_what_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = Server(data)
    url = server.ready()
    assert server.process.stdout is not None
    words = server.process.stdout.readline() + server.process.stdout.readline()
    assert f"data: {data}\n" in words.decode()
    assert "all of them are principal 'local'" in words.decode()
    assert json.loads((data / "owner.lock").read_text()) == {"pid": server.process.pid, "address": url}
    assert get(url, "/health").json["pid"] == server.process.pid
    server.signal()
    assert server.end() == 0


def test_it_serves_although_nobody_reads_its_words(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    assert server.process.stdout is not None
    server.process.stdout.close()
    eventually(lambda: server.logged("started"), "it started")
    server.url = server.logged("started")[0]["message"].split()[-1]
    assert get(server.url, "/ready").status == 200
    server.signal()
    assert server.end() == 0


def refused_start(server: Server, code: int) -> str:
    """The words of a start that must be refused."""
    assert server.end() == code
    [event] = server.logged("refused_start")
    message: str = event["message"]
    return message


def test_a_second_start_is_told_who_has_the_data(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        message = refused_start(Server(tmp_path / "data"), 1)
        assert f"process id {server.process.pid} at {server.url}" in message
        port = server.url.rpartition(":")[2]
        assert f"process id {server.process.pid}" in refused_start(Server(tmp_path / "data", port=port), 1)
        assert call(server.url, "mailbox_send", to="anna", text="unharmed").status == 200


def test_a_port_of_another_program_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = refused_start(Server(tmp_path / "data", port=port), 2)
        assert str(port) in message
        assert "--port 0" in message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "mq9.example"])
def test_it_refuses_to_listen_beyond_this_machine(host: str, tmp_path: Path) -> None:
    message = refused_start(Server(tmp_path / "data", host=host), 2)
    assert repr(host) in message
    assert "authentication" in message
    assert not (tmp_path / "data").exists()


def test_damaged_data_is_refused_with_the_next_step(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "mq9.duckdb").write_bytes(b"this is no database" * 1000)
    server = Server(data)
    assert server.end() in (1, 3)
    assert "mq9.duckdb" in server.logged("refused_start")[0]["message"]


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_it_listens_on_every_loopback_address(host: str, tmp_path: Path) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(tmp_path / "data", host=host) as server:
        assert call(server.url, "mailbox_send", to="anna", text="hi").status == 200


def has_ipv6() -> bool:
    """True if this machine has the loopback address of IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
