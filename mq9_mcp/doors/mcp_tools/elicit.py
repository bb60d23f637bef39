"""A worker's question as a form for a person, and what the person said as an answer to the worker.

The key of a question is the number of its entry in the task's history: it is never used again, and says which
question an answer is for. Source: the elicitation of MCP 2026-07-28 (flat forms of single values).
"""

from __future__ import annotations

from typing import Any

from mq9_mcp.doors.mcp_tools.fence import word

View = dict[str, Any]
WAITS = ("input-required", "auth-required")
ANSWER = "answer"
FREE_FORM: View = {
    "type": "object",
    "properties": {ANSWER: {"type": "string", "title": "Answer"}},
    "required": [ANSWER],
}
SINGLE = ("string", "number", "integer", "boolean")
DECLINED = "The person who was asked declined to answer."


def key_of(task: View) -> str | None:
    """The key of the question that ``task`` waits with, or None if it waits for no answer."""
    return str(task["version"]) if task["state"] in WAITS else None


def request_of(task: View) -> View:
    """``elicitation/create`` for the question that ``task`` waits with."""
    parts = task.get("status_message", {}).get("parts", [])
    words = "\n".join(part["text"] for part in parts if "text" in part)
    asks = f"{word(task.get('worker')) or 'The worker'} asks about task {task['id']}"
    params: View = {"message": f"{asks}: {words}" if words else f"{asks}."}
    link = _link(parts) if task["state"] == "auth-required" else None
    if link is None:
        params |= {"mode": "form", "requestedSchema": _form(parts)}
    else:
        params |= {"mode": "url", "url": link, "elicitationId": f"{task['id']}.{key_of(task)}"}
    return {"method": "elicitation/create", "params": params}


def answer_of(action: str, content: View | None) -> View | None:
    """The arguments of ``mailbox_send`` that answer, or None if the person only closed the form."""
    if action == "decline":
        return {"text": DECLINED}
    if action != "accept":
        return None
    if content is None:
        return {"text": "Done."}  # a page was opened, and the person came back
    if content.keys() == {ANSWER} and isinstance(content[ANSWER], str):
        return {"text": content[ANSWER]}
    return {"parts": [{"data": content}]}


def _form(parts: list[View]) -> View:
    """The schema that the worker sent as data, if a form can show it; else a line to write on."""
    for part in parts:
        schema = part.get("data")
        if isinstance(schema, dict) and _flat(schema):
            return schema
    return FREE_FORM


def _flat(schema: View) -> bool:
    fields = schema.get("properties")
    return (
        schema.get("type") == "object"
        and isinstance(fields, dict)
        and len(fields) > 0
        and all(isinstance(one, dict) and one.get("type") in SINGLE for one in fields.values())
    )


def _link(parts: list[View]) -> str | None:
    links = [part["url"] for part in parts if str(part.get("url", "")).startswith("https://")]
    return links[0] if links else None
