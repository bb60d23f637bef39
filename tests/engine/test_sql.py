"""Every named statement fits the schema and is used; every statement that code names is there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mq9_mcp.engine.embedded import tables
from mq9_mcp.engine.embedded.frame import Damaged
from mq9_mcp.engine.embedded.tables import SCHEMA_VERSION, SQL, Tables, migrations

SOURCES = sorted((Path(tables.__file__).parent).glob("*.py"))
TEMPORARY = [name for name, text in SQL.items() if text.startswith("create or replace temp table")]


@pytest.fixture(scope="module")
def schema() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database with the schema and the folder's temporary tables."""
    con = duckdb.connect()
    for _, text in migrations():
        con.execute(text)
    for name in TEMPORARY:
        con.execute(SQL[name])
    yield con
    con.close()


@pytest.mark.parametrize("name", sorted(SQL.keys() - set(TEMPORARY)))
def test_a_statement_fits_the_schema(name: str, schema: duckdb.DuckDBPyConnection) -> None:
    schema.execute(f"prepare one as {SQL[name]}")
    schema.execute("deallocate one")


def test_a_statement_that_does_not_fit_is_found(schema: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error):
        schema.execute("prepare one as select no_such_column from messages where id = ?")


def names_in(text: str) -> Iterator[tuple[str, bool]]:
    """The strings in a source that may name a statement, and whether only their beginning is known."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            yield str(node.values[0].value), True
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, False


def unused(statements: set[str], sources: list[str]) -> set[str]:
    """The statements that no source names."""
    found = [name for text in sources for name in names_in(text)]
    return {
        name
        for name in statements
        if not any(name == seen or (open_ and seen and name.startswith(seen)) for seen, open_ in found)
    }


def missing(statements: set[str], sources: list[str]) -> set[str]:
    """The names that code gives to what runs statements, and that are none."""
    runners = {"run", "rows", "read_row", "read_rows", "_one", "query_row", "query_rows", "_with_ids"}
    found = set()
    for text in sources:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                callee = ast.unparse(node.func).split(".")[-1]
                found |= {one for one in map(constant, node.args) if one} if callee in runners else set()
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "SQL":
                found |= {constant(node.slice)} - {""}
    return found - statements


def constant(node: ast.expr) -> str:
    """The string that stands there, or nothing."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_statement_is_used_and_there() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES]
    assert unused(set(SQL), texts) == set()
    assert missing(set(SQL), texts) == set()


def test_an_unused_and_a_missing_statement_are_found() -> None:
    source = "tables.run('one', [1])\nSQL['two']\ntables.run(f'drop_{what}')\nrun(name)"
    assert unused({"one", "two", "drop_all", "three"}, [source]) == {"three"}
    assert missing({"one"}, [source]) == {"two"}


def test_the_schema_of_a_later_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "mq9.duckdb"
    Tables(path).close()
    with duckdb.connect(str(path)) as con:
        con.execute("update meta set value = value + 1 where name = 'schema_version'")
    with pytest.raises(Damaged, match=f"version {SCHEMA_VERSION + 1}.* knows {SCHEMA_VERSION}"):
        Tables(path)


def test_a_file_that_is_no_database_is_said_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mq9.duckdb"
    path.write_bytes(b"no database" * 5000)
    with pytest.raises(Damaged, match=r"^mq9\.duckdb: DuckDB cannot open it"):
        Tables(path)


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in migrations()] == list(range(1, SCHEMA_VERSION + 1))
