"""The house keeps its own rules, and each rule bites on a planted mistake.

A rule is a pure function: sources in, a list of violations out. It is called once on the tree and at least
once on a mistake, so a rule that sees nothing fails here too.
"""

from collections.abc import Callable
from textwrap import indent

import pytest

from tests.house import floors, litter, shape
from tests.house.source import ROOT, Source, read, sources, tree_paths

TREE = tree_paths()
HOUSE = sources("mq9_mcp", "a2a/mq9_a2a")
DOMAIN = [source for source in HOUSE if floors.room_of(source.module) == "mq9_mcp.domain"]
TESTS = sources("tests")
CODE = [*HOUSE, *TESTS, *sources("benchmarks", "tools", "examples")]

ManySourcesRule = Callable[[list[Source]], list[str]]
SourceRule = Callable[[Source], list[str]]
TextRule = Callable[[str, str], list[str]]


def planted(**files: str) -> list[Source]:
    """Sources by module name, `__` for a dot: `mq9_mcp__domain__names="import os"`."""
    made = []
    for name, text in files.items():
        path = name.replace("__", "/") + ".py"
        made.append(Source(f"a2a/{path}" if path.startswith("mq9_a2a/") else path, text))
    return made


def package(path: str, text: str) -> Source:
    return Source(f"{path}/__init__.py", text)


def test_the_tree_is_seen() -> None:
    assert "mq9_mcp/__init__.py" in TREE
    assert {source.module for source in HOUSE} >= {"mq9_mcp", "mq9_mcp.bridge", "mq9_a2a"}
    assert "tests/house/test_house.py" in [source.path for source in TESTS]
    assert DOMAIN


# --- floors ---


@pytest.mark.parametrize(
    "rule",
    [floors.unknown_rooms, floors.upward_imports, floors.engine_behind_seam, floors.import_cycles],
    ids=lambda rule: rule.__name__,
)
def test_the_house_keeps_its_floors(rule: ManySourcesRule) -> None:
    assert rule(HOUSE) == []


@pytest.mark.parametrize(
    "path", ["mq9_mcp/helpers.py", "mq9_mcp/utils/text.py", "mq9_mcp/broker.py", "mq9_mcp/doors.py"]
)
def test_a_room_without_a_floor_is_found(path: str) -> None:
    assert len(floors.unknown_rooms([Source(path, "")])) == 1


@pytest.mark.parametrize(
    "path", ["mq9_mcp/__init__.py", "mq9_mcp/cli.py", "mq9_mcp/cli/tail.py", "mq9_mcp/broker/bell.py"]
)
def test_a_room_with_a_floor_passes(path: str) -> None:
    assert floors.unknown_rooms([Source(path, "")]) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mq9_mcp__domain__task", "from mq9_mcp.engine import base"),
        ("mq9_mcp__engine__base", "import mq9_mcp.broker.bell"),
        ("mq9_mcp__engine__base", "from mq9_mcp.routing.index import Index"),
        ("mq9_mcp__engine__base", "from mq9_mcp import routing"),
        ("mq9_mcp__engine__base", "from ..broker import bell"),
        ("mq9_mcp__broker__bell", "def f():\n    from mq9_mcp.doors.rest import app"),
        ("mq9_mcp__doors__rest", "from mq9_mcp.pumps import push"),
        ("mq9_mcp__doors__rest", "import mq9_a2a.app"),
        ("mq9_a2a__app", "from mq9_mcp.serve import main"),
        ("mq9_a2a__app", "from mq9_a2a import listening"),
        ("mq9_a2a__app", "from mq9_mcp.nowhere import main"),
        ("mq9_mcp__domain__task", "from mq9_mcp import cli"),
    ],
)
def test_an_import_of_the_same_or_a_higher_floor_is_found(module: str, line: str) -> None:
    assert len(floors.upward_imports(planted(**{module: line}))) == 1


def test_the_package_itself_imports_nothing_of_the_house() -> None:
    assert floors.upward_imports([package("mq9_mcp", "from mq9_mcp.domain import names")])


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mq9_mcp__engine__embedded__state", "from mq9_mcp.engine.base import Engine"),
        ("mq9_mcp__engine__embedded__state", "from . import journal"),
        ("mq9_mcp__broker__bell", "import msgspec, asyncio\nfrom mq9_mcp.domain import names"),
        ("mq9_a2a__app", "from mq9_mcp import __version__\nfrom mq9_mcp.broker.broker import Broker"),
        ("mq9_mcp__cli", "from mq9_mcp import demo, serve\nimport mq9_a2a.app"),
        ("mq9_a2a__listening__work", "from mq9_mcp.client import Job\nfrom mq9_a2a.app import A2aDoor"),
    ],
)
def test_an_import_of_a_lower_floor_or_the_own_room_passes(module: str, line: str) -> None:
    assert floors.upward_imports(planted(**{module: line})) == []


