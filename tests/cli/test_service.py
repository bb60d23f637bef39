"""``mq9 serve``, ``mq9 daemon`` and ``mq9 bench``: real processes, ended by their own signals."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from mq9_mcp.cli import bench, exits, main
from mq9_mcp.daemon import find, stop
from mq9_mcp.engine.embedded.lock import OwnerLock
from tests.cli.person import Person
from tests.cli.processes import running


@pytest.fixture
def anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Person:
    """Somebody at a command line where no broker runs."""
    for name in ("MQ9_URL", "MQ9_AGENT", "MQ9_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MQ9_DATA", str(tmp_path / "data"))
    return Person(capsys)


def test_a_server_is_told_from_its_options_and_ends_in_order(anywhere: Person, tmp_path: Path) -> None:
    data = tmp_path / "served"
    with running("--data", str(data), "serve", "--port", "0", MQ9_LOG_LEVEL="warning") as server:
        found = re.search(r"http://\S+", server.next_line())
        assert found
        assert anywhere.reply("mailbox", "list", "--url", found[0])["mailboxes"] == []
        assert anywhere.reply("mailbox", "list", "--data", str(data))["mailboxes"] == []
        server.send_signal(signal.SIGTERM)
        assert server.wait() == exits.OK
        assert server.err.get() is None
    assert anywhere.mq9("mailbox", "list", "--data", str(data)) == exits.UNAVAILABLE
    assert f"hint: run: mq9 daemon start --data {data}" in anywhere.err


@pytest.mark.parametrize("options", [["--port", "99999"], ["--host", "0.0.0.0"], ["--colour", "red"]])
def test_a_setting_that_makes_no_sense_is_refused(
    anywhere: Person, tmp_path: Path, options: list[str]
) -> None:
    assert anywhere.mq9("serve", "--data", str(tmp_path / "data"), *options) == exits.USAGE
    assert "accepted: " in anywhere.err or "--colour" in anywhere.err
    assert find(tmp_path / "data") is None


def test_a_daemon_is_started_once_found_and_stopped(anywhere: Person, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert anywhere.mq9("daemon", "status") == exits.UNAVAILABLE
    assert anywhere.out == f"no broker owns {data}; mq9 daemon start starts one\n"
    try:
        first = anywhere.reply("daemon", "start", "--port", "0")
        assert first == anywhere.reply("daemon", "start", "--port", "0") == anywhere.reply("daemon", "status")
        assert first["running"] is True
        assert first["data"] == str(data)
        expected = f"mq9 at {first['url']}, process {first['pid']}, data in {data}\n"
        assert anywhere.says("daemon", "status") == expected
        assert anywhere.reply("mailbox", "create", "jobs")["created"] is True  # MQ9_DATA leads to it
        (data / "mq9.toml").write_text("broken")  # no reason not to find and to stop it
        assert anywhere.reply("daemon", "status") == first
        assert anywhere.says("daemon", "stop") == f"stopped process {first['pid']}\n"
        assert anywhere.says("daemon", "stop") == f"no broker owns {data}\n"
        assert anywhere.reply("daemon", "stop") == {"stopped": False}
    finally:
        stop(data)


def test_who_has_the_directory_and_takes_no_calls_is_told(anywhere: Person, tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path / "data")  # as a broker that begins or ends
    try:
        assert anywhere.mq9("daemon", "status") == exits.UNAVAILABLE
        expected = f"process {os.getpid()} has {tmp_path / 'data'}, and takes no calls: "
        assert anywhere.out.startswith(expected)
        assert anywhere.mq9("daemon", "stop", "--timeout", "0") == exits.UNAVAILABLE
        assert f"process {os.getpid()} that has {tmp_path / 'data'} has not ended" in anywhere.err
    finally:
        lock.release()
    assert anywhere.says("daemon", "stop") == f"no broker owns {tmp_path / 'data'}\n"


@pytest.mark.parametrize("command", ["daemon status", "daemon stop", "daemon start", "mailbox list", "serve"])
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_data_path_that_can_be_no_directory_is_refused_in_words(
    anywhere: Person, tmp_path: Path, place: str, command: str
) -> None:
    (tmp_path / "file").write_text("kept")
    code = anywhere.mq9(*command.split(), "--data", str(tmp_path / place))
    assert code == (exits.FAILED if command == "serve" else exits.UNAVAILABLE)
    assert f"{tmp_path / place} cannot be a data directory: Not a directory" in anywhere.err
    assert (tmp_path / "file").read_text() == "kept"


def test_a_directory_that_cannot_be_made_is_refused_in_words(anywhere: Person, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "data")
    assert anywhere.mq9("daemon", "start", "--data", str(tmp_path / "link")) == exits.UNAVAILABLE
    assert f"{tmp_path / 'link'} cannot be a data directory: File exists" in anywhere.err


def test_a_call_without_a_broker_says_what_to_start(anywhere: Person) -> None:
    code = anywhere.mq9("mailbox", "list", "--url", "http://127.0.0.1:9", "--timeout", "0.5")
    assert code == exits.UNAVAILABLE
    assert "mq9 daemon start" in anywhere.err


def test_a_bench_measures_a_broker_of_its_own_and_leaves_nothing(
    anywhere: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    told = anywhere.reply("bench", "--seconds", "0.1", "--callers", "2", "--batch", "10")
    assert told["broker"] == "a temporary broker"
    assert [one["what"].split(",")[0] for one in told["figures"]] == ["send", "fetch", "ack"] * 2
    for one in told["figures"]:
        assert one["calls_per_s"] > 0
        assert 0 < one["p50_ms"] <= one["p99_ms"]
    assert not list(tmp_path.glob("mq9-bench-*"))


def test_a_bench_of_the_broker_that_runs_drops_its_mailbox(person: Person) -> None:
    shown = person.says("bench", "--seconds", "0.1", "--callers", "1")
    assert shown.startswith("the broker at http://")
    assert "messages/s" in shown.lower()
    assert [one for one in person.reply("mailbox", "list")["mailboxes"] if one["owner"] == "local"] == []


@pytest.mark.parametrize(
    "option", ["--seconds=0", "--seconds=1e9", "--callers=0", "--batch=1001", "--bytes=0"]
)
def test_a_bench_is_bounded(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", option]) == exits.USAGE
    assert "accepted: " in capsys.readouterr().err


def test_figures_are_those_of_the_times() -> None:
    figures = bench._figures("send", [0.001 * number for number in range(1, 101)], 200, 2.0)
    assert figures == bench.Figures("send", 50.0, 100.0, 51.0, 100.0)
    assert json.dumps(figures._asdict())
