"""Which commands are tools, in which order, and each as MCP shows it: all from the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from mq9_mcp.broker.catalogue import CATALOGUE, Entry
from mq9_mcp.doors.mcp_tools.schema import DETAIL, Schema, input_schema, output_schema, shown_arguments
from mq9_mcp.doors.mcp_tools.words import words_of

DEFAULT, OPERATORS = "default", "operators"
TOOLSETS = (DEFAULT, OPERATORS)


class Tool(NamedTuple):
    """One command as a tool."""

    name: str
    title: str
    description: str
    input: Schema
    output: Schema
    hints: dict[str, bool]
    accepted: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the wire shows it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.input,
            "outputSchema": self.output,
            "annotations": self.hints,
        }


def tools_of(toolsets: Collection[str] = ()) -> dict[str, Tool]:
    """The default tools, and those of the other ``toolsets``, in the order of the catalogue."""
    return {
        name: _tool(entry)
        for name, entry in CATALOGUE.items()
        if not entry.operators or OPERATORS in toolsets
    }


def _tool(entry: Entry) -> Tool:
    words = words_of(entry)
    hints = {
        "readOnlyHint": words.read_only,
        "destructiveHint": words.destructive,
        "idempotentHint": words.idempotent,
        "openWorldHint": words.open_world,
    }
    accepted = (*shown_arguments(entry), DETAIL)
    schemas = input_schema(entry), output_schema(entry)
    return Tool(entry.name, words.title, words.says, *schemas, hints, accepted)
