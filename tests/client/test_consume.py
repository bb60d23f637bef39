"""A worker on a real server: what it holds, settles, gives back, and tells."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mq9_mcp.client import Mq9Client, Mq9Message, Refused, Reject, SyncMq9Client
from tests.client.between import between, refusal
from tests.client.serving import Server

Test = Callable[[Mq9Client], Coroutine[Any, Any, None]]


def run(server: Server, test: Test, agent: str = "worker") -> None:
    """Run a test's body with a client of its own."""

    async def body() -> None:
        async with asyncio.timeout(60), Mq9Client(server.url, agent=agent) as client:
            await test(client)

    asyncio.run(body())


async def filled(client: Mq9Client, mailbox: str, *texts: str, **settings: Any) -> str:
    """A mailbox with messages in it."""
    await client.call("mailbox_create", {"address": mailbox, "settings": settings})
    for text in texts:
        await client.mailbox_send(to=mailbox, text=text)
    return mailbox


async def until(true: Callable[[], object]) -> None:
    """Let others run until it is true; the test has a deadline."""
    while not true():
        await asyncio.sleep(0)


def text_of(message: Mq9Message) -> str:
    """The text of a message."""
    text: str = message["parts"][0]["text"]
    return text


async def states(client: Mq9Client, mailbox: str) -> dict[str, str]:
    """How far each message has come in the group ``default``."""
    reply = await client.mailbox_query(mailbox=mailbox, limit=100)
    return {one["parts"][0]["text"]: one["deliveries"][0]["state"] for one in reply["messages"]}


def test_every_message_is_handled_and_acked_by_so_many_at_once(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        names = [str(number) for number in range(20)]
        mailbox = await filled(client, "many", *names)
        working, most, done = 0, 0, []
        full = asyncio.Event()

        async def handler(message: Mq9Message) -> None:
            nonlocal working, most
            working += 1
            most = max(most, working)
            if working == 4:
                full.set()
            await full.wait()
            working -= 1
            done.append(text_of(message))

        async with client.consume(mailbox, handler, concurrency=4) as consumer:
            assert consumer.is_running
            await until(lambda: consumer.processed_count == 20)
        assert not consumer.is_running
        assert (consumer.processed_count, consumer.failed_count) == (20, 0)
        assert sorted(done) == sorted(names)
        assert most == 4
        assert set((await states(client, mailbox)).values()) == {"acked"}

    run(server, test)


def test_no_more_is_taken_than_there_is_room_for(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "room", "a", "b", "c", "d")
        go_on = asyncio.Event()
        begun = []

        async def handler(message: Mq9Message) -> None:
            begun.append(text_of(message))
            await go_on.wait()

        async with client.consume(mailbox, handler, concurrency=2):
            await until(lambda: len(begun) == 2)
            [group] = (await client.group_list(mailbox=mailbox))["groups"]
            assert (group["leased"], group["waiting"]) == (2, 2)
            go_on.set()
            await until(lambda: len(begun) == 4)

    run(server, test)


def test_a_failure_is_tried_again_with_its_type_as_the_reason(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "failing", "a", max_attempts=2, backoff_first_s=0)
        attempts, told = [], []

        async def handler(message: Mq9Message) -> None:
            attempts.append(message["attempt"])
            raise LookupError("no such cat")

        async def error_handler(message: Mq9Message, error: Exception) -> None:
            told.append((message.msg_id, str(error)))
            raise ValueError("an error handler that fails changes nothing")

        async with client.consume(mailbox, handler, error_handler=error_handler) as consumer:
            await until(lambda: consumer.failed_count == 2)
        assert attempts == [1, 2]
        [letter] = (await client.mailbox_query(mailbox="failing.dead"))["messages"]
        assert letter["dead_letter"]["reason"] == "LookupError"
        assert letter["dead_letter"]["attempts"] == 2
        assert [words for _, words in told] == ["no such cat"] * 2
        assert consumer.processed_count == 0

    run(server, test)


def test_a_rejected_message_is_a_dead_letter_at_once(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "rejecting", "a")

        def handler(message: Mq9Message) -> None:
            raise Reject("no-such-cat" + "x" * 500, f"there is no {text_of(message)}")

        async with client.consume(mailbox, handler) as consumer:
            await until(lambda: consumer.failed_count == 1)
        [letter] = (await client.mailbox_query(mailbox="rejecting.dead"))["messages"]
        assert letter["dead_letter"]["reason"].startswith("no-such-catx")
        assert letter["dead_letter"]["description"] == "there is no a"
        assert letter["dead_letter"]["attempts"] == 1

    run(server, test)


def test_the_lease_is_kept_while_the_handler_works(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "long", "a")
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def handler(message: Mq9Message) -> None:
            assert message["attempt"] == 1
            begun.set()
            await go_on.wait()

        async with client.consume(mailbox, handler, lease_s=1) as consumer:
            await begun.wait()
            other = await client.mailbox_fetch(mailbox=mailbox, wait_s=1.5)
            assert other["messages"] == []
            go_on.set()
            await until(lambda: consumer.processed_count == 1)
        assert await states(client, mailbox) == {"a": "acked"}

    run(server, test)


@pytest.mark.parametrize("threads", [False, True])
def test_a_handler_whose_lease_is_lost_is_told(server: Server, threads: bool) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, f"lost-{threads}".lower(), "a")
        begun, told, release = asyncio.Event(), [], threading.Event()
        loop = asyncio.get_running_loop()
        cancelled = []

        async def handler(message: Mq9Message) -> None:
            assert message["attempt"] == 1
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(message.msg_id)
                raise

        def blocking(message: Mq9Message) -> None:
            assert message["attempt"] == 1
            loop.call_soon_threadsafe(begun.set)
            release.wait(30)

        def error_handler(message: Mq9Message, error: Exception) -> None:
            assert text_of(message) == "a"
            told.append(error)

        work: Any = blocking if threads else handler
        async with client.consume(mailbox, work, lease_s=1, error_handler=error_handler) as consumer:
            await begun.wait()
            await client.group_delete(mailbox=mailbox, group="default")
            await until(lambda: told)
            assert isinstance(told[0], Refused)
            assert told[0].code == "LEASE_LOST"
            await consumer_stops(consumer, release)
        assert (consumer.processed_count, consumer.failed_count) == (0, 1)
        assert len(cancelled) == (0 if threads else 1)

    async def consumer_stops(consumer: Any, release: threading.Event) -> None:
        stopping = asyncio.create_task(consumer.stop())
        release.set()
        await stopping

    run(server, test)


