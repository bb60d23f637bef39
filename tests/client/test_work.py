"""A worker of tasks on a real server: what it says, hears, asks, and how its work ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mq9_mcp.client import (
    Job,
    LeaseLost,
    Mq9Client,
    Refused,
    Reject,
    Suspended,
    SyncJob,
    SyncMq9Client,
    TaskCanceled,
    TaskFailed,
)
from tests.client.between import LOSE, PASS, between
from tests.client.serving import Server

Test = Callable[[Mq9Client, Mq9Client], Coroutine[Any, Any, None]]


def run(server: Server, test: Test, name: str) -> None:
    """Run a body with a worker's client and an asker's."""

    async def body() -> None:
        async with (
            asyncio.timeout(60),
            Mq9Client(server.url, agent=name) as worker,
            Mq9Client(server.url, agent=f"{name}-boss") as boss,
        ):
            await worker.call("mailbox_create", {"address": name, "settings": {"backoff_first_s": 0}})
            await boss.mailbox_create(address=f"{name}-boss")
            await test(worker, boss)

    asyncio.run(body())


async def submit(boss: Mq9Client, to: str, text: str = "weigh", **options: Any) -> str:
    """A new task; its id."""
    reply = await boss.call("mailbox_send", {"to": to, "text": text, "task": True, **options})
    task: str = reply["receipts"][0]["task"]
    return task


async def reached(boss: Mq9Client, task: str, *states: str) -> Any:
    """The task once it is in one of the states."""
    async for told in boss.task_follow(task, after=0):
        if told["entry"]["state"] in states:
            found = (await boss.task_get(task=task))["task"]
            if found["state"] in states:
                return found
    raise AssertionError("it ended otherwise")


async def heard(boss: Mq9Client) -> Any:
    """The next notice."""
    [notice] = (await boss.mailbox_fetch(max=1, wait_s=20))["messages"]
    await boss.mailbox_ack(items=[{"lease": notice["lease"]}])
    return notice


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("text", "weighed", [{"text": "weighed"}]),
        ("data", {"Tom": 4200}, [{"data": {"Tom": 4200}}]),
        ("bytes", b"\x00\xff", [{"raw": "AP8="}]),
        ("parts", [{"text": "a"}, {"text": "b"}], [{"text": "a"}, {"text": "b"}]),
        ("nothing", None, None),
    ],
)
def test_what_a_handler_returns_completes_the_task_and_the_asker_hears_it(
    server: Server, name: str, value: Any, parts: Any
) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        async def handle(job: Job) -> Any:
            assert (job.text, job.data, job.attempt, job.checkpoint_value) == ("weigh", None, 1, None)
            assert (job.question, job.answer, job.follow_ups, job.cancel_requested) == (None, None, [], False)
            return value

        task = await submit(boss, f"w-{name}")
        async with worker.work(f"w-{name}", handle) as consumer:
            found = await reached(boss, task, "completed")
        assert (consumer.processed_count, consumer.failed_count) == (1, 0)
        assert found.get("status_message", {}).get("parts") == parts
        notice = await heard(boss)
        assert (notice["task"], notice["task_state"]) == (task, "completed")
        assert notice["parts"] == (parts or [{"text": "completed"}])

    run(server, test, f"w-{name}")


def test_progress_checkpoint_and_artifacts_are_told_as_they_come(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        async def handle(job: Job) -> None:
            await job.progress(1, 3, "Tom")
            await job.checkpoint({"weighed": ["Tom"]})
            assert job.checkpoint_value == {"weighed": ["Tom"]}
            await job.artifact("4200 ", artifact_id="a", name="weights")
            await job.artifact("grams", artifact_id="a", append=True, last_chunk=True)
            reply = await job.update(message="nearly", progress={"done": 3})
            assert reply["task"]["state"] == "working"
            with pytest.raises(Refused, match="state"):
                await job.update(state="completed")

        task = await submit(boss, "w-told")
        async with worker.work("w-told", handle):
            found = await reached(boss, task, "completed")
        assert found["progress"] == {"done": 3}
        assert found["artifacts"] == [
            {
                "artifact_id": "a",
                "name": "weights",
                "parts": [{"text": "4200 "}, {"text": "grams"}],
                "last_chunk": True,
            }
        ]
        history = (await boss.task_get(task=task, history=50))["task"]["history"]
        kinds = [entry["kind"] for entry in history]
        expected = ["submitted", "leased", "progress", "checkpoint", "artifact", "artifact", "progress"]
        assert kinds == [*expected, "status", "status"]

    run(server, test, "w-told")


def test_a_failure_is_tried_again_with_the_checkpoint(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        seen, told = [], []

        async def handle(job: Job) -> str:
            seen.append((job.attempt, job.checkpoint_value))
            if job.attempt == 1:
                await job.checkpoint("half")
                raise LookupError("no such cat")
            return "done"

        task = await submit(boss, "w-again")
        tell = lambda message, error: told.append((message["task"], str(error)))  # noqa: E731
        async with worker.work("w-again", handle, error_handler=tell) as consumer:
            await reached(boss, task, "completed")
        assert seen == [(1, None), (2, "half")]
        assert told == [(task, "no such cat")]
        assert (consumer.processed_count, consumer.failed_count) == (1, 1)

    run(server, test, "w-again")


def test_a_handler_may_fail_or_reject_the_task_for_good(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        async def handle(job: Job) -> None:
            if job.text == "fail":
                raise TaskFailed({"scales": "broken"})
            raise Reject("dogs", "cats only")

        failed, rejected = await submit(boss, "w-ends", "fail"), await submit(boss, "w-ends", "reject")
        async with worker.work("w-ends", handle, concurrency=2, error_handler=lambda *_: None) as consumer:
            found = await reached(boss, failed, "failed")
            assert found["status_message"]["parts"] == [{"data": {"scales": "broken"}}]
            found = await reached(boss, rejected, "rejected")
            assert found["status_message"]["parts"] == [{"text": "cats only"}]
        assert (consumer.processed_count, consumer.failed_count) == (0, 2)
        [letter] = (await worker.mailbox_query(mailbox="w-ends.dead"))["messages"]
        assert letter["dead_letter"]["reason"] == "dogs"

    run(server, test, "w-ends")


def test_mail_that_is_no_task_goes_to_the_dead_letters(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        await boss.mailbox_send(to="w-plain", text="hello")
        told = asyncio.Event()
        tell = lambda *_: told.set()  # noqa: E731
        async with worker.work("w-plain", lambda _: None, error_handler=tell):
            await told.wait()
        [letter] = (await worker.mailbox_query(mailbox="w-plain.dead"))["messages"]
        assert (letter["dead_letter"]["reason"], letter["parts"]) == ("no-task", [{"text": "hello"}])

    run(server, test, "w-plain")


def test_a_question_is_asked_in_line_and_holds_neither_lease_nor_place(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        begun = []

        async def handle(job: Job) -> str:
            begun.append(job.text)
            if job.text == "other":
                return "between"
            first = await job.ask("The dog too?")
            await job.progress(1)
            second = await job.ask([{"data": {"unit": ["g", "kg"]}}], auth=True)
            assert (job.answer, job.text) == (second, "weigh")
            assert job.question is not None
            return f"{first['parts'][0]['text']} {second['parts'][0]['text']}"

        task = await submit(boss, "w-ask")
        async with worker.work("w-ask", handle) as consumer:
            question = await heard(boss)
            assert (question["task_state"], question["parts"]) == (
                "input-required",
                [{"text": "The dog too?"}],
            )
            other = await submit(boss, "w-ask", "other")  # the only place is free
            await reached(boss, other, "completed")
            assert (await heard(boss))["task"] == other
            await boss.mailbox_send(in_reply_to=question["id"], text="no")
            question = await heard(boss)
            assert question["task_state"] == "auth-required"
            await boss.mailbox_send(task=task, text="g")
            found = await reached(boss, task, "completed")
        assert found["status_message"]["parts"] == [{"text": "no g"}]
        assert begun == ["weigh", "other"]
        assert consumer.processed_count == 2

    run(server, test, "w-ask")


@pytest.mark.parametrize("wait_s", [0, 0.05])
def test_an_answer_begins_the_handler_anew_where_nobody_waits(server: Server, wait_s: float) -> None:
    """And what was answered since the last checkpoint is not asked again."""

    name = f"w-anew-{len(str(wait_s))}"

    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        seen: list[Any] = []
        ended: list[str] = []

        async def handle(job: Job) -> str:
            try:
                return await begin(job)
            except Suspended:
                ended.append(job.task)
                raise

        async def begin(job: Job) -> str:
            seen.append((job.text, job.checkpoint_value, job.answer and job.answer["parts"][0]["text"]))
            if job.checkpoint_value is None:
                await job.ask("first?", wait_s=wait_s)
                await job.checkpoint("one")
            second = await job.ask("second?", wait_s=wait_s)
            third = await job.ask("second?", wait_s=wait_s)
            return "".join(one["parts"][0]["text"] for one in (second, third))

        task = await submit(boss, name)
        async with worker.work(name, handle) as consumer:
            for number, answer in enumerate("abc", 1):
                await heard(boss)
                while len(ended) < number:
                    await asyncio.sleep(0)
                await boss.mailbox_send(task=task, text=answer)
            found = await reached(boss, task, "completed")
        assert found["status_message"]["parts"] == [{"text": "bc"}]
        assert seen == [
            ("weigh", None, None),
            ("weigh", None, "a"),
            ("weigh", "one", "b"),
            ("weigh", "one", "c"),
        ]
        assert (consumer.processed_count, consumer.failed_count) == (1, 0)

    run(server, test, name)


def test_a_stop_ends_a_wait_for_an_answer_and_any_worker_takes_it(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        ended = []

        async def handle(job: Job) -> str:
            try:
                answer = await job.ask("which?")
            except Suspended:
                ended.append(job.task)
                raise
            return str(answer["parts"][0]["text"])

        task = await submit(boss, "w-stop")
        async with worker.work("w-stop", handle):
            await heard(boss)
        assert ended == [task]
        await boss.mailbox_send(task=task, text="that one")
        async with worker.work("w-stop", handle):
            found = await reached(boss, task, "completed")
        assert found["status_message"]["parts"] == [{"text": "that one"}]

    run(server, test, "w-stop")


def test_an_answer_that_another_worker_took_ends_the_wait(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        lost = asyncio.Event()
        places: list[Any] = []

        async def hold(job: Job) -> None:
            if job.text == "other":  # takes the only place, so the answer goes to somebody else
                places.append(job.task)
                await asyncio.Event().wait()
            try:
                await job.ask("which?")
            except LeaseLost:
                lost.set()
                raise

        task = await submit(boss, "w-else")
        consumer = worker.work("w-else", hold, error_handler=lambda *_: None)
        await heard(boss)
        await submit(boss, "w-else", "other")
        while not places:
            await asyncio.sleep(0)
        async with Mq9Client(server.url, agent="w-else-2") as second:

            async def take(job: Job) -> str:
                assert job.answer is not None
                await lost.wait()
                return "taken"

            async with second.work("w-else", take):
                await boss.mailbox_send(task=task, text="that one")
                await reached(boss, task, "completed")
        await consumer.stop(timeout_s=0)
        assert consumer.failed_count == 1

    run(server, test, "w-else")


@pytest.mark.parametrize("catches", [False, True])
def test_cancel_is_raised_in_the_handler_at_once(server: Server, catches: bool) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        begun = asyncio.Event()

        async def handle(job: Job) -> str | None:
            begun.set()
            try:
                async with asyncio.timeout(50):
                    await asyncio.Event().wait()
            except TaskCanceled:
                assert job.cancel_requested
                if not catches:
                    raise
                await job.progress(1, note="nearly done")  # raised once
            return "all the same"

        name = f"w-cancel-{catches}".lower()
        task = await submit(boss, name)
        async with worker.work(name, handle) as consumer:
            await begun.wait()
            await boss.task_cancel(task=task, reason="rain")
            await reached(boss, task, "completed" if catches else "canceled")
        assert (consumer.processed_count, consumer.failed_count) == (int(catches), 0)

    run(server, test, f"w-cancel-{catches}".lower())


def test_a_question_of_a_task_that_is_to_be_canceled_cancels_it(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        begun = asyncio.Event()

        async def handle(job: Job) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except TaskCanceled:
                await job.ask("really?")

        task = await submit(boss, "w-really")
        async with worker.work("w-really", handle) as consumer:
            await begun.wait()
            await boss.task_cancel(task=task)
            await reached(boss, task, "canceled")
        assert (consumer.processed_count, consumer.failed_count) == (0, 0)

    run(server, test, "w-really")


def test_cancel_ends_a_wait_for_an_answer(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        ended: list[str] = []

        async def handle(job: Job) -> None:
            try:
                await job.ask("which?")
            except TaskCanceled:
                ended.append(job.task)
                raise

        task = await submit(boss, "w-off")
        async with worker.work("w-off", handle) as consumer:
            await heard(boss)
            await boss.task_cancel(task=task)
            while not ended:
                await asyncio.sleep(0)
        assert (ended, consumer.failed_count) == ([task], 0)

    run(server, test, "w-off")


def test_a_follow_up_reaches_the_handler_at_work(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        begun = asyncio.Event()

        async def handle(job: Job) -> str:
            begun.set()
            while not job.follow_ups:
                await asyncio.sleep(0)
            return str(job.follow_ups[0]["parts"][0]["text"])

        task = await submit(boss, "w-more")
        async with worker.work("w-more", handle):
            await begun.wait()
            await boss.mailbox_send(task=task, text="in grams")
            found = await reached(boss, task, "completed")
        assert found["status_message"]["parts"] == [{"text": "in grams"}]

    run(server, test, "w-more")


def test_the_lease_is_kept_and_its_loss_is_raised_in_the_handler(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        begun, told, lost = asyncio.Event(), asyncio.Event(), []

        async def handle(job: Job) -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            except LeaseLost as error:
                lost.append(error)
                with pytest.raises(LeaseLost):
                    await job.progress(1)
            return "counts no more"

        task = await submit(boss, "w-lost")
        tell = lambda *_: told.set()  # noqa: E731
        async with worker.work("w-lost", handle, lease_s=1, error_handler=tell) as consumer:
            await begun.wait()
            assert (await boss.mailbox_fetch(mailbox="w-lost", wait_s=1.5))["messages"] == []  # kept
            await worker.group_delete(mailbox="w-lost", group="default")
            await told.wait()
            begun.clear()
            await begun.wait()  # it is taken again
            assert len(lost) == 1
            assert (await boss.task_get(task=task))["task"]["state"] == "working"
            await consumer.stop(timeout_s=0)
        assert (consumer.processed_count, consumer.failed_count) == (0, 1)

    run(server, test, "w-lost")


def test_a_stop_with_too_little_time_gives_the_task_back(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        begun = asyncio.Event()

        async def handle(job: Job) -> None:
            await job.checkpoint("half")
            begun.set()
            await asyncio.Event().wait()

        task = await submit(boss, "w-hurry")
        consumer = worker.work("w-hurry", handle)
        await begun.wait()
        await consumer.stop(timeout_s=0)
        assert (await boss.task_get(task=task))["task"]["state"] == "submitted"
        [message] = (await worker.mailbox_fetch(mailbox="w-hurry"))["messages"]
        assert (message["attempt"], message["checkpoint"]) == (1, "half")

    run(server, test, "w-hurry")


def test_a_handler_may_give_its_task_back(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        attempts: list[int] = []

        async def handle(job: Job) -> None:
            attempts.append(job.attempt)
            if len(attempts) == 1:
                raise Suspended("not now")

        task = await submit(boss, "w-back")
        async with worker.work("w-back", handle) as consumer:
            await reached(boss, task, "completed")
        assert (attempts, consumer.failed_count) == ([1, 1], 0)

    run(server, test, "w-back")


def test_a_stop_waits_for_what_has_begun(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def handle(job: Job) -> str:
            begun.set()
            await go_on.wait()
            return f"done {job.text}"

        task = await submit(boss, "w-end")
        consumer = worker.work("w-end", handle)
        await begun.wait()
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.sleep(0)
        go_on.set()
        await stopping
        assert (await boss.task_get(task=task))["task"]["state"] == "completed"

    run(server, test, "w-end")


def test_so_many_tasks_are_worked_on_at_a_time(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        working, most, full = 0, 0, asyncio.Event()

        async def handle(job: Job) -> None:
            nonlocal working, most
            assert job.attempt == 1
            working += 1
            most = max(most, working)
            if working == 3:
                full.set()
            await full.wait()
            working -= 1

        tasks = [await submit(boss, "w-many", str(number)) for number in range(7)]
        async with worker.work("w-many", handle, concurrency=3) as consumer:
            for task in tasks:
                await reached(boss, task, "completed")
        assert (consumer.processed_count, most) == (7, 3)

    run(server, test, "w-many")


def test_an_update_whose_answer_was_lost_is_not_made_twice(server: Server) -> None:
    async def test(_worker: Mq9Client, boss: Mq9Client) -> None:
        async def handle(job: Job) -> str:
            for piece in ("a", "b"):
                await job.artifact(piece, artifact_id="x", append=True)
            return "done"

        task = await submit(boss, "w-twice")
        async with between(server.url) as line:
            act, seen = line._act, set()

            async def losing(_action: Any, request: bytes, writer: Any) -> bool:
                told = b"task_update" in request.split(b"\r\n")[0]
                body = request.partition(b"\r\n\r\n")[2]
                first = told and body not in seen
                seen.add(body)
                return await act(LOSE if first else PASS, request, writer)

            line._act = losing  # type: ignore[method-assign,assignment]
            async with Mq9Client(line.url, agent="w-twice") as client, client.work("w-twice", handle):
                found = await reached(boss, task, "completed")
        assert found["artifacts"][0]["parts"] == [{"text": "a"}, {"text": "b"}]
        history = (await boss.task_get(task=task, history=50))["task"]["history"]
        assert [one["kind"] for one in history] == ["submitted", "leased", "artifact", "artifact", "status"]

    run(server, test, "w-twice")


def test_a_plain_function_works_in_a_thread(server: Server) -> None:
    canceled, begun = [], threading.Event()

    def handle(job: SyncJob) -> str:
        if job.text == "cancel":
            begun.set()
            try:
                while True:
                    job.progress(1)
            except TaskCanceled:
                canceled.append(job.task)
                raise
        job.checkpoint({"at": 1})
        job.artifact({"Tom": 4200}, name="weights")
        job.update(message="asking")
        answer = job.ask("which?")
        return f"{job.checkpoint_value} {answer['parts'][0]['text']}"

    with SyncMq9Client(server.url, agent="w-sync") as client, SyncMq9Client(server.url, agent="w-s2") as boss:
        client.mailbox_create(address="w-sync")
        boss.mailbox_create(address="w-s2")
        task = boss.mailbox_send(to="w-sync", text="weigh", task=True)["receipts"][0]["task"]
        with client.work("w-sync", handle) as worker:
            [question] = boss.mailbox_fetch(wait_s=20)["messages"]
            assert question["task_state"] == "input-required"
            second = boss.mailbox_send(to="w-sync", text="cancel", task=True)["receipts"][0]["task"]
            assert begun.wait(30)
            boss.task_cancel(task=second)
            states = [told["entry"]["state"] for told in boss.task_follow(second, after=0)]
            assert (states[-1], canceled) == ("canceled", [second])
            boss.mailbox_send(task=task, text="that one")
            *_, last = boss.task_follow(task, after=0)
            assert last["entry"]["parts"] == [{"text": "{'at': 1} that one"}]
        assert (worker.processed_count, worker.failed_count) == (1, 0)


@pytest.mark.parametrize("state", ["completed", "failed", "rejected", "canceled"])
def test_a_handler_says_the_last_word_and_cleans_up_after_it(server: Server, state: str) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        ended, clean = asyncio.Event(), asyncio.Event()

        async def handle(job: Job) -> str:
            with pytest.raises(Refused, match="state: 'over'; accepted: completed"):
                await job.end("over")
            await job.end(state, "enough")
            ended.set()
            await clean.wait()
            raise ValueError("after the end")

        task = await submit(boss, f"w-end-{state}")
        async with worker.work(f"w-end-{state}", handle) as consumer:
            found = await reached(boss, task, state)
            assert found["status_message"]["parts"] == [{"text": "enough"}]
            await ended.wait()
            clean.set()
        assert consumer.processed_count == (state == "completed")
        assert consumer.failed_count == (state in ("failed", "rejected"))
        assert (await boss.task_get(task=task))["task"]["version"] == found["version"]

    run(server, test, f"w-end-{state}")


def test_a_question_that_ends_a_handler_is_asked_however_often_it_was_answered(server: Server) -> None:
    async def test(worker: Mq9Client, boss: Mq9Client) -> None:
        answers: list[Any] = []

        async def handle(job: Job) -> None:
            answers.append(job.answer["parts"][0]["text"] if job.answer else None)
            if len(answers) < 3:
                await job.end("input-required", "which?")

        task = await submit(boss, "w-again")
        async with worker.work("w-again", handle):
            for word in ("this", "that"):
                await reached(boss, task, "input-required")
                await boss.mailbox_send(task=task, text=word)
            await reached(boss, task, "completed")
        assert answers == [None, "this", "that"]

    run(server, test, "w-again")
