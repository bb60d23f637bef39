"""What a message asks of the tools, without any server."""

from __future__ import annotations

from typing import Any

import pytest

from mq9_mcp.hosted.tools.wanted import Call, Draft, Question, Tool

TEXT = {"type": "string"}


def tool(name: str, properties: dict[str, Any], *required: str, **more: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required), **more}
    return Tool(name, name.title(), f"Does {name}.", schema)


ECHO = tool("echo", {"words": TEXT}, "words")
MOVE = tool("move", {"piece": TEXT, "to": TEXT, "fast": {"type": "boolean"}}, "piece", "to")
NOTHING = tool("nothing", {})
MAYBE = tool("maybe", {"note": {"anyOf": [TEXT, {"type": "null"}]}, "count": {"type": "integer"}})
FAR = tool("far", {"x": {"$ref": "http://127.0.0.1:1/schema.json"}}, "x")
BROKEN = tool("broken", {"x": {"type": 7}}, "x")
TOOLISH = tool("toolish", {"tool": TEXT, "arguments": {"type": "object"}}, "tool")


def judged(tools: tuple[Tool, ...], *said: Any, skill: Any = None) -> Call | Question:
    """After messages of text or data."""
    draft = Draft({one.name: one for one in tools})
    for one in said:
        draft.take([{"text": one} if isinstance(one, str) else {"data": one}], skill)
    return draft.judge()


@pytest.mark.parametrize(
    ("tools", "said", "skill", "name", "arguments"),
    [
        ((ECHO,), ["hello"], None, "echo", {"words": "hello"}),
        ((ECHO,), ['{"words": "hi"}'], None, "echo", {"words": "hi"}),
        ((ECHO,), ["{not json"], None, "echo", {"words": "{not json"}),
        ((ECHO, MOVE), ["hello"], "ECHO", "echo", {"words": "hello"}),
        ((ECHO, MOVE), ["hello", "Echo"], None, "echo", {"words": "hello"}),
        (
            (ECHO, MOVE),
            [{"tool": "move", "arguments": {"piece": "K"}}, "e2"],
            None,
            "move",
            {"piece": "K", "to": "e2"},
        ),
        (
            (MOVE,),
            [{"piece": "K", "to": "e1"}, {"to": "e2", "fast": True}],
            None,
            "move",
            {"piece": "K", "to": "e2", "fast": True},
        ),
        ((NOTHING,), ["please"], None, "nothing", {}),
        ((MAYBE,), ["a note"], None, "maybe", {"note": "a note"}),
        ((MAYBE,), [{"count": 3}], None, "maybe", {"count": 3}),
        ((ECHO,), [{"tool": "echo", "arguments": {"words": "x"}}], None, "echo", {"words": "x"}),
        ((TOOLISH,), [{"tool": "saw"}], None, "toolish", {"tool": "saw"}),
        ((FAR,), [{"x": 1}], None, "far", {"x": 1}),
        ((BROKEN,), [{"x": 1}], None, "broken", {"x": 1}),
        ((ECHO,), [{"words": "x" * 70_000}], None, "echo", {"words": "x" * 70_000}),
    ],
)
def test_a_call_can_be_made(tools: Any, said: Any, skill: Any, name: str, arguments: Any) -> None:
    found = judged(tools, *said, skill=skill)
    assert isinstance(found, Call), found
    assert (found.tool.name, found.arguments) == (name, arguments)


@pytest.mark.parametrize(
    ("tools", "said", "words"),
    [
        ((ECHO, MOVE), ["hello"], "Which tool is meant? One of echo, move."),
        ((ECHO, MOVE), [{"tool": "fly"}], "There is no tool 'fly'. Which tool is meant?"),
        ((ECHO,), [{"tool": "fly"}], "There is no tool 'fly'."),
        ((MOVE,), ["e2"], "'piece' is a required property"),
        ((MOVE,), [{"piece": 1, "to": "e2"}], "piece: 1 is not of type 'string'"),
        ((ECHO,), [[1, 2]], "'words' is a required property"),
        ((), ["hello"], "no tools now"),
        ((ECHO,), [{"words": ["x" * 1_000]}], "..."),
    ],
)
def test_what_is_missing_is_asked(tools: Any, said: Any, words: str) -> None:
    found = judged(tools, *said)
    assert isinstance(found, Question), found
    assert words in found.text
    assert len(found.text) < 1_000
