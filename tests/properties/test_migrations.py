"""Migrations: any earlier schema becomes this one, rows and all; twice changes nothing more than once."""

from __future__ import annotations

import asyncio
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq9_mcp.engine.embedded.doctor import TABLES
from mq9_mcp.engine.embedded.tables import SCHEMA_VERSION, TABLES_FILE, Tables, migrations
from tests.engine.versions import ANSWERS, DATA, FOLDER, ask_all
from tests.properties.values import examples

ARCHIVES = sorted(FOLDER.glob("v*.tar.gz"))
Content = dict[str, list[tuple[Any, ...]]]


def schema(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Every column of every table."""
    return con.execute(
        "select table_name, column_index, column_name, data_type, is_nullable, column_default"
        " from duckdb_columns() where not internal order by all"
    ).fetchall()


def content(con: duckdb.DuckDBPyConnection) -> Content:
    """Every row of every table."""
    names = con.execute("select table_name from duckdb_tables() order by all").fetchall()
    return {name: sorted(con.execute(f"select * from {name}").fetchall(), key=repr) for (name,) in names}


def opened(path: Path) -> tuple[list[tuple[Any, ...]], Content]:
    """Schema and rows as this version has them."""
    tables = Tables(path)
    try:
        return schema(tables.con), content(tables.con)
    finally:
        tables.close()


@pytest.mark.parametrize("version", range(SCHEMA_VERSION + 1))
def test_every_earlier_schema_becomes_the_same(version: int, tmp_path: Path) -> None:
    path = tmp_path / TABLES_FILE
    with duckdb.connect(str(path)) as con:
        for number, text in migrations():
            if number <= version:
                con.execute(text)
                con.execute("insert or replace into meta values ('schema_version', ?)", [number])
    assert opened(path)[0] == opened(tmp_path / "new.duckdb")[0]
    assert opened(path)[1]["meta"] == [("schema_version", SCHEMA_VERSION)]


numbers = st.integers(-(2**62), 2**62)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "BIGINT": numbers,
    "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "TINYINT": st.integers(-128, 127),
    "BOOLEAN": st.booleans(),
    "DOUBLE": st.floats(allow_nan=False),
    "VARCHAR": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    "BIGINT[]": st.lists(numbers, max_size=3),
    "BLOB": st.binary(max_size=16),
    "FLOAT[384]": st.floats(allow_nan=False, width=32).map(lambda one: (one,) * 384),
    "VARCHAR[]": st.lists(st.sampled_from(["red", "blue", "ä"]), max_size=3),
}


@examples(8)
@given(st.data())
def test_rows_of_any_values_stay_through_any_number_of_starts(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TABLES_FILE
        tables = Tables(path)
        for table in (name for name in TABLES if name != "meta"):
            columns = [row for row in schema(tables.con) if row[0] == table]
            columns.sort(key=lambda row: row[1])
            kinds = [VALUES[row[3]] if not row[4] else st.none() | VALUES[row[3]] for row in columns]
            tables.append(table, data.draw(st.lists(st.tuples(*kinds), max_size=3)))
        before = schema(tables.con), content(tables.con)
        tables.close()
        for _ in range(2):
            assert opened(path) == before


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_data_of_every_version_stays_equal_through_starts(archive: Path, tmp_path: Path) -> None:
    """Asked after one start, and after three, of which two only brought it up to date."""
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    recorded = json.loads((tmp_path / ANSWERS).read_text(encoding="utf-8"))
    shutil.copytree(tmp_path / DATA, tmp_path / "again")
    for _ in range(2):
        assert asyncio.run(ask_all(tmp_path / "again", [])) == []
    once = asyncio.run(ask_all(tmp_path / DATA, recorded["calls"]))
    assert asyncio.run(ask_all(tmp_path / "again", recorded["calls"])) == once
    assert once == recorded["answers"]
