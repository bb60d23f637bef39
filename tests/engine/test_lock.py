"""One process owns a data directory; a second is told who, and a killed owner is no obstacle."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mq9_mcp.daemon import find, stop
from mq9_mcp.domain.errors import Mq9Error, Unavailable
from mq9_mcp.engine.embedded.engine import open_engine
from mq9_mcp.engine.embedded.lock import LOCK_FILE, OwnerLock, owner_of, read_owner
from tests.support import Desk, opened, run, texts

ROOT = Path(__file__).parents[2]
OWNER = """
import asyncio, sys
from pathlib import Path
from tests.support import Desk

async def main():
    desk = Desk(Path(sys.argv[1]))
    await desk.open()
    await desk.call("mailbox_create", address="box")
    await desk.send(text="kept")
    print("owns", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await desk.broker.close()

asyncio.run(main())
"""


@contextmanager
def owner(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with a broker on ``folder``; a line to it lets it close."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'a2a'}"}
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"owns\n"
        try:
            yield process
        finally:
            if process.poll() is None:
                process.communicate(b"\n", timeout=30)


def refused(folder: Path) -> Mq9Error:
    """What a start on an owned directory says."""
    with pytest.raises(Unavailable) as caught:
        asyncio.run(open_engine(folder))
    return caught.value


def test_a_second_process_is_told_the_first_one(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        error = refused(tmp_path)
        assert error.code == "STORAGE_UNAVAILABLE"
        assert f"process id {process.pid}" in error.message
        assert str(tmp_path) in error.message
        assert error.details["owner"] == {"pid": process.pid}
        assert error.hint
    assert read_owner(tmp_path) == {}

    async def body(desk: Desk) -> None:
        assert texts(await desk.query()) == ["kept"]

    run(body, tmp_path)


def test_a_killed_owner_is_no_obstacle(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert read_owner(tmp_path) == {"pid": process.pid}, "what it left behind"

        async def body(desk: Desk) -> None:
            assert read_owner(tmp_path) == {"pid": os.getpid()}
            assert texts(await desk.fetch()) == ["kept"]

        run(body, tmp_path)


def test_a_second_broker_in_the_same_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path, "box") as desk:
            with pytest.raises(Unavailable, match=f"process id {os.getpid()}"):
                await open_engine(tmp_path)
            await desk.send(text="after")
            assert texts(await desk.fetch()) == ["after"]

    asyncio.run(body())


def test_the_owner_can_say_where_it_listens(tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path)
    lock.tell("http://127.0.0.1:9009")
    error = refused(tmp_path)
    assert "at http://127.0.0.1:9009" in error.message
    lock.tell("short")
    assert read_owner(tmp_path) == {"pid": os.getpid(), "address": "short"}
    lock.release()
    lock.release()
    assert read_owner(tmp_path) == {}


@pytest.mark.parametrize("junk", [b"", b"nonsense", b"[1]", b'{"pid": 999999999}', b"\xff\xfe"])
def test_what_a_stale_lock_file_says_does_not_matter(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(junk)
    lock = OwnerLock(tmp_path)
    assert read_owner(tmp_path) == {"pid": os.getpid()}
    lock.release()


JUNK = (
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"pid": 4',
    b'{"pid": "4", "address": "http://127.0.0.1:9"}',
    b'{"pid": true, "address": "http://127.0.0.1:9"}',
    b'{"pid": -1, "address": "http://127.0.0.1:9"}',
    b'{"pid": 0, "address": "http://127.0.0.1:9"}',
    b'{"pid": 99999999999999999999, "address": "http://127.0.0.1:9"}',
    b'{"pid": 4, "address": 9}',
    b'{"address": "http://127.0.0.1:9"}',
)


@pytest.mark.parametrize("junk", JUNK)
def test_what_no_broker_wrote_into_a_lock_that_is_held_names_nobody(junk: bytes, tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path)
    (tmp_path / LOCK_FILE).write_bytes(junk)
    assert owner_of(tmp_path) == {}
    assert find(tmp_path) is None
    assert not stop(tmp_path, 0), "nobody gets a signal"
    lock.release()


def test_an_owner_that_cannot_say_who_it_is_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    left = json.dumps({"pid": os.getpid(), "address": "http://127.0.0.1:9"}).encode()
    (tmp_path / LOCK_FILE).write_bytes(left)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        lock = OwnerLock(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert owner_of(tmp_path) == {}
    lock.release()


def test_the_directory_and_its_lock_are_the_owners_alone(tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path / "new" / "data")
    assert lock.path.stat().st_mode & 0o077 == 0
    assert lock.path.parent.stat().st_mode & 0o077 == 0
    lock.release()


def test_a_start_that_fails_lets_the_directory_go(tmp_path: Path) -> None:
    (tmp_path / "mq9.duckdb").write_bytes(b"this is no database" * 1000)
    with pytest.raises(Exception, match=r"mq9\.duckdb"):
        asyncio.run(open_engine(tmp_path))
    (tmp_path / "mq9.duckdb").unlink()

    async def body(desk: Desk) -> None:
        await desk.send(text="works")

    run(body, tmp_path, "box")


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / LOCK_FILE).symlink_to(precious)
    with pytest.raises(OSError, match=LOCK_FILE):
        OwnerLock(tmp_path / "data")
    assert precious.read_text() == "kept"
