"""``mq9://mailboxes/{name}`` and the like: how a thing of the broker is named as a resource, and found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

SCHEME = "mq9://"
OWN_SESSION = "mq9."  # and the id of a message that is alone in it


class Noun(NamedTuple):
    """A kind of resource: the placeholder in its template, and words."""

    place: str
    title: str
    says: str


NOUNS: dict[str, Noun] = {
    "mailboxes": Noun("name", "Mailbox", "A mailbox: its counts and its newest messages."),
    "sessions": Noun("id", "Conversation", "A conversation in order, over all mailboxes."),
    "tasks": Noun("id", "Task", "A task: its state, results and history."),
    "agents": Noun("name", "Agent", "An agent: its card and how it is."),
}


class Place(NamedTuple):
    """One resource."""

    noun: str
    name: str

    @property
    def uri(self) -> str:
        """Its address."""
        return f"{SCHEME}{self.noun}/{quote(self.name, safe='')}"


def template(name: str) -> str:
    """The template of a kind."""
    return f"{SCHEME}{name}/{{{NOUNS[name].place}}}"


def place_of(uri: str) -> Place | None:
    """The resource at ``uri``, or None if there can be none."""
    noun, _, name = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or noun not in NOUNS or not name or "/" in name:
        return None
    return Place(noun, unquote(name))


_NAMED = {"mailbox": "mailboxes", "session": "sessions", "task": "tasks", "agent": "agents"}


def touched(view: Any) -> Iterator[Place]:
    """The resources that an event changes, as its caller may see it."""
    if isinstance(view, list):
        for one in view:
            yield from touched(one)
    elif isinstance(view, dict):
        for name, noun in _NAMED.items():
            if isinstance(view.get(name), str):
                yield Place(noun, view[name])
        if "session" not in view and isinstance(view.get("id"), int):
            yield Place("sessions", f"{OWN_SESSION}{view['id']}")
        for one in view.values():
            if isinstance(one, dict | list):
                yield from touched(one)
