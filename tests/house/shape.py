"""The shape of one file: sizes, docstrings, sleeps. Each rule takes a source and returns what breaks it."""

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping, Sequence

from tests.house.source import Source

FUNCTION_LINES_MAX = 40
FILE_LINES_MAX = 499

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | ast.ClassDef | Function

# "path:qualified.name" -> why it may be longer. Empty, and better kept so.
LONG_FUNCTIONS: Mapping[str, str] = {}

EMPTY = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


def code_lines(source: Source) -> frozenset[int]:
    """The lines that hold code: not blank, comment or docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type not in EMPTY:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(source.tree):
        if isinstance(node, Scope) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            lines.difference_update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return frozenset(lines)


def functions(scope: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function below a node with its qualified name, methods and inner functions too."""
    for node in ast.iter_child_nodes(scope):
        inner = prefix
        if isinstance(node, Function | ast.ClassDef):
            inner = f"{prefix}{node.name}."
        if isinstance(node, Function):
            yield inner[:-1], node
        yield from functions(node, inner)


def too_long(source: Source) -> dict[str, int]:
    """The functions with too many lines of code, as "path:qualified.name" -> lines."""
    lines = code_lines(source)
    sizes = {
        f"{source.path}:{name}": len(lines.intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
        for name, node in functions(source.tree)
    }
    return {key: size for key, size in sizes.items() if size > FUNCTION_LINES_MAX}


def long_functions(source: Source, allowed: Mapping[str, str] = LONG_FUNCTIONS) -> list[str]:
    """A function has at most 40 lines of code."""
    return [f"{key} has {size} lines of code" for key, size in too_long(source).items() if key not in allowed]


def stale_exceptions(sources: Sequence[Source], allowed: Mapping[str, str] = LONG_FUNCTIONS) -> list[str]:
    """An exception names a function that is still too long, and a reason."""
    needed = {key for source in sources for key in too_long(source)}
    return [key for key, reason in allowed.items() if key not in needed or not reason]


def long_file(source: Source) -> list[str]:
    """A file has fewer than 500 lines."""
    size = len(source.text.splitlines())
    return [f"{source.path}: {size} lines"] if size > FILE_LINES_MAX else []


def missing_docstrings(source: Source) -> list[str]:
    """Every module and every public class and function in it has a docstring."""
    found = [] if ast.get_docstring(source.tree) else [f"{source.path}: no docstring"]
    for node in source.tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            found.append(f"{source.path}:{node.lineno}: {node.name} has no docstring")
    return found


def sleeps(source: Source) -> list[str]:
    """A test does not sleep; `asyncio.sleep(0)`, which only lets others run, is no sleep."""
    found = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        callee = ast.unparse(node.func)
        yields = callee == "asyncio.sleep" and [ast.unparse(arg) for arg in node.args] == ["0"]
        if callee.split(".")[-1] == "sleep" and not yields:
            found.append(f"{source.path}:{node.lineno}: {ast.unparse(node)}")
    return found
