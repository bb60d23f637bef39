"""The letters and the desks' cards; where they come from is in LICENSE.md beside this file."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

LETTERS: list[dict[str, str]] = json.loads((files(__package__) / "letters.json").read_text("utf-8"))
DESKS: list[dict[str, Any]] = json.loads((files(__package__) / "desks.json").read_text("utf-8"))
