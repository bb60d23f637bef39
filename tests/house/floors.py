"""The order of floors: what a file may import. Each rule takes sources and returns what breaks it."""

import ast
import sys
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from tests.house.source import Source, imports

FLOORS: tuple[tuple[str, ...], ...] = (
    ("mq9_mcp.domain",),
    tuple(f"mq9_mcp.{room}" for room in ("engine", "routing", "crypto", "policy", "peers", "sinks")),
    ("mq9_mcp.broker",),
    ("mq9_mcp.doors", "mq9_mcp.pumps", "mq9_a2a"),
    (
        *(f"mq9_mcp.{room}" for room in ("client", "bridge", "settings", "serve", "daemon", "cli", "demo")),
        "mq9_a2a.listening",
    ),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TOP = len(FLOORS) - 1
FRONT = "mq9_a2a"  # its first page names what stands above the door, and imports it when asked
PACKAGE = "mq9_mcp"  # holds the version, imports nothing, may be imported by all
SEAM = "mq9_mcp.engine.base"
MODEL = tuple(
    f"tests.simulation.{room}"
    for room in ("agents", "model", "threads", "sending", "sessions", "tasks", "passing", "shelf")
)

# What has a clock, randomness, threads, other processes or I/O.
NOT_STILL = frozenset(
    {"asyncio", "concurrent", "glob", "http", "io", "logging", "mmap", "multiprocessing", "os", "pathlib"}
    | {"queue", "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3"}
    | {"ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid"}
)
NOT_STILL_CALLS = frozenset(
    {"open", "print", "input", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
)
ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def room_of(module: str) -> str | None:
    """The room that a module of the house stands in; None for a module from elsewhere."""
    first, *rest = module.split(".")
    if first == FRONT:
        return f"{first}.{rest[0]}" if rest and f"{first}.{rest[0]}" in FLOOR_OF else first
    if first != PACKAGE:
        return None
    return f"{first}.{rest[0]}" if rest else PACKAGE


def known_modules(sources: Sequence[Source]) -> frozenset[str]:
    return frozenset({source.module for source in sources} | set(FLOOR_OF) | {SEAM})


def unknown_rooms(sources: Sequence[Source]) -> list[str]:
    """Every file stands in a room that has a floor; only rooms of the top floor may be single files."""
    found = []
    for source in sources:
        room = room_of(source.module)
        is_file = source.module == room and not source.is_package
        if room == PACKAGE:
            continue
        if room not in FLOOR_OF:
            found.append(f"{source.path}: {room} has no floor")
        elif is_file and FLOOR_OF[room] != TOP:
            found.append(f"{source.path}: only rooms of the top floor may be files")
    return found


def upward_imports(sources: Sequence[Source]) -> list[str]:
    """A file imports from lower floors and its own room; files of the top floor may import each other."""
    known = known_modules(sources)
    found = []
    for source in sources:
        room = room_of(source.module)
        floor = TOP if source.module == FRONT else FLOOR_OF.get(room or "", -1)
        for line, target in imports(source, known):
            other = room_of(target)
            if other in (None, room, PACKAGE) or floor == TOP:
                continue
            if FLOOR_OF.get(other or "", TOP) >= floor:
                found.append(f"{source.path}:{line}: {room} may not import {target}")
    return found


def engine_behind_seam(sources: Sequence[Source]) -> list[str]:
    """Above the engine only its seam is visible; files of the top floor may name an engine to start it."""
    known = known_modules(sources)
    found = []
    for source in sources:
        floor = FLOOR_OF.get(room_of(source.module) or "", -1)
        if not 1 < floor < TOP:
            continue
        for line, target in imports(source, known):
            if room_of(target) == "mq9_mcp.engine" and target != SEAM:
                found.append(f"{source.path}:{line}: sees {target}, may only see {SEAM}")
    return found


def model_alone(source: Source) -> list[str]:
    """The model of the simulation imports the standard library and its own rooms, nothing of the product."""
    found = []
    for line, target in imports(source, frozenset(MODEL)):
        if target.split(".")[0] not in sys.stdlib_module_names and target not in MODEL:
            found.append(f"{source.path}:{line}: the model may not import {target}")
    return found


def import_cycles(sources: Sequence[Source]) -> list[str]:
    """No module imports itself, directly or through others."""
    known = known_modules(sources)
    graph = {source.module: {target for _, target in imports(source, known)} for source in sources}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["import cycle: " + " <- ".join(error.args[1])]
    return []


def domain_imports(source: Source) -> list[str]:
    """The domain imports msgspec, the still part of the standard library, and itself."""
    found = []
    for line, target in imports(source, frozenset()):
        root = target.split(".")[0]
        if root in NOT_STILL or root not in sys.stdlib_module_names | {"msgspec", PACKAGE}:
            found.append(f"{source.path}:{line}: the domain may not import {target}")
    return found


def domain_still(source: Source) -> list[str]:
    """The domain waits for nothing and touches neither clock nor file."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ASYNC) or (isinstance(node, ast.comprehension) and node.is_async):
            line = node.target.lineno if isinstance(node, ast.comprehension) else node.lineno
            found.append(f"{source.path}:{line}: the domain may not wait")
        elif isinstance(node, ast.Call):
            name = ".".join(ast.unparse(node.func).split(".")[-2:])
            if name in NOT_STILL_CALLS:
                found.append(f"{source.path}:{node.lineno}: the domain may not call {name}")
    return found
