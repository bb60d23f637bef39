"""What is new in a task elsewhere: each word and each part once, in order, whatever is looked at when."""

from __future__ import annotations

from typing import Any

from mq9_a2a.remote.mirror import name_of, pieces, words


def message(name: str, role: str = "ROLE_AGENT") -> dict[str, Any]:
    return {"messageId": name, "role": role, "parts": [{"text": name}]}


def task(*history: dict[str, Any], now: str | None = None, **fields: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"state": "TASK_STATE_WORKING", "timestamp": "t1"}
    if now is not None:
        status["message"] = message(now)
    return {"history": list(history), "status": status, **fields}


def test_parts_come_once_whatever_was_seen_before() -> None:
    known: dict[str, Any] = {}
    one, two = {"text": "one"}, {"text": "two"}
    first = task(artifacts=[{"artifactId": "a", "name": "log", "parts": [one]}])
    assert pieces(known, first) == [{"artifact_id": "a", "name": "log", "parts": [one]}]
    assert pieces(known, first) == []
    longer = task(artifacts=[{"artifactId": "a", "parts": [one, two]}])
    assert pieces(known, longer) == [{"artifact_id": "a", "parts": [two], "append": True}]
    other = task(artifacts=[{"artifactId": "a", "parts": [two]}, {"artifactId": "b", "parts": [one]}])
    assert pieces(known, other) == [
        {"artifact_id": "a", "parts": [two]},
        {"artifact_id": "b", "parts": [one]},
    ]
    many = [{"text": str(number)} for number in range(130)]
    found = pieces(known, task(artifacts=[{"artifactId": "c", "parts": many}]))
    assert [(len(one["parts"]), "append" in one) for one in found] == [(64, False), (64, True), (2, True)]


def test_words_come_once_and_in_order() -> None:
    asked = message("m0", "ROLE_USER")
    assert words(task(asked), None) == []
    assert words(task(asked, message("m1"), now="m2"), None) == [message("m1"), message("m2")]
    assert words(task(asked, message("m1"), message("m2"), now="m3"), "m1") == [message("m2"), message("m3")]
    assert words(task(asked, message("m1"), now="m1"), "m1") == []
    assert words(task(asked, message("m1"), now="m1"), None) == [message("m1")]
    assert words(task(now="m9"), "m1") == [message("m9")], "its history does not go back so far"
    assert words(task(), "m1") == []


def test_a_status_has_a_name_with_and_without_a_message() -> None:
    assert name_of(task(now="m1")) == "TASK_STATE_WORKING/m1"
    assert name_of(task()) == "TASK_STATE_WORKING/t1"
