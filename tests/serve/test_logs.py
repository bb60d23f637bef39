"""The log: one line an event, for people or programs, and nothing in it that a caller sent."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from mq9_mcp.doors.guard import Bounds, Guard, Load
from mq9_mcp.doors.head import Heads
from mq9_mcp.serve.logs import JsonLines, TextLines
from tests.engine.test_faults import WeakDisk
from tests.serve.http import JSON, ask, call, get
from tests.serve.process import ENVIRONMENT, serving
from tests.serve.test_web import caller
from tests.support import Desk, run

SECRET = "swordfish"


def test_nothing_of_a_call_is_logged(tmp_path: Path) -> None:
    with serving(tmp_path / "data", log_level="debug", slow_call_s=0) as server:
        assert call(server.url, "mailbox_send", to="anna", text=SECRET).status == 200
        named = {**JSON, "Authorization": f"Bearer {SECRET}", "Mq9-Agent": SECRET}
        assert ask(server.url, "POST", "/v1/mailbox_send", named, SECRET.encode()).status == 401
        assert ask(server.url, "POST", f"/{SECRET}", {"Host": SECRET}, SECRET.encode()).status == 403
        assert get(server.url, f"/?{SECRET}").status == 404
    [slow] = server.logged("slow_call")
    assert (slow["command"], slow["outcome"], slow["level"]) == ("mailbox_send", "OK", "warning")
    assert SECRET not in server.words.read_text()
    assert {"time", "level", "logger", "message"} <= slow.keys()


def test_a_fault_is_logged_by_number_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        raise ValueError(SECRET)

    async def body() -> None:
        load = Load(1, 1)
        guard = Guard(broken, Heads(4096, (), ()), Bounds(4096, 4096), load)
        async with caller(guard) as client:
            answer = await client.post("/v1/x", json={"a": SECRET})
            assert answer.status_code == 500
            error = answer.json()["error"]
            assert error["code"] == "INTERNAL"
            assert SECRET not in answer.text
            assert "ValueError" not in answer.text
        assert (load.calls, load.faults) == (0, 1)
        [record] = [one for one in caplog.records if one.name == "mq9.doors"]
        line = JsonLines().format(record)
        assert json.loads(line)["log_id"] == error["details"]["log_id"]
        assert "ValueError" in line
        assert any("in broken" in at or at.endswith(" broken") for at in json.loads(line)["at"])
        assert SECRET not in line + TextLines().format(record)

    asyncio.run(body())


def test_a_failed_write_and_its_end_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = WeakDisk()

    async def body(desk: Desk) -> None:
        disk.fail("write")
        await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text=SECRET)
        disk.heal()
        await desk.engine.repaired()

    run(body, tmp_path, "box", disk=disk)
    events = [vars(record).get("event") for record in caplog.records]
    assert events == ["write_failed", "write_recovered"]
    assert SECRET not in caplog.text


def test_tables_that_fall_behind_and_that_they_go_on_are_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(desk: Desk) -> None:
        await desk.send(text=SECRET)
        await desk.query()
        os.kill(desk.engine.folder.pid, signal.SIGKILL)
        await desk.send(text=SECRET)
        assert len(await desk.query()) == 2

    run(body, tmp_path, "box", fold_apart=True)
    events = [vars(record).get("event") for record in caplog.records if record.name == "mq9.engine"]
    assert events == ["fold_failed", "fold_recovered"]
    assert SECRET not in caplog.text


def record(message: str, **extra: object) -> logging.LogRecord:
    """A record as a logger makes it."""
    fields = {"name": "mq9.x", "levelname": "INFO", "levelno": logging.INFO, "msg": message, "created": 1.5}
    return logging.makeLogRecord({**fields, **extra})


def test_lines_are_one_line_whatever_they_say() -> None:
    nasty = record("a\nb\x1b[31m", event="x", data="c\nd", path=Path("/p"))
    text = TextLines().format(nasty)
    assert text == '1970-01-01T00:00:01.500Z info    a\\x0ab\\x1b[31m data="c\\nd" path="/p"'
    line = JsonLines().format(nasty)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "logger": "mq9.x",
        "message": "a\nb\x1b[31m",
        "event": "x",
        "data": "c\nd",
        "path": "/p",
    }


def test_an_exception_is_named_and_not_quoted() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        failed = record("it failed", exc_info=sys.exc_info())
    assert SECRET not in TextLines().format(failed) + JsonLines().format(failed)
    assert json.loads(JsonLines().format(failed))["error"] == "ValueError"


FILL = """
import logging, sys
from pathlib import Path
from mq9_mcp.serve.logs import set_up_logs, take_down_logs
handler = set_up_logs("info", "text", Path(sys.argv[1]))
for number in range(3000):
    logging.getLogger("mq9.x").info("x" * 1000)
print("the interpreter's words", file=sys.stderr)
take_down_logs(handler)
"""


def test_a_log_file_is_bounded_and_takes_what_the_interpreter_says(tmp_path: Path) -> None:
    file = tmp_path / "new" / "mq9.log"
    subprocess.run([sys.executable, "-c", FILL, str(file)], check=True, env=ENVIRONMENT, timeout=60)
    files = sorted(file.parent.iterdir())
    assert [one.name for one in files] == ["mq9.log", "mq9.log.1"]
    assert all(one.stat().st_size <= 1024 * 1024 + 100 for one in files)
    assert all(one.stat().st_mode & 0o077 == 0 for one in files)
    assert file.read_text().endswith("the interpreter's words\n")


def test_a_log_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "mq9_mcp.serve", "--data", str(tmp_path / "data")]
    ended = subprocess.run(
        [*command, "--log-file", str(tmp_path / "file" / "log")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("mq9: log_file: ")
