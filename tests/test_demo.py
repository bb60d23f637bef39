"""The demo as a newcomer runs it: processes of its own, real kills, a clean end, and no promise unchecked."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mq9_mcp.demo import run
from mq9_mcp.demo.letters import DESKS, LETTERS
from mq9_mcp.demo.processes import Gone, Program
from mq9_mcp.demo.story import Story
from tests.house.source import ROOT
from tests.serve.process import ENVIRONMENT
from tools.make_demo import PICTURE, TEXT, picture

COMMAND = [sys.executable, "-m", "mq9_mcp.cli"]
# No UTF-8, settings for somebody's own broker, a proxy for the net, warnings that are errors.
HARSH = {
    **ENVIRONMENT,
    "LC_ALL": "C",
    "MQ9_PORT": "none",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "PYTHONUNBUFFERED": "1",
}
PROMISES = 14
DEADLINE_S = 200
DIFFERS = (
    (r"task-\w+", "task-ID"),
    (r"process \d+", "process ID"),
    (r"(http://127\.0\.0\.1:)\d+", r"\1PORT"),
    (r"\d+\.\d+", "0.0"),
    (r"\d+ of 24 letters|from letter \d+|after \d+ receipts|message \d+|held, in \d+ s", "SO MANY"),
    (r"\d+ of 23 are|\w+ has \d+(, \w+ has \d+)*", "SO MANY"),  # near ties fall otherwise elsewhere
)


def shape(text: str) -> list[str]:
    """The lines without what differs from run to run: ids, times, ports and the directory."""
    [home] = re.findall(r"Data: (.+)", text)
    text = text.replace(shlex.quote(f"{home}/data"), "DATA").replace(shlex.quote(home), "HOME")
    text = text.replace(home, "HOME")
    for pattern, name in DIFFERS:
        text = re.sub(pattern, name, text)
    return text.splitlines()


def test_the_demo_runs_as_recorded_and_its_last_words_are_true(tmp_path: Path) -> None:
    keep = tmp_path / "a place"
    ended = subprocess.run(
        [*COMMAND, "demo", "--keep", str(keep)], env=HARSH, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert f"All {PROMISES} promises held" in ended.stdout
    assert ended.stdout.count("  ok  ") == PROMISES
    assert shape(ended.stdout) == shape(TEXT.read_text(encoding="utf-8")), "run: python tools/make_demo.py"
    [task] = set(re.findall(r"task-\w+", ended.stdout))
    last_words = ended.stdout.partition("Look for yourself:\n")[2].splitlines()
    answers = [look(line) for line in last_words if line.startswith("  mq9 ")]
    assert len(answers) == 6
    assert f"{task}" in answers[1]
    assert "completed" in answers[1]
    assert "how to unclog a drain" in answers[2]
    assert "in spanish, meet me tomorrow" in answers[3]
    assert "task.opened" in answers[4] or "message" in answers[4]
    assert sorted(path.name for path in keep.iterdir()) == ["broker.log", "data", "worker.log"]


def look(line: str) -> str:
    """What a reader sees who pastes this line of the demo's last words."""
    words = shlex.split(line)
    environment = {name: value for name, value in HARSH.items() if name != "MQ9_PORT"}
    ended = subprocess.run(
        [*COMMAND, *words[1:]], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 0, line + ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("by", "at", "programs"),
    [(signal.SIGINT, "post-room works", 2), (signal.SIGTERM, "mq9 serve runs", 1)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_who_interrupts_it_finds_nothing_left(
    tmp_path: Path, by: signal.Signals, at: str, programs: int
) -> None:
    environment = {**HARSH, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [*COMMAND, "demo"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    ids = []
    for line in process.stdout:
        ids += [int(id) for id in re.findall(r"process (\d+)", line)]
        if at in line:
            break
    process.send_signal(by)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (130, "")
    assert len(ids) == programs
    for id in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(id, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_promise_that_does_not_hold_fails_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lie(story: Story) -> None:
        story.check("two is two", True)
        story.check("two is three", False)

    monkeypatch.setattr(run, "SCENES", (lie,))
    lines: list[str] = []
    assert run.run_demo(tmp_path / "new", lines.append) == 1
    assert lines[-3:-1] == ["1 of 2 promises did not hold:", "  two is three"]


def test_a_broker_that_cannot_start_fails_the_demo_in_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text("in the way")
    lines: list[str] = []
    assert run.run_demo(tmp_path, lines.append) == 1
    assert any("the broker did not start" in line and "in the way" not in line for line in lines)
    assert run.run_demo(tmp_path / "data" / "below", lines.append) == 1
    assert any("Not a directory" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    async def ending(story: Story) -> None:
        story.worker = await Program.start("mq9_mcp.demo.worker", stderr=subprocess.DEVNULL)
        with pytest.raises(Gone, match="the worker ended with code 1"):
            await story.with_worker(asyncio.Event().wait())

    async def body() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await ending(Story(tmp_path / "data", print))

    asyncio.run(body())


def test_the_letters_are_rows_of_the_data_set() -> None:
    def rows(part: str) -> set[tuple[str, str]]:
        packed = ROOT / "benchmarks" / "data" / "clinc150" / f"{part}.jsonl.gz"
        with gzip.open(packed, "rt", encoding="utf-8") as lines:
            return {(row["query"], row["intent"]) for row in map(json.loads, lines)}

    assert {(letter["text"], letter["intent"]) for letter in LETTERS} <= rows("dev")
    examples = {text for desk in DESKS for skill in desk["skills"] for text in skill["examples"]}
    assert examples <= {text for text, _ in rows("train")}


def test_the_picture_is_of_the_recorded_run() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(TEXT.read_text(encoding="utf-8"))
