"""A broker in a process of its own whose files may not grow: ``full_disk_worker.py SCENARIO DATA``.

``RLIMIT_FSIZE`` is a full disk that any user can have: a write beyond it fails with ``EFBIG``.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mq9_mcp.domain.errors import Mq9Error, Unavailable
from mq9_mcp.engine.embedded import folder_child
from tests.engine.test_faults import healed, outcome, queried
from tests.support import Desk, Reply, texts

KIB = 1024
TEXT = "x" * 700


def limit_files(desk: Desk | None, size: int | None) -> None:
    """From now on no file of the broker, and of its folder process, grows beyond ``size`` bytes."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    both = (hard if size is None else size, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, both)
    if desk is not None and desk.engine.folder.pid:
        resource.prlimit(desk.engine.folder.pid, resource.RLIMIT_FSIZE, both)


async def fill(desk: Desk, count: int) -> list[str]:
    """So many messages, in the tables when it returns."""
    await desk.call("mailbox_create", address="box")
    sent = [f"{number} {TEXT}" for number in range(count)]
    for text in sent:
        await desk.send(text=text)
    await desk.query()
    return sent


async def everything(desk: Desk) -> list[str]:
    """The texts of all messages in the mailbox, by pages."""
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        reply: Reply = await desk.call("mailbox_query", mailbox="box", limit=100, **cursor)
        found += texts(reply["messages"])
        if "next_cursor" not in reply:
            return found
        cursor = {"cursor": reply["next_cursor"]}


async def folded(desk: Desk) -> None:
    """Return when the tables have stored all that is on disk; the broker gets there without help."""
    while True:
        try:
            await desk.engine.folder.reach(desk.engine.journal.durable_seq, stored=True)
            return
        except Unavailable:
            await asyncio.sleep(0)


async def nothing_can_be_written(desk: Desk) -> None:
    """Changes are refused with what to do, reads go on, and all is well when there is room again."""
    sent = await fill(desk, 20)
    [held] = await desk.fetch(max=1)
    sent.append("the last one")
    await desk.send(text=sent[-1])  # not in the tables yet when the disk is full
    limit_files(desk, 0)
    for _ in range(5):
        refusal = await desk.refused("STORAGE_UNAVAILABLE", "mailbox_send", to="box", text="lost")
        assert "nothing was stored" in refusal.message, refusal
        assert "File too large" in refusal.message, refusal
        assert "ulimit -f" in refusal.hint, refusal
        assert await everything(desk) == sent
        assert (await desk.call("mailbox_get", address="box"))["mailbox"]["counts"]["unsettled"] == len(sent)
        assert (await desk.call("group_list", mailbox="box"))["groups"][0]["name"] == "default"
    changes: dict[str, dict[str, Any]] = {
        "mailbox_fetch": {"mailbox": "box"},
        "mailbox_ack": {"items": [{"lease": held["lease"]}]},
        "mailbox_delete": {"mailbox": "box", "ids": [held["id"]]},
        "mailbox_create": {"address": "new"},
    }
    for name, arguments in changes.items():
        assert await outcome(desk, name, **arguments) == "STORAGE_UNAVAILABLE", name
    limit_files(desk, None)
    await healed(desk)
    await desk.settle(held)
    sent.append("probe")
    await folded(desk)
    for _ in range(2):
        assert await everything(desk) == sent
        assert len(await desk.query(state="acked")) == 1
        await desk.restart()


async def the_journal_cannot_grow(desk: Desk) -> None:
    """The last segment is full and no other can be made."""
    sent = await fill(desk, 3)
    limit_files(desk, 31 * KIB)
    refusal: Mq9Error | None = None
    while refusal is None:
        try:
            await desk.send(text=f"{len(sent)} {TEXT}")
            sent.append(f"{len(sent)} {TEXT}")
        except Mq9Error as error:
            refusal = error
    assert refusal.code == "STORAGE_UNAVAILABLE"
    assert "ulimit -f" in refusal.hint, refusal
    assert await everything(desk) == sent
    limit_files(desk, None)
    await healed(desk)
    sent.append("probe")
    await desk.restart()
    assert await everything(desk) == sent


