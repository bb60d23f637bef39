"""What a message asks of the tools: which one, with which arguments; or what has to be asked back.

Plain values in, plain values out; the same words give the same question, so that it is asked once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import msgspec
from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable

PROBLEMS_MAX = 5  # that a question tells
PROBLEM_CHARACTERS = 200
LISTED_CHARACTERS = 200  # of a tool's description, where all are listed
Parts = Sequence[Mapping[str, Any]]
_decode = msgspec.json.Decoder().decode


class Tool(NamedTuple):
    """A tool as far as a call needs to know it."""

    name: str
    title: str
    description: str
    schema: dict[str, Any]
    repeatable: bool = False  # it only reads, or a second call changes nothing more


class Call(NamedTuple):
    """A call that can be made."""

    tool: Tool
    arguments: dict[str, Any]


class Question(NamedTuple):
    """What is missing, in words and as data."""

    text: str
    data: dict[str, Any]

    @property
    def parts(self) -> list[dict[str, Any]]:
        """As parts of a message."""
        return [{"text": self.text}, {"data": self.data}]


class Draft:
    """A call as far as it is known; every message adds to it."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools
        self._tool = next(iter(tools.values())) if len(tools) == 1 else None
        self._arguments: dict[str, Any] = {}
        self._text: str | None = None
        self._unknown: str | None = None

    def take(self, parts: Parts, skill: Any = None) -> None:
        """What a message says; ``skill`` is the tool that its metadata name."""
        data = next((part["data"] for part in parts if "data" in part), None)
        text = "\n".join(part["text"] for part in parts if "text" in part).strip()
        if isinstance(skill, str) and self._named(skill) is not None:
            self._tool = self._named(skill)
        if data is None and text:
            data, text = _object_in(text), text
        if isinstance(data, dict):
            self._take_data(data)
        elif text and self._tool is None and self._named(text) is not None:
            self._tool, self._unknown = self._named(text), None
        elif text:
            self._text = text

    def _take_data(self, data: dict[str, Any]) -> None:
        if not (isinstance(data.get("tool"), str) and data.keys() <= {"tool", "arguments"}):
            self._arguments = {**self._arguments, **data}
        elif (tool := self._named(data["tool"])) is not None:
            self._tool, self._unknown = tool, None
            if isinstance(data.get("arguments"), dict):
                self._arguments = data["arguments"]
        elif self._tool is not None and "tool" in _properties(self._tool):
            self._arguments = {**self._arguments, **data}
        else:
            self._tool, self._unknown = None, data["tool"]

    def _named(self, name: str) -> Tool | None:
        found = self._tools.get(name)
        if found is None:
            wish = name.casefold()
            alike = [
                one for one in self._tools.values() if wish in (one.name.casefold(), one.title.casefold())
            ]
            found = alike[0] if len(alike) == 1 else None
        return found

    def judge(self) -> Call | Question:
        """The call, if it can be made as it is."""
        tool = self._tool
        if tool is None:
            return self._which()
        arguments = self._arguments
        if self._text is not None and (field := _field_for_text(tool, arguments)) is not None:
            arguments = {**arguments, field: self._text}
        problems = _problems(tool, arguments)
        if not problems:
            return Call(tool, arguments)
        told = "; ".join(problems)
        return Question(
            f"The arguments do not fit {tool.name!r}: {told}. Answer with a data part of the arguments.",
            {"tool": tool.name, "problems": problems, "arguments": arguments, "inputSchema": tool.schema},
        )

    def _which(self) -> Question:
        if not self._tools:
            return Question("The MCP server has no tools now. Answer to try again.", {"tools": []})
        listed = [
            {"name": one.name, "description": one.description[:LISTED_CHARACTERS]}
            for one in self._tools.values()
        ]
        why = f"There is no tool {self._unknown[:80]!r}. " if self._unknown is not None else ""
        names = ", ".join(self._tools)
        return Question(
            f"{why}Which tool is meant? One of {names}. Answer with its name, or with a data part "
            '{"tool": name, "arguments": {...}}.',
            {"tools": listed},
        )


def _cut(words: str) -> str:
    return words if len(words) <= PROBLEM_CHARACTERS else f"{words[: PROBLEM_CHARACTERS - 3]}..."


def _object_in(text: str) -> dict[str, Any] | None:
    """The arguments, where somebody who can only write text writes them as JSON."""
    if not text.startswith("{"):
        return None
    try:
        found = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _properties(tool: Tool) -> dict[str, Any]:
    found = tool.schema.get("properties")
    return found if isinstance(found, dict) else {}


def _field_for_text(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
    """The one string argument that is missing; those that are required come first."""
    required = tool.schema.get("required")
    missing = [name for name, one in _properties(tool).items() if _takes_text(one) and name not in arguments]
    needed = [name for name in missing if isinstance(required, list) and name in required]
    if needed:
        return needed[0] if len(needed) == 1 else None
    return missing[0] if len(missing) == 1 and not arguments else None


def _takes_text(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    kind = schema.get("type")
    if kind == "string" or (isinstance(kind, list) and "string" in kind):
        return True
    kinds = schema.get("anyOf") or schema.get("oneOf")
    return isinstance(kinds, list) and any(_takes_text(one) for one in kinds)


def _problems(tool: Tool, arguments: dict[str, Any]) -> list[str]:
    """What the schema says against the arguments; what no schema can say is left to the server."""
    validator = validator_for(tool.schema, default=jsonschema.Draft202012Validator)
    found: list[str] = []
    try:
        for error in validator(tool.schema, registry=Registry()).iter_errors(arguments):
            where = error.json_path.removeprefix("$").lstrip(".")
            words = f"{where}: {error.message}" if where else error.message
            found.append(_cut(words))
            if len(found) == PROBLEMS_MAX:
                break
    except (jsonschema.SchemaError, Unresolvable, RecursionError, TypeError, AttributeError, ValueError):
        return []
    return found
