"""Runs the demo and writes what it said: ``docs/demo.txt``, and the middle of it as a picture for the README.

``python tools/make_demo.py``; with ``--picture`` only the picture is made anew, of the text that is there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT, PICTURE = DOCS / "demo.txt", DOCS / "demo.svg"
COLUMNS = 108
# The scenes that are shown: from the question in plain words to the death of the broker.
FIRST, AFTER = "2. ", "6. "
DARK = (40, 44, 52)
COLOURS = [DARK, (224, 108, 117), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 120, 221)]
THEME = TerminalTheme(DARK, (220, 223, 228), [*COLOURS, (86, 182, 194), (220, 223, 228)])
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # would be loaded from elsewhere
STYLES = {r"^\d\. .*$": "bold cyan", r"^ +ok .*$": "green", "kill -9": "bold red", r"task-\w+": "yellow"}


def picture(text: str) -> str:
    """The scenes as a terminal shows them, in one SVG that needs nothing from elsewhere."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(FIRST))
    after = next(number for number, line in enumerate(lines) if line.startswith(AFTER))
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, legacy_windows=False)
    shown = Text("\n".join(lines[first : after - 1]))
    for pattern, style in STYLES.items():
        shown.highlight_regex(re.compile(pattern, re.MULTILINE), style)
    console.print(shown)
    made = console.export_svg(title="make demo (scenes 2 to 5 of 8)", theme=THEME, unique_id="demo")
    return FONT.sub("", made).rstrip() + "\n"


def run() -> str:
    """What the demo says; it must hold its promises."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "mq9_mcp.cli", "demo"]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout.decode()


def main() -> None:
    """Write both."""
    if "--picture" not in sys.argv:
        TEXT.write_text(run(), encoding="utf-8")
    PICTURE.write_text(picture(TEXT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
