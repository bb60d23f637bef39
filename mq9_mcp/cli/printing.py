"""How mq9 writes: tables on a terminal, aligned text in a pipe, JSON for programs.

What others wrote (bodies, names, reasons) is data: control characters in it never reach the terminal.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Sequence
from typing import Any

Rows = Sequence[Sequence[str]]

# Joiners that scripts and emoji need; everything else that cannot be seen is written as an escape.
_UNSEEN_ALLOWED = frozenset("\u200c\u200d")
_CUT = "..."


def on_terminal() -> bool:
    """True if a person reads: standard output is a terminal that can do more than lines."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def reader_gone() -> bool:
    """True if whoever read a pipe, such as ``head``, has closed it; seen before anything more is written."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # it is no file
        return False
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def clean(text: str, *, lines: bool = False) -> str:
    """``text`` with nothing in it that a terminal would obey; line feeds and tabs stay with ``lines``."""
    text = text.replace("\r\n", "\n")
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_line_char if lines else _cell_char, text))


def _cell_char(char: str) -> str:
    return " " if char in "\n\t" else _char(char)


def _line_char(char: str) -> str:
    return char if char in "\n\t" else _char(char)


def _char(char: str) -> str:
    if char.isprintable() or char in _UNSEEN_ALLOWED:
        return char
    return " " if char.isspace() and ord(char) > 127 else char.encode("unicode_escape").decode("ascii")


def cut(text: str, width: int) -> str:
    """The beginning of ``text`` on one line, at most ``width`` characters."""
    line = " ".join(clean(text[: 4 * width]).split())
    return line if len(line) <= width else line[: width - len(_CUT)] + _CUT


def print_json(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2))


def print_json_line(value: Any) -> None:
    """One JSON document on a line of its own, written at once."""
    print(json.dumps(value, separators=(",", ":")), flush=True)


def print_rows(rows: Rows) -> None:
    """Cells in aligned columns."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_table(heads: Sequence[str], rows: Rows) -> None:
    """A table: drawn on a terminal, aligned columns under a line of heads in a pipe."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if on_terminal():
        _draw(heads, cells)
    else:
        print_rows([[head.upper() for head in heads], *cells])


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Names and values of one thing, a line each."""
    print_rows([(name, clean(value)) for name, value in fields])


def print_text(text: str, indent: str = "") -> None:
    """Text that somebody else wrote."""
    for line in clean(text, lines=True).rstrip("\n").split("\n"):
        print(f"{indent}{line}".rstrip())


def _draw(heads: Sequence[str], cells: Rows) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
