"""DuckDB, the broker's memory on disk: one connection, its schema, its statements by name.

Only the folder thread uses the connection itself; readers get a cursor of their own.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.engine.embedded.disk import lacks_room
from mq9_mcp.engine.embedded.frame import Damaged, Newer

T = TypeVar("T")

TABLES_FILE = "mq9.duckdb"
MEMORY_LIMIT = "512MB"
LOCK_WAIT_S = 10.0
_POLL_S = 0.02
_PACKAGE = "mq9_mcp.engine.embedded"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load_statements() -> dict[str, str]:
    """All statements of ``sql/*.sql`` by name."""
    statements: dict[str, str] = {}
    for file in sorted(resources.files(_PACKAGE).joinpath("sql").iterdir(), key=lambda one: one.name):
        pieces = _NAME.split(file.read_text(encoding="utf-8"))[1:]
        for name, text in zip(pieces[::2], pieces[1::2], strict=True):
            assert name not in statements, f"statement {name} stands twice"
            statements[name] = text.strip()
    return statements


def migrations() -> list[tuple[int, str]]:
    """``(version, SQL)`` of every step of the schema, in order."""
    folder = resources.files(_PACKAGE).joinpath("migrations")
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".sql")), key=lambda one: one.name)
    return [(int(one.name[:4]), one.read_text(encoding="utf-8")) for one in files]


def is_new(path: Path) -> bool:
    """True if there are no tables yet; ``Damaged`` if only their log is there."""
    log = log_of(path)
    if not path.exists() and log.exists():
        raise Damaged(f"{path.name} is missing, its log {log.name} is there")
    return not path.exists()


def log_of(path: Path) -> Path:
    """DuckDB's log of what is not in its file yet."""
    return path.with_name(f"{path.name}.wal")


def configuration(memory_limit: str) -> dict[str, str | bool | int | float | list[str]]:
    """How DuckDB is to behave, whoever opens it."""
    return {
        "memory_limit": memory_limit,
        "threads": "2",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        # A checkpoint that fails within a commit makes the database unusable: the folder process
        # does it apart, when it can open the file again.
        "checkpoint_threshold": "1TB",
    }


def patiently(opening: Callable[[], T]) -> T:
    """What ``opening`` returns; a folder process whose broker was killed may hold the file a moment still."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return opening()
        except (Damaged, duckdb.Error) as error:
            if "Could not set lock" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


SQL = load_statements()
SCHEMA_VERSION = migrations()[-1][0]


class Tables:
    """The open database of one data directory."""

    def __init__(self, path: Path, memory_limit: str = MEMORY_LIMIT) -> None:
        self.path = path
        try:
            self.con = duckdb.connect(str(path), config=configuration(memory_limit))
        except duckdb.Error as error:
            raise self.cannot("open", error) from error
        with contextlib.suppress(OSError):  # of another owner
            path.chmod(0o600)  # it holds mail, and its folder may be open to others
        try:
            self._migrate()
        except duckdb.Error as error:
            self.con.close()
            raise self.cannot("open", error) from error
        except BaseException:
            self.con.close()
            raise

    def cannot(self, what: str, error: duckdb.Error) -> Damaged | Unavailable:
        """Why DuckDB cannot open or read its file: for want of room, or because it is damaged."""
        text = f"{self.path.name}: DuckDB cannot {what} it: {str(error).splitlines()[0]}"
        if isinstance(error, duckdb.OutOfMemoryException):
            return Unavailable("STORAGE_UNAVAILABLE", text, "give the engine a larger memory_limit")
        if lacks_room(text):
            return Unavailable("STORAGE_UNAVAILABLE", text, "mend what the system names, then start again")
        return Damaged(text)

    def log_bytes(self) -> int:
        """How long DuckDB's log is: what a checkpoint has to work into the file."""
        with contextlib.suppress(FileNotFoundError):
            return log_of(self.path).stat().st_size
        return 0

    @classmethod
    def over(cls, con: duckdb.DuckDBPyConnection) -> Tables:
        """The tables of a connection that is open and migrated."""
        tables = cls.__new__(cls)
        tables.con = con
        return tables

    def _migrate(self) -> None:
        known = self.con.execute("select count(*) from duckdb_tables() where table_name = 'meta'").fetchone()
        version = self.meta("schema_version") if known and known[0] else 0
        if version > SCHEMA_VERSION:
            raise Newer(
                f"{self.path.name}: has schema version {version}, "
                f"this version of mq9-mcp knows {SCHEMA_VERSION}"
            )
        for number, text in migrations():
            if number > version:
                self.con.begin()
                self.con.execute(text)
                self.set_meta(schema_version=number)
                self.con.commit()

    def meta(self, name: str) -> int:
        """A number that the tables keep about themselves; 0 if it was never set."""
        found = self.con.execute("select value from meta where name = ?", [name]).fetchone()
        return int(found[0]) if found else 0

    def set_meta(self, **numbers: int) -> None:
        """Keep numbers; part of the transaction that is open. One statement: each costs a millisecond."""
        values = ", ".join(["(?, ?)"] * len(numbers))
        pairs = [part for pair in numbers.items() for part in pair]
        self.con.execute(f"insert or replace into meta values {values}", pairs)

    def rows(self, name: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of the named statement."""
        return self.con.execute(SQL[name], list(arguments)).fetchall()

    def run(self, name: str, arguments: Sequence[Any] = ()) -> None:
        """Run the named statement."""
        self.con.execute(SQL[name], list(arguments))

    def append(self, table: str, rows: list[Any], chunk: int = 500) -> None:
        """Add rows to a table in pieces, so that the interpreter is never held for long."""
        if not rows:
            return
        appender = self.con.appender(table)
        for start in range(0, len(rows), chunk):
            appender.append_rows(rows[start : start + chunk])
        appender.flush()

    def close(self) -> None:
        """Close the database; what was committed is on disk."""
        self.con.close()
