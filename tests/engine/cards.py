"""Cards that the tests of agents register."""

from __future__ import annotations

from typing import Any

Card = dict[str, Any]


def short(name: str = "Billing", *skills: Card, description: str = "Pays invoices.") -> Card:
    """A card in the short form."""
    return {"name": name, "description": description, "skills": list(skills or (skill(),))}


def skill(name: str = "Refunds", *tags: str, description: str = "Gives money back.", **more: Any) -> Card:
    """A skill in the short form."""
    return {"name": name, "description": description, "tags": list(tags or ("refund",)), **more}


def full(name: str = "Billing", **more: Any) -> Card:
    """An A2A 1.0 AgentCard with everything that one may have."""
    return {
        "name": name,
        "description": "Pays invoices.",
        "version": "2.1.0",
        "supportedInterfaces": [
            {"url": "https://example.org/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
        "provider": {"url": "https://example.org", "organization": "Example"},
        "documentationUrl": "https://example.org/docs",
        "iconUrl": "https://example.org/icon.png",
        "capabilities": {"streaming": True, "extensions": [{"uri": "urn:x", "params": {"n": 2**60}}]},
        "securitySchemes": {"key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}}},
        "securityRequirements": [{"schemes": {"key": {"list": []}}}],
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [
            {
                "id": "refunds",
                "name": "Refunds",
                "description": "Gives money back.",
                "tags": ["refund"],
                "examples": ["refund order 7"],
                "inputModes": ["text/plain"],
            }
        ],
        "signatures": [{"protected": "eyJ", "signature": "c2ln", "header": {"kid": "1"}}],
        **more,
    }


def without(card: Card, path: str) -> Card:
    """The card without the field at ``path``, such as ``skills.0.tags``."""
    return changed(card, path)


def changed(card: Card, path: str, *value: Any) -> Card:
    """A copy of the card with another value at ``path``, or none."""
    name, _, rest = path.partition(".")
    copy: Any = list(card) if isinstance(card, list) else dict(card)
    at: Any = int(name) if isinstance(card, list) else name
    if rest:
        copy[at] = changed(copy[at], rest, *value)
    elif value:
        copy[at] = value[0]
    else:
        del copy[at]
    result: Card = copy
    return result
