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
_KEPT: dict[tuple[type, ...], tuple[str, ...]] = {
    (str,): ("title", "description", "format"),
    (int,): ("minLength", "maxLength"),
    (int, float): ("minimum", "maximum"),
    (str, int, float, bool): ("default",),
}
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
            return _clean(schema)
    return FREE_FORM


def _clean(schema: View) -> View:
    """The form and nothing else: a worker's schema must not make a host look elsewhere, or fail."""
    fields = {name: _field(one) for name, one in schema["properties"].items()}
    asked = schema.get("required")
    required = [name for name in asked if name in fields] if isinstance(asked, list) else []
    return {"type": "object", "properties": fields} | ({"required": required} if required else {})


def _field(schema: View) -> View:
    """One field with what of its description is as it must be."""
    kept = {"type": schema["type"]}
    for kinds, names in _KEPT.items():
        kept |= {name: schema[name] for name in names if isinstance(schema.get(name), kinds)}
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(one, str) for one in choices):
        kept["enum"] = choices
    return kept


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
