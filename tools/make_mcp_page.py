"""The page of the MCP tools in docs/reference, from the tools as models see them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mq9_mcp.doors.mcp_tools.prompts import PROMPTS
from mq9_mcp.doors.mcp_tools.schema import Schema
from mq9_mcp.doors.mcp_tools.tools import OPERATORS, Tool, tools_of
from mq9_mcp.doors.mcp_tools.uris import NOUNS, template
from mq9_mcp.doors.mcp_tools.words import INSTRUCTIONS

Table = Callable[[Any, Any], Iterable[str]]
HINTS = {
    "readOnlyHint": "reads only",
    "destructiveHint": "removes or overwrites",
    "idempotentHint": "may be repeated",
    "openWorldHint": "reaches beyond the broker",
}


def mcp_page(table: Table) -> Iterator[str]:
    """The lines of ``mcp.md``."""
    default, every = tools_of(), tools_of([OPERATORS])
    yield "# MCP tools\n"
    yield (
        "What an MCP host finds at `/mcp`. A tool is a [command](commands.md) under its own name; arguments "
        "that few models need are not shown, and work all the same. `detail` is the door's own: it decides "
        "how much the text shows, never what `structuredContent` holds. "
        "[How to use them](../how-to/use-the-mcp-tools.md), [why they are as they are](../why/mcp.md).\n"
    )
    yield "## Instructions\n"
    yield "Before them stands one sentence that says as which agent the caller acts.\n"
    yield f"```text\n{INSTRUCTIONS}\n```\n"
    yield "## Default tools\n"
    for tool in default.values():
        yield from _tool(tool, table)
    yield from _resources(table)
    yield from _prompts(table)
    yield "## Operators' tools\n"
    yield "Shown with `mq9 serve --toolsets operators`.\n"
    for name, tool in every.items():
        if name not in default:
            yield from _tool(tool, table)


def _tool(tool: Tool, table: Table) -> Iterator[str]:
    yield f"### {tool.name}\n"
    yield f"{tool.description} [Command](commands.md#{tool.name}).\n"
    hints = [words for name, words in HINTS.items() if tool.hints[name]]
    if hints:
        yield f"Hints: {', '.join(hints)}.\n"
    required = tool.input.get("required", ())
    rows = [
        (f"`{name}`" + (" (needed)" if name in required else ""), _kind(one), one.get("description", ""))
        for name, one in tool.input["properties"].items()
    ]
    yield from table(("argument", "type", "what"), rows)
    yield ""


def _resources(table: Table) -> Iterator[str]:
    yield "## Resources\n"
    yield (
        "Text like that of a tool with `detail` `full`, fences included. `resources/list` has the caller's "
        "mailboxes. Programs hear of changes with `subscriptions/listen`, or with `resources/subscribe` in "
        "the versions before 2026-07-28.\n"
    )
    rows = [(f"`{template(name)}`", noun.title, noun.says) for name, noun in NOUNS.items()]
    yield from table(("template", "title", "what"), rows)
    yield ""


def _prompts(table: Table) -> Iterator[str]:
    yield "## Prompts\n"
    rows = [
        (
            f"`{name}`",
            f"{prompt.title}. {prompt.says}",
            "; ".join(
                f"`{gap.name}`{' (needed)' if gap.required else ''}: {gap.says}" for gap in prompt.gaps
            ),
        )
        for name, prompt in PROMPTS.items()
    ]
    yield from table(("prompt", "what", "arguments"), rows)
    yield ""


def _kind(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"]) + _default(schema)
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any") + _default(schema))


def _default(schema: Schema) -> str:
    return f", default `{json.dumps(schema['default'])}`" if "default" in schema else ""
