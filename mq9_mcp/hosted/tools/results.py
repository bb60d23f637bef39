"""What a tool gave, as parts: every block of its content as it is, and its structured content as data."""

from __future__ import annotations

from typing import Any

import mcp_types as types

from mq9_mcp.domain.limits import limit

PARTS_MAX = limit("parts_max")


def parts_of(result: types.CallToolResult) -> list[dict[str, Any]]:
    """The parts of a result; none if it is empty."""
    parts = [_part(block) for block in result.content]
    if result.structured_content is not None:
        parts.append({"data": result.structured_content})
    return parts


def pieces(parts: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """One artifact, in as many pieces as parts need."""
    about = {"artifact_id": "result", "name": name}
    return [
        {**about, "parts": parts[begin : begin + PARTS_MAX], **({"append": True} if begin else {})}
        for begin in range(0, len(parts), PARTS_MAX)
    ]


def _part(block: types.ContentBlock) -> dict[str, Any]:
    if isinstance(block, types.TextContent):
        return {"text": block.text}
    if isinstance(block, types.ImageContent | types.AudioContent):
        return {"raw": block.data, "mediaType": block.mime_type}
    if isinstance(block, types.ResourceLink):
        return _described({"url": str(block.uri), "filename": block.name}, block.mime_type)
    held = block.resource
    about = {"metadata": {"uri": str(held.uri)}}
    if isinstance(held, types.TextResourceContents):
        return _described({"text": held.text, **about}, held.mime_type)
    return _described({"raw": held.blob, **about}, held.mime_type)


def _described(part: dict[str, Any], kind: str | None) -> dict[str, Any]:
    return part | ({"mediaType": kind} if kind else {})
