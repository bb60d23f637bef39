"""One daemon for all programs of a data directory, in real processes: joined, killed, recovered, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.daemon import Running, find, join, stop
from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.lock import OwnerLock
from mq9_mcp.settings import Settings
from tests.serve.http import call, get
from tests.serve.process import ENVIRONMENT, eventually, serving

JOIN = """
import sys, json
from pathlib import Path
from mq9_mcp.daemon import join
from mq9_mcp.settings import load_settings
print(json.dumps(join(load_settings({"data": sys.argv[1], "port": "0"}, {}))))
"""


@pytest.fixture(name="data")
def data_directory(tmp_path: Path) -> Iterator[Path]:
    """A data directory whose daemon is ended after the test."""
    yield tmp_path / "data"
    assert stop(tmp_path / "data")


def settings(data: Path, **others: Any) -> Settings:
    """Settings with a free port, unless said otherwise."""
    return Settings(data=data, **{"port": 0, **others})


def test_two_starts_at_once_end_with_one_daemon_and_two_happy_callers(data: Path) -> None:
    command = [sys.executable, "-c", JOIN, str(data)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) for _ in range(2)]
    told = [Running(*json.loads(start.communicate(timeout=60)[0])) for start in starts]
    assert [start.returncode for start in starts] == [0, 0]
    assert told[0] == told[1] == find(data)
    assert get(told[0].url, "/health").json["pid"] == told[0].pid
    assert call(told[0].url, "mailbox_send", to="anna", text="hi").status == 200
    assert os.getsid(told[0].pid) == told[0].pid, "it outlives who started it"
    assert {path.stat().st_mode & 0o077 for path in data.glob("*.lo*")} == {0}


def test_a_killed_daemon_is_no_obstacle(data: Path) -> None:
    first = join(settings(data))
    assert call(first.url, "mailbox_send", to="anna", text="kept").status == 200
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: find(data) is None, "the kernel lets its lock go")
    assert json.loads((data / "owner.lock").read_text())["pid"] == first.pid, "what it left behind"
    second = join(settings(data))
    assert second.pid != first.pid
    assert second == find(data) == join(settings(data))
    [message] = call(second.url, "mailbox_fetch").json["messages"]
    assert message["parts"] == [{"text": "kept"}]


def test_a_stop_ends_it_in_order(data: Path) -> None:
    running = join(settings(data))
    assert stop(data)
    assert find(data) is None
    assert (data / "owner.lock").read_bytes() == b""
    with pytest.raises(ConnectionRefusedError):
        get(running.url, "/health")
    eventually(lambda: "stopped" in (data / "daemon.log").read_text(), "its last words")
    assert stop(data), "nobody has it: nothing to do"


def test_a_relative_path_means_the_folder_of_who_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = join(settings(Path("data")))
    assert find(tmp_path / "data") == running
    assert stop(Path("data"))


def test_a_server_that_somebody_started_by_hand_is_joined(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert join(settings(tmp_path / "data")) == Running(server.url, server.process.pid)
        assert stop(tmp_path / "data")


def test_a_port_that_nobody_asked_for_gives_way(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port: {port}"):
            join(settings(data, port=port, given=frozenset({"port"})))
        running = join(settings(data, port=port))
        assert not running.url.endswith(f":{port}")
        assert get(running.url, "/health").status == 200


def test_the_daemon_has_the_settings_of_who_starts_it(data: Path) -> None:
    running = join(
        settings(data, request_bytes_max=2048, log_format="json", allowed_hosts=("a.example", "b.example"))
    )
    answer = call(running.url, "mailbox_send", to="anna", text="x" * 4096)
    assert (answer.code, "2048" in answer.json["error"]["message"]) == ("BATCH_TOO_LARGE", True)
    lines = (data / "daemon.log").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["started"]


def test_a_daemon_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "mq9.duckdb").write_bytes(b"this is no database" * 1000)
    with pytest.raises(Unavailable, match=r"mq9\.duckdb"):
        join(settings(tmp_path))


def test_what_is_no_daemon_is_neither_found_nor_stopped(tmp_path: Path) -> None:
    """A program with a broker of its own has the directory, but takes no calls; or a file says it has."""
    lock = OwnerLock(tmp_path)
    assert find(tmp_path) is None
    assert not stop(tmp_path, 0.1)
    lock.release()
    stale = {"pid": os.getpid(), "address": "http://127.0.0.1:9"}
    (tmp_path / "owner.lock").write_text(json.dumps(stale))
    assert find(tmp_path) is None
    assert stop(tmp_path), "nobody got a signal"
    assert find(tmp_path / "nowhere") is None