def test_a_stop_waits_for_what_has_begun_and_gives_back_the_rest(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await client.mailbox_create(address="stopping")
        for text in ("a", "b", "c"):  # of one session: handled one after the other
            await client.mailbox_send(to="stopping", text=text, session="stopping-s")
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def handler(message: Mq9Message) -> None:
            assert text_of(message) == "a"
            begun.set()
            await go_on.wait()

        consumer = await client.consume("stopping", handler, concurrency=3)
        await begun.wait()
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.sleep(0)
        assert consumer.is_running
        go_on.set()
        await stopping
        assert (consumer.processed_count, consumer.is_running) == (1, False)
        left = (await client.mailbox_fetch(mailbox="stopping"))["messages"]
        assert [(one["parts"][0]["text"], one["attempt"]) for one in left] == [("b", 1), ("c", 1)]

    run(server, test)


def test_a_stop_with_too_little_time_gives_back_what_has_begun(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "hurry", "a")
        begun = asyncio.Event()

        async def handler(message: Mq9Message) -> None:
            assert message["attempt"] == 1
            begun.set()
            await asyncio.Event().wait()

        consumer = client.consume(mailbox, handler)
        await begun.wait()
        await consumer.stop(timeout_s=0)
        assert (consumer.processed_count, consumer.failed_count) == (0, 0)
        [message] = (await client.mailbox_fetch(mailbox=mailbox))["messages"]
        assert message["attempt"] == 1

    run(server, test)


def test_a_stopped_consumer_takes_nothing_any_more(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "after")
        consumer = client.consume(mailbox, lambda message: pytest.fail(text_of(message)), wait_s=20)
        listed: list[Any] = []
        while not listed:  # it waits for mail
            listed = (await client.group_list(mailbox=mailbox))["groups"]
        await consumer.stop()
        await client.mailbox_send(to=mailbox, text="late")
        [message] = (await client.mailbox_fetch(mailbox=mailbox, wait_s=5))["messages"]
        assert message["parts"] == [{"text": "late"}]

    run(server, test)


def test_a_failure_in_an_ordered_session_lets_no_later_message_pass(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await filled(client, "ordered", ordered_by="session", backoff_first_s=0)
        for text in ("a", "b", "c"):
            await client.mailbox_send(to="ordered", text=text, session="ordered-s")
        seen = []

        async def handler(message: Mq9Message) -> None:
            seen.append((text_of(message), message["attempt"]))
            if seen == [("a", 1)]:
                raise OSError

        async with client.consume("ordered", handler, concurrency=8) as consumer:
            await until(lambda: consumer.processed_count == 3)
        assert seen == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]

    run(server, test)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("yes", [{"text": "yes"}]),
        (b"\x00\xff", [{"raw": "AP8="}]),
        ({"n": 2**70}, [{"data": {"n": 2**70}}]),
        ([{"text": "a"}, {"text": "b"}], [{"text": "a"}, {"text": "b"}]),
    ],
)
def test_what_a_handler_returns_is_the_reply(server: Server, value: Any, parts: list[Any]) -> None:
    async def test(client: Mq9Client) -> None:
        asked = f"asked-{type(value).__name__}"
        await client.mailbox_create(address=asked)
        async with Mq9Client(server.url, agent=f"asker-{type(value).__name__}") as asker:
            async with client.consume(asked, lambda _: value, reply=True):
                sent = await asker.mailbox_send(to=asked, text="?", wait_for="replied", wait_s=30)
            assert sent["receipts"][0]["reply"]["parts"] == parts
            [reply] = (await asker.mailbox_fetch())["messages"]
            assert (reply["parts"], reply["in_reply_to"]) == (parts, sent["receipts"][0]["id"])

    run(server, test)