async def the_tables_cannot_grow(desk: Desk) -> None:
    """Only DuckDB's files reach the limit: mail goes on, and queries see it."""
    sent = await fill(desk, 20)
    size = desk.folder.joinpath("mq9.duckdb.wal").stat().st_size
    limit_files(desk, max(size, 48 * KIB))
    for number in range(20, 150):
        sent.append(f"{number} {TEXT}")
        await desk.send(text=sent[-1])
        if number % 13 == 0:
            assert await everything(desk) == sent, number
    engine = desk.engine
    assert engine.folder.folded < engine.journal.durable_seq
    assert engine.folder.error is not None
    assert "File too large" in engine.folder.error
    assert len(await desk.fetch(max=5)) == 5
    kept = len(engine.journal.segments)
    assert await everything(desk) == sent
    assert len(await desk.query(state="leased")) == 5
    limit_files(desk, None)
    await folded(desk)
    assert engine.folder.error is None
    assert kept >= len(engine.journal.segments), "what is folded now may go"
    for _ in range(2):
        assert await everything(desk) == sent
        await desk.restart()


async def a_checkpoint_fails(desk: Desk) -> None:
    """DuckDB gives its whole database up after a checkpoint that failed; the folder opens it again."""
    folder_child.CHECKPOINT_BYTES = 64 * KIB
    folder_child.CHECKPOINT_RETRY_S = 0.01
    reopened = 0
    opening = folder_child.Child.reopen

    def reopen(child: folder_child.Child) -> None:
        nonlocal reopened
        reopened += 1
        opening(child)

    folder_child.Child.reopen = reopen  # type: ignore[assignment,method-assign]
    sent = await fill(desk, 400)
    await folded(desk)
    size = desk.folder.joinpath("mq9.duckdb").stat().st_size
    assert size > 3 * folder_child.CHECKPOINT_BYTES, "checkpoints were made"
    limit_files(desk, size)
    while not reopened:
        for number in range(len(sent), len(sent) + 20):
            sent.append(f"{number} {TEXT}")
            await desk.send(text=sent[-1])
        assert texts(await queried(desk))[0] == sent[0]
    limit_files(desk, None)
    await folded(desk)
    for _ in range(2):
        assert await everything(desk) == sent
        await desk.restart()


async def killed_while_full(desk: Desk) -> None:
    """Fills up, and is killed by itself; ``main`` of another process looks what is left."""
    await fill(desk, 20)
    limit_files(desk, 0)
    tries = [outcome(desk, "mailbox_send", to="box", text="lost") for _ in range(5)]
    assert await asyncio.gather(*tries) == ["STORAGE_UNAVAILABLE"] * 5
    os.kill(os.getpid(), signal.SIGKILL)


async def opened_while_full(desk: Desk) -> None:
    """What the killed one left opens with room; without it, it opens or says what is wanting."""
    await desk.broker.close()
    limit_files(None, 0)
    refusal: Mq9Error | None = None
    try:
        await desk.open()
    except Mq9Error as error:
        refusal = error
    if refusal is None:
        assert len(await everything(desk)) == 20
        await desk.broker.close()
    else:
        assert refusal.code == "STORAGE_UNAVAILABLE"
        assert "File too large" in refusal.message, refusal
    limit_files(None, None)
    await desk.open()
    assert len(await everything(desk)) == 20
    await desk.send(text="works")


async def no_process_can_be_started(desk: Desk) -> None:
    """The folder process dies, and there is no file descriptor left to start another one with."""
    sent = await fill(desk, 5)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    os.kill(desk.engine.folder.pid, signal.SIGKILL)
    while "cannot start" not in (desk.engine.folder.error or ""):
        await asyncio.sleep(0)
    sent.append("meanwhile")
    await desk.send(text=sent[-1])
    refusal = await desk.refused("STORAGE_UNAVAILABLE", "mailbox_query", mailbox="box")
    assert "Too many open files" in refusal.message, refusal
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert texts(await queried(desk)) == sent


SCENARIOS: dict[str, tuple[Callable[[Desk], Coroutine[Any, Any, None]], dict[str, Any]]] = {
    "nothing_can_be_written": (nothing_can_be_written, {"fold_apart": True}),
    "the_journal_cannot_grow": (the_journal_cannot_grow, {"segment_bytes": 32 * KIB}),
    "the_tables_cannot_grow": (
        the_tables_cannot_grow,
        {"fold_apart": True, "segment_bytes": 32 * KIB, "journal_bytes": 0},
    ),
    "a_checkpoint_fails": (a_checkpoint_fails, {"segment_bytes": 32 * KIB}),
    "killed_while_full": (killed_while_full, {"fold_apart": True}),
    "no_process_can_be_started": (no_process_can_be_started, {"fold_apart": True}),
    "opened_while_full": (opened_while_full, {"fold_apart": True}),
}


async def main(name: str, data: Path) -> None:
    """Run a scenario; an assertion that fails ends the process with 1."""
    scenario, options = SCENARIOS[name]
    desk = Desk(data, **options)
    async with asyncio.timeout(60):
        await desk.open()
        await scenario(desk)
        await desk.broker.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
