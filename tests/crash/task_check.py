"""After a kill: every task that the broker has against what its askers and workers were told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.crash.check import Asked, everything
from tests.crash.line import Line, Log, Reply
from tests.crash.task_client import expected, told_of

TERMINAL = ("completed", "failed", "canceled", "rejected")
TOLD_STATES = (*TERMINAL, "input-required")
MARKED = ("progress", "artifact", "checkpoint")
HISTORY_MAX = 100
FITTING = {"working": (["leased"],), "submitted": (["waiting"], ["backoff"])}  # states of its messages


class Change(NamedTuple):
    """One call that changes a task, and its answer if there was one."""

    call: Reply
    answer: Reply | None
    asker: str


class TasksTold:
    """What all clients of one data directory tried and were told so far."""

    def __init__(self, logs: Mapping[str, Iterable[Reply]]) -> None:
        self.changes: list[Change] = []
        self.leases: list[Change] = []
        self.open: dict[str, Reply] = {}
        for client, entries in sorted(logs.items()):
            for entry in entries:
                self._read(client, entry)
        self.answers = sum(change.answer is not None for change in self.changes)
        self.changes += [Change(call, None, client) for client, call in self.open.items()]

    def _read(self, client: str, entry: Reply) -> None:
        if entry["kind"] == "try":
            assert client not in self.open, "a client has one call at a time"
            self.open[client] = entry
            return
        asker = entry.get("retry_of", client)
        call = self.open.pop(asker)
        answered = entry["kind"] not in ("refused", "unknown")
        change = Change(call, entry if answered else None, asker)
        if call["what"] == "lease" and answered:
            self.leases.append(change)
        elif entry["kind"] != "refused":
            self.changes.append(change)

    @classmethod
    def of(cls, logs: Path) -> TasksTold:
        """What the files say."""
        return cls(
            {path.stem: map(json.loads, path.read_bytes().splitlines()) for path in logs.glob("*.log")}
        )

    def of_kind(self, what: str) -> list[Change]:
        """The changes of one kind, answered or not."""
        return [change for change in self.changes if change.call["what"] == what]


class Known:
    """Everything that the broker says about tasks."""

    def __init__(self, line: Asked, askers: Iterable[str]) -> None:
        self.jobs = {message["id"]: message for message in everything(line, "jobs")}
        self.notices: dict[str, list[Reply]] = {}
        for asker in askers:
            for message in everything(line, asker):
                self.notices.setdefault(message["task"], []).append(message)
        ids = {message["task"] for message in self.jobs.values()}
        self.tasks = {id: line.call("task_get", task=id, history=HISTORY_MAX)["task"] for id in sorted(ids)}
        listed: list[str] = []
        cursor: Reply = {}
        while True:
            page = line.call("task_list", limit=100, **cursor)
            listed += [task["id"] for task in page["tasks"]]
            if "next_cursor" not in page:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert sorted(listed) == sorted(ids), "task_list and the messages name other tasks"

    def marks(self, kind: str) -> dict[str, tuple[str, int]]:
        """Where each mark of a kind stands: its task, and the number of its entry."""
        found: dict[str, tuple[str, int]] = {}
        for id, task in self.tasks.items():
            for entry in task["history"]:
                if entry["kind"] == kind:
                    mark = mark_of(entry)
                    assert mark not in found, f"{mark} is there twice"
                    found[mark] = id, entry["number"]
        return found


def mark_of(entry: Reply) -> str:
    """The mark of an update in one of its entries."""
    if entry["kind"] == "progress":
        return str(entry["progress"]["note"])
    if entry["kind"] == "artifact":
        return str(entry["artifact"]["artifact_id"])
    return str(entry["checkpoint"])


def check_tasks(line: Asked, told: TasksTold) -> None:
    """Nothing acknowledged is lost or doubled, nothing invented, nothing half done."""
    askers = {change.asker for change in told.of_kind("submit")}
    known = Known(line, sorted(askers))
    check_openings(known, told)
    check_updates(known, told)
    check_leases(known, told)
    check_answers_and_cancels(known, told)
    for task in known.tasks.values():
        check_history(task)
        check_notices(task, known.notices.get(task["id"], []))
    check_work(line, known)


def check_openings(known: Known, told: TasksTold) -> None:
    """Every acknowledged task is there, once; no other is."""
    first = {task["history"][0]["message"]: id for id, task in known.tasks.items()}
    by_key = {known.jobs[id]["dedup_key"]: (id, task) for id, task in first.items()}
    assert len(by_key) == len(first), "a task was opened twice"
    submits = told.of_kind("submit")
    assert by_key.keys() <= {change.call["key"] for change in submits}, "a task was invented"
    for call, answer, _ in submits:
        if answer is not None:
            assert by_key[call["key"]] == (answer["id"], answer["task"]), f"{call['key']} is lost"


def check_updates(known: Known, told: TasksTold) -> None:
    """Acknowledged updates are there with everything they said; the others whole or not at all."""
    progress, artifacts, checkpoints = (known.marks(kind) for kind in MARKED)
    assert progress.keys() == artifacts.keys() == checkpoints.keys(), "half of an update is there"
    updates = told.of_kind("update")
    assert progress.keys() <= {change.call["mark"] for change in updates}, "an update was invented"
    for call, answer, _ in updates:
        if answer is None:
            continue
        mark, task = call["mark"], known.tasks[answer["task"]]
        assert progress[mark][0] == artifacts[mark][0] == task["id"], f"{mark} is lost"
        [artifact] = [one for one in task["artifacts"] if one["artifact_id"] == mark]
        given = call["arguments"]["artifacts"][0]
        assert artifact["parts"] == [{"text": given["text"]}], f"{mark} has other content"
        assert checkpoints[mark][1] <= answer["version"] <= task["version"], f"{mark}: the version fell"
        at_answer = task["history"][answer["version"] - 1]["state"]
        wanted = {call["state"] or "working"}
        if call["state"] in (
            "submitted",
            "input-required",
        ):  # given back, or asked, after cancel was asked for
            wanted.add("canceled")
        assert at_answer == answer["after"], f"{mark}: the history knows another state"
        assert answer["after"] in wanted, f"{mark}: became {answer['after']}"


def check_leases(known: Known, told: TasksTold) -> None:
    """A lease brings a checkpoint at least as new as any that was acknowledged before it was asked for."""
    numbers = known.marks("checkpoint")
    told_at: dict[str, list[tuple[float, int]]] = {}
    for call, answer, _ in told.of_kind("update"):
        if answer is not None:
            told_at.setdefault(answer["task"], []).append((answer["at"], numbers[call["mark"]][1]))
    for call, answer, _ in told.leases:
        assert answer is not None
        for _, task, checkpoint in answer["messages"]:
            before = [number for at, number in told_at.get(task, ()) if at < call["at"]]
            brought = numbers[checkpoint] if checkpoint is not None else (task, 0)
            assert brought[0] == task, f"{checkpoint}: a checkpoint of another task"
            assert brought[1] >= max(before, default=0), f"{task}: an old checkpoint was brought"


def check_answers_and_cancels(known: Known, told: TasksTold) -> None:
    """An acknowledged answer is part of its task, once; a canceled task is, or is asked to be."""
    keys = Counter(message["dedup_key"] for message in known.jobs.values() if "dedup_key" in message)
    assert all(count == 1 for count in keys.values()), "a message is stored twice"
    for call, answer, _ in told.of_kind("answer"):
        if answer is not None:
            history = known.tasks[call["task"]]["history"]
            joined = [entry for entry in history if entry.get("message") == answer["id"]]
            answered = [entry for entry in joined if entry["kind"] in ("answer", "follow_up")]
            assert len(answered) == 1, f"{call['key']}: the answer is lost"
    for call, answer, _ in told.of_kind("cancel"):
        if answer is not None:
            task = known.tasks[call["task"]]
            assert task["cancel_requested"] or task["state"] == "canceled", "a cancel is lost"


def check_history(task: Reply) -> None:
    """Numbered without a gap; at most one end, and it is the last entry."""
    history = task["history"]
    assert len(history) < HISTORY_MAX, "the test gives a task too many entries to read them all"
    assert [entry["number"] for entry in history] == list(range(1, task["version"] + 1))
    ends = [entry["number"] for entry in history if entry["kind"] == "status" and entry["state"] in TERMINAL]
    assert ends == ([task["version"]] if task["state"] in TERMINAL else []), f"{task['id']}: ends {ends}"
    assert history[-1]["state"] == task["state"]


def check_notices(task: Reply, notices: list[Reply]) -> None:
    """The asker has one notice for each question and the end, in their order, and no other."""
    states = [
        entry["state"]
        for entry in task["history"]
        if entry["kind"] == "status" and entry["state"] in TOLD_STATES
    ]
    assert [notice["task_state"] for notice in notices] == states, f"{task['id']}: notices"


def check_work(line: Asked, known: Known) -> None:
    """A task that is worked on has one unsettled message; one that waits or is over has none."""
    owed: dict[str, list[str]] = {id: [] for id in known.tasks}
    for message in known.jobs.values():
        [state] = [one["state"] for one in message["deliveries"] if one["group"] == "default"] or ["waiting"]
        if state in ("waiting", "leased", "backoff"):
            owed[message["task"]].append(state)
    for id, task in known.tasks.items():
        fitting = {"working": (["leased"],), "submitted": (["waiting"], ["backoff"])}.get(
            task["state"], ([],)
        )
        assert owed[id] in fitting, f"{id} is {task['state']}, its messages {owed[id]}"
    counts = line.call("mailbox_get", address="jobs")["mailbox"]["counts"]
    assert counts["unsettled"] == sum(map(len, owed.values())), f"memory owes {counts}, the tables {owed}"


def retry_tasks(told: TasksTold, log: Log) -> None:
    """The calls without an answer again: a send is told its first receipt, an update counts once."""
    for client, call in told.open.items():
        last_word = call["what"] == "update" and call["state"] not in (None, "submitted")
        reply = None
        if last_word or call["what"] in ("submit", "answer"):
            line = Line(client)
            reply = expected(line, call["name"], call["arguments"])
            line.close()
        if reply is None:
            log.told("unknown", retry_of=client)
            continue
        fields = told_of(call["what"], reply)
        moved_on = last_word and fields["after"] != call["state"]  # its question was answered meanwhile
        log.told("unknown" if moved_on else call["what"], retry_of=client, **fields)
