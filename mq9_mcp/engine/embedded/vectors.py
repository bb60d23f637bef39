"""Vectors of texts in the tables: a memory beside the journal, which only saves making them again."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import duckdb

from mq9_mcp.engine.embedded.folder_process import FolderProcess
from mq9_mcp.engine.embedded.tables import SQL

WIDTH = 384  # of the table's column; vectors of another width are made at each start


class Source(Protocol):
    """What this room needs of the engine."""

    folder: FolderProcess


async def find_vectors(
    engine: Source, model: str, version: str, hashes: Sequence[bytes]
) -> dict[bytes, Sequence[float]]:
    """The vectors of the texts with these hashes, as far as they are known."""
    return await engine.folder.read(0, partial(_find, arguments=[model, version, list(hashes)]))


async def keep_vectors(
    engine: Source, model: str, version: str, vectors: Mapping[bytes, Sequence[float]]
) -> None:
    """Keep vectors by the hash of their text."""
    rows = [(model, version, hash, _packed(one)) for hash, one in vectors.items() if len(one) == WIDTH]
    if rows:
        await engine.folder.read(0, partial(_keep, rows=rows))


async def prune_vectors(engine: Source, model: str, version: str, hashes: Sequence[bytes]) -> None:
    """Keep only the vectors of this model and these texts."""
    await engine.folder.read(0, partial(_prune, arguments=[model, version, list(hashes)]))


def _packed(vector: Sequence[float]) -> array[float]:
    """A vector that goes to the other process in no time."""
    return vector if isinstance(vector, array) else array("f", vector)


def _find(con: duckdb.DuckDBPyConnection, arguments: Any) -> dict[bytes, Sequence[float]]:
    return {hash: _packed(one) for hash, one in con.execute(SQL["find_vectors"], arguments).fetchall()}


def _keep(con: duckdb.DuckDBPyConnection, rows: list[tuple[str, str, bytes, array[float]]]) -> None:
    appender = con.appender("vectors")
    appender.append_rows([(*of, vector.tolist()) for *of, vector in rows])
    appender.flush()


def _prune(con: duckdb.DuckDBPyConnection, arguments: Any) -> None:
    con.execute(SQL["prune_vectors"], arguments)