@pytest.mark.parametrize(
    "line",
    [
        "from mq9_mcp.engine.embedded.journal import Journal",
        "from mq9_mcp.engine import embedded",
        "import mq9_mcp.engine",
    ],
)
@pytest.mark.parametrize("module", ["mq9_mcp__broker__bell", "mq9_mcp__doors__rest", "mq9_a2a__app"])
def test_an_engine_seen_past_its_seam_is_found(module: str, line: str) -> None:
    assert len(floors.engine_behind_seam(planted(**{module: line}))) == 1


def test_the_seam_is_visible_and_the_top_floor_may_name_an_engine() -> None:
    broker = "from mq9_mcp.engine import base\nfrom mq9_mcp.engine.base import Engine"
    serve = "from mq9_mcp.engine.embedded.engine import open_engine"
    assert floors.engine_behind_seam(planted(mq9_mcp__broker__bell=broker, mq9_mcp__serve=serve)) == []


def test_an_import_cycle_is_found() -> None:
    cycle = planted(
        mq9_mcp__domain__a="from mq9_mcp.domain import b",
        mq9_mcp__domain__b="def f():\n    from .c import g",
        mq9_mcp__domain__c="import mq9_mcp.domain.a",
    )
    assert len(floors.import_cycles(cycle)) == 1
    assert floors.import_cycles(cycle[:2]) == []


# --- the model of the simulation ---


def test_the_model_knows_nothing_of_the_product_and_is_small() -> None:
    rooms = [source for source in TESTS if source.module in floors.MODEL]
    assert len(rooms) == len(floors.MODEL)
    assert [violation for source in rooms for violation in floors.model_alone(source)] == []
    assert all(len(source.text.splitlines()) < 400 for source in rooms)


@pytest.mark.parametrize(
    "line",
    ["from mq9_mcp.domain.limits import limit", "import mq9_mcp", "from tests.simulation.world import World"],
)
def test_a_model_that_looks_at_the_product_is_found(line: str) -> None:
    assert len(floors.model_alone(Source("tests/simulation/model.py", line))) == 1


def test_a_model_that_looks_at_itself_passes() -> None:
    text = "import pickle\nfrom tests.simulation.shelf import Box, iso"
    assert floors.model_alone(Source("tests/simulation/model.py", text)) == []


# --- the domain ---


@pytest.mark.parametrize("rule", [floors.domain_imports, floors.domain_still], ids=lambda rule: rule.__name__)
def test_the_domain_is_still(rule: SourceRule) -> None:
    assert [violation for source in DOMAIN for violation in rule(source)] == []


@pytest.mark.parametrize(
    "line",
    [
        "import asyncio",
        "from time import time",
        "import os.path",
        "import duckdb",
        "from random import Random as R",
    ],
)
def test_an_import_that_is_not_still_is_found(line: str) -> None:
    assert len(floors.domain_imports(Source("mq9_mcp/domain/task.py", line))) == 1


def test_a_still_import_passes() -> None:
    text = "import re\nimport msgspec\nfrom . import names\nfrom mq9_mcp.domain.names import check"
    assert floors.domain_imports(Source("mq9_mcp/domain/task.py", text)) == []


@pytest.mark.parametrize(
    "line",
    [
        "async def f(): pass",
        "open('x')",
        "import datetime\nnow = datetime.datetime.now()",
        "print(1)",
    ],
)
def test_what_is_not_still_is_found(line: str) -> None:
    assert len(floors.domain_still(Source("mq9_mcp/domain/task.py", line))) == 1


def test_every_way_of_waiting_is_found() -> None:
    body = "await x\nasync for a in x: pass\nasync with x: pass\n[a async for a in x]"
    text = f"async def f():\n{indent(body, '    ')}"
    assert len(floors.domain_still(Source("mq9_mcp/domain/task.py", text))) == 5


# --- shape ---


@pytest.mark.parametrize(
    "rule", [shape.long_functions, shape.long_file, shape.missing_docstrings], ids=lambda rule: rule.__name__
)
def test_the_house_is_in_shape(rule: SourceRule) -> None:
    assert [violation for source in HOUSE for violation in rule(source)] == []


def test_no_exception_is_stale() -> None:
    assert shape.stale_exceptions(HOUSE) == []


def function(lines: int) -> Source:
    """A method whose code has so many lines, with a docstring, a comment and blank lines between."""
    body = '"""Two\n\nlines."""\n' + "x = 1\n\n# why\n" * (lines - 1)
    inner = "def method(self):\n" + indent(body, "    ")
    return Source("mq9_mcp/x.py", "class Noun:\n" + indent(inner, "    "))


def test_a_long_function_is_found_and_may_be_excepted() -> None:
    long = function(41)
    assert shape.long_functions(long) == ["mq9_mcp/x.py:Noun.method has 41 lines of code"]
    assert shape.long_functions(long, {"mq9_mcp/x.py:Noun.method": "a table"}) == []
    assert shape.long_functions(function(40)) == []