def test_a_reply_that_cannot_be_sent_is_a_failure_and_nothing_is_acked(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        await filled(client, "unheard", max_attempts=1)
        async with Mq9Client(server.url) as nobody:  # has no mailbox
            await nobody.mailbox_send(to="unheard", text="a")
        told: list[Exception] = []
        async with client.consume(
            "unheard", lambda _: "reply", reply=True, error_handler=lambda _, error: told.append(error)
        ) as consumer:
            await until(lambda: consumer.failed_count == 1)
        [letter] = (await client.mailbox_query(mailbox="unheard.dead"))["messages"]
        assert letter["dead_letter"]["reason"] == "MAILBOX_NOT_FOUND"
        assert isinstance(told[0], Refused)
        assert consumer.processed_count == 0

    run(server, test)


def test_a_reply_of_no_known_type_is_a_failure(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "odd", "a", max_attempts=1)
        async with client.consume(mailbox, lambda _: 7, reply=True) as consumer:
            await until(lambda: consumer.failed_count == 1)
        [letter] = (await client.mailbox_query(mailbox="odd.dead"))["messages"]
        assert letter["dead_letter"]["reason"] == "TypeError"

    run(server, test)


def test_a_handler_may_settle_its_message_itself(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "self", "ack", "nack", "leave", "fail", backoff_first_s=300)

        async def handler(message: Mq9Message) -> None:
            if text_of(message) == "ack":
                await client.ack("self", "default", message.msg_id)
            if text_of(message) == "nack":
                await client.mailbox_ack(items=[{"lease": message["lease"], "outcome": "nack"}])
            if text_of(message) == "fail":
                raise OSError

        async with client.consume(mailbox, handler, auto_ack=False, lease_s=40) as consumer:
            await until(lambda: consumer.processed_count + consumer.failed_count == 4)
        assert consumer.failed_count == 1
        assert await states(client, mailbox) == {
            "ack": "acked",
            "nack": "backoff",
            "leave": "leased",
            "fail": "backoff",
        }

    run(server, test)


def test_a_handler_that_acked_early_goes_on_undisturbed(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "early", "a")
        acked, go_on = asyncio.Event(), asyncio.Event()

        async def handler(message: Mq9Message) -> None:
            await client.mailbox_ack(items=[{"lease": message["lease"]}])
            acked.set()
            await go_on.wait()

        async with client.consume(mailbox, handler, lease_s=1) as consumer:
            await acked.wait()
            await client.mailbox_fetch(mailbox=mailbox, wait_s=0.8)  # some heartbeats long
            go_on.set()
            await until(lambda: consumer.processed_count == 1)
        assert consumer.failed_count == 0

    run(server, test)


def test_a_consumer_ends_by_an_error_that_no_repetition_mends(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        consumer = client.consume("nowhere-at-all", lambda _: None)
        with pytest.raises(Refused, match="MAILBOX_NOT_FOUND"):
            await consumer.wait()
        assert not consumer.is_running
        assert consumer.error is not None
        with pytest.raises(Refused, match="MAILBOX_NOT_FOUND"):
            async with client.consume("nowhere-at-all", lambda _: None) as consumer:
                await until(lambda: not consumer.is_running)
        for wrong in ({"concurrency": 0}, {"concurrency": 1001}, {"wait_s": 0}, {"max_wait_ms": 0}):
            with pytest.raises(Refused, match="accepted"):
                client.consume("many", lambda _: None, **wrong)  # type: ignore[arg-type]

    run(server, test)


def test_closing_the_client_stops_its_consumers(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "closing", "a")
        done = []
        async with Mq9Client(server.url, agent="other") as other:
            consumer = other.consume(mailbox, lambda message: done.append(text_of(message)))
            await until(lambda: done)
        assert not consumer.is_running
        assert consumer.processed_count == 1

    run(server, test)


def test_outcomes_of_a_busy_worker_go_together(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "together", *map(str, range(40)))
        async with between(server.url) as wire, Mq9Client(wire.url, agent="busy") as busy:
            go_on = asyncio.Event()
            working = []

            async def handler(message: Mq9Message) -> None:
                working.append(message.msg_id)
                if len(working) == 40:
                    go_on.set()
                await go_on.wait()

            async with busy.consume(mailbox, handler, concurrency=40) as consumer:
                await until(lambda: consumer.processed_count == 40)
            acks = [path for path, _, _ in wire.requests if path == "/v1/mailbox_ack"]
            assert len(acks) <= 3

    run(server, test)


def test_one_refused_outcome_holds_up_no_other(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "apart", "a", "b")
        async with between(server.url) as wire, Mq9Client(wire.url, agent="apart") as one:
            working = asyncio.Barrier(2)

            async def handler(message: Mq9Message) -> None:
                assert message["attempt"] == 1
                await working.wait()
                wire.plan[:] = [refusal(400, "INVALID_ARGUMENT")]  # of both together

            async with one.consume(mailbox, handler, concurrency=2) as consumer:
                await until(lambda: consumer.processed_count == 2)
        assert await states(client, mailbox) == {"a": "acked", "b": "acked"}

    run(server, test)


def test_a_handler_may_stop_its_consumer(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "enough", "a", "b")

        async def handler(message: Mq9Message) -> None:
            assert text_of(message) == "a"
            await consumer.stop()

        consumer = client.consume(mailbox, handler)
        await consumer.wait()
        assert await states(client, mailbox) == {"a": "acked", "b": "waiting"}

    run(server, test)


def test_a_cancelled_worker_loses_nothing(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "cancelled", "a", "b")
        begun = asyncio.Event()
        go_on = asyncio.Event()

        async def handler(message: Mq9Message) -> None:
            begun.set()
            await go_on.wait()
            assert message["attempt"] == 1

        async def work() -> None:
            async with client.consume(mailbox, handler):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        go_on.set()
        await asyncio.wait({task})
        assert task.cancelled()
        assert await states(client, mailbox) == {"a": "acked", "b": "waiting"}

    run(server, test)


def test_a_handler_without_a_loop_runs_in_a_thread_and_may_call(server: Server) -> None:
    with SyncMq9Client(server.url, agent="threads") as client:
        client.mailbox_create(address="sync")
        for number in range(6):
            client.send("sync", f"{number}")
        threads, done, both = set(), threading.Event(), threading.Barrier(2, timeout=30)

        def handler(message: Mq9Message) -> str:
            both.wait()  # two at once, or nobody goes on
            threads.add(threading.current_thread().name)
            client.mailbox_send(to="threads", text=text_of(message))
            if consumer.processed_count == 4:
                done.set()
                consumer.stop()
            return "done"

        with client.consume("sync", handler, concurrency=2) as consumer:
            assert consumer.is_running
            assert done.wait(30)
            consumer.wait()
        assert (consumer.processed_count, consumer.failed_count, consumer.error) == (6, 0, None)
        assert len(threads) == 2
        assert len(client.fetch("threads")) == 6


def test_mq9s_words_for_a_consumer(server: Server) -> None:
    async def test(client: Mq9Client) -> None:
        mailbox = await filled(client, "theirs", "a", "b")
        seen, told = [], []

        async def handler(msg: Mq9Message) -> None:
            seen.append(msg.payload)
            if msg.payload == b"b":
                raise OSError("b")

        async def error_handler(msg: Mq9Message, error: Exception) -> None:
            told.append((msg.payload, type(error)))

        consumer = await client.consume(
            mailbox, handler, group_name="workers", num_msgs=10, auto_ack=True, error_handler=error_handler
        )
        await until(lambda: told)
        await consumer.stop()
        assert seen == [b"a", b"b"]
        assert told == [(b"b", OSError)]
        assert consumer.processed_count == 1
        assert [one["name"] for one in (await client.group_list(mailbox=mailbox))["groups"]] == ["workers"]

    run(server, test)
