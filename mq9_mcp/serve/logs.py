"""What the server says of itself: one line an event, for people or as JSON.

Nothing that a caller sent is in it: no body, no header, no text of an exception, which may quote both.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

FILE_BYTES = 1024 * 1024
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: value for name, value in vars(record).items() if name not in _PLAIN}
    if record.exc_info and record.exc_info[0] is not None:
        found["error"] = record.exc_info[0].__name__
    return found


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and what belongs to the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        head = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps(head | {"message": record.getMessage()} | _extra(record), default=str)


class TextLines(logging.Formatter):
    """A line to read; what belongs to the event stands behind the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with control characters of any origin made visible."""
        extra = {name: value for name, value in _extra(record).items() if name != "event"}
        behind = " ".join(f"{name}={json.dumps(value, default=str)}" for name, value in extra.items())
        line = f"{_time(record)} {record.levelname.lower():7} {record.getMessage()} {behind}".rstrip()
        return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in line)


class BoundedFile(RotatingFileHandler):
    """A log file of bounded size, which standard error follows: what the interpreter says goes there too."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8")
        self._follow()

    def _follow(self) -> None:
        os.chmod(self.baseFilename, 0o600)
        if self.stream is not None:
            os.dup2(self.stream.fileno(), sys.stderr.fileno())

    def doRollover(self) -> None:
        """Begin a new file."""
        super().doRollover()
        self._follow()


def set_up_logs(level: str, form: str, file: Path | None) -> logging.Handler:
    """Let all loggers of the process speak so; the libraries' only when something is wrong."""
    handler: logging.Handler = logging.StreamHandler() if file is None else BoundedFile(file)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("mq9").setLevel(level.upper())
    return handler


def take_down_logs(handler: logging.Handler) -> None:
    """Undo ``set_up_logs``."""
    logging.getLogger().removeHandler(handler)
    handler.close()