def test_lines_inside_a_long_string_count() -> None:
    text = "def f():\n    return '''" + "\n" * 40 + "'''\n"
    assert len(shape.long_functions(Source("mq9_mcp/x.py", text))) == 1


def test_a_stale_exception_is_found() -> None:
    long, short = function(41), function(40)
    key = "mq9_mcp/x.py:Noun.method"
    assert shape.stale_exceptions([long], {key: "a table"}) == []
    assert shape.stale_exceptions([short], {key: "a table"}) == [key]
    assert shape.stale_exceptions([long], {key: ""}) == [key]


def test_a_long_file_is_found() -> None:
    assert shape.long_file(Source("mq9_mcp/x.py", "x = 1\n" * 500)) == ["mq9_mcp/x.py: 500 lines"]
    assert shape.long_file(Source("mq9_mcp/x.py", "x = 1\n" * 499)) == []


def test_a_missing_docstring_is_found() -> None:
    text = "def f(): pass\nclass C: pass\nasync def g(): pass\ndef _h(): pass\n"
    assert len(shape.missing_docstrings(Source("mq9_mcp/x.py", text))) == 4
    assert shape.missing_docstrings(Source("mq9_mcp/x.py", '"""What it is."""\ndef _h(): pass\n')) == []


# --- tests ---


def test_no_test_sleeps() -> None:
    assert [violation for source in TESTS for violation in shape.sleeps(source)] == []


@pytest.mark.parametrize(
    "call", ["time.sleep(0)", "time.sleep(1)", "asyncio.sleep(0.1)", "asyncio.sleep(delay)", "sleep(1)"]
)
def test_a_sleep_is_found(call: str) -> None:
    assert len(shape.sleeps(Source("tests/test_x.py", f"x = {call}"))) == 1


def test_giving_way_is_no_sleep() -> None:
    assert shape.sleeps(Source("tests/test_x.py", "x = asyncio.sleep(0)")) == []


# --- litter ---


def test_no_name_shadows_a_dependency() -> None:
    assert litter.shadowing_names(TREE, litter.dependency_names(read("pyproject.toml"))) == []
    assert not (ROOT / "a2a" / "__init__.py").exists()


@pytest.mark.parametrize(
    "path",
    [
        "a2a/__init__.py",
        "tests/a2a/test_x.py",
        "mcp/x.py",
        "mcp.py",
        "mq9_mcp/doors/mcp/__init__.py",
        "mq9_mcp/engine/duckdb/task.sql",
        "mq9_mcp/engine/msgspec.py",
        "a2a/a2a/x.py",
    ],
)
def test_a_shadowing_name_is_found(path: str) -> None:
    assert len(litter.shadowing_names([path], litter.dependency_names(read("pyproject.toml")))) == 1


def test_names_that_shadow_nothing_pass() -> None:
    paths = [
        "a2a/README.md",
        "a2a/mq9_a2a/__init__.py",
        "mq9_mcp/doors/mcp_tools/task.py",
        "docs/mcp/start.md",
    ]
    assert litter.shadowing_names(paths, {"a2a", "mcp"}) == []


def test_nothing_half_finished_is_left_in_the_code() -> None:
    assert [violation for source in CODE for violation in litter.leftovers(source.path, source.text)] == []


@pytest.mark.parametrize(
    "rule", [litter.machine_paths, litter.registry_addresses], ids=lambda rule: rule.__name__
)
def test_the_tree_is_free_of(rule: TextRule) -> None:
    assert [violation for path in TREE for violation in rule(path, read(path))] == []


@pytest.mark.parametrize(
    ("rule", "pieces"),
    [
        (litter.leftovers, ("# TO", "DO: later")),
        (litter.leftovers, ("# FIX", "ME")),
        (litter.leftovers, ("# XX", "X")),
        (litter.leftovers, ("    raise Not", "ImplementedError")),
        (litter.machine_paths, ("at '/ho", "me/ann/x'")),
        (litter.machine_paths, ("cd /Us", "ers/ann")),
        (litter.machine_paths, ("cd /wo", "rk/main")),
        (litter.machine_paths, ("cd /ro", "ot")),
        (litter.machine_paths, ("cd C:\\Us", "ers\\ann")),
        (litter.registry_addresses, ("https://py", "pi.o", "rg/simple")),
        (litter.registry_addresses, ("files.python", "hosted.o", "rg")),
        (litter.registry_addresses, ("registry.npm", "js.o", "rg")),
    ],
)
def test_litter_is_found(rule: TextRule, pieces: tuple[str, ...]) -> None:
    assert len(rule("x", f"a line\n{''.join(pieces)}\n")) == 1


@pytest.mark.parametrize("text", ["https://example.com/home/page", "TODOS", "fan/work/out"])
def test_what_only_looks_like_litter_passes(text: str) -> None:
    assert litter.leftovers("x", text) + litter.machine_paths("x", text) == []
