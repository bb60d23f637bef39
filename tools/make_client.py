"""Writes the client's methods: the async ones from the catalogue, the sync ones from the async client.

``files()`` is what must be there; a test compares. ``reference()`` is the client's page of the docs.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from mq9_mcp.broker.catalogue import CATALOGUE, Entry
from mq9_mcp.domain import agent_commands, commands, push_commands, task_commands

ROOT = Path(__file__).resolve().parents[1]
CLIENT = "mq9_mcp/client"
SYNC_DOC = (
    "``Mq9Client`` for code without an event loop: the same arguments, methods and promises.",
    "",
    "``with`` closes it. Threads may share it.",
)
FEW = 4  # arguments that are passed on by name; a method of 40 lines could not name them all
WIDTH = 100  # of a line of a docstring

OBJECTS = (
    commands.Retention,
    commands.SettingsArguments,
    commands.MessageArguments,
    commands.AckItem,
    commands.IntentArguments,
    agent_commands.McpServer,
    commands.TaskOptions,
    push_commands.PushAuthentication,
    task_commands.Progress,
    task_commands.Artifact,
    task_commands.TaskUpdate,
)
REPLIES = {
    "mailbox_create": "CreateReply",
    "mailbox_send": "SendReply",
    "mailbox_fetch": "FetchReply",
    "mailbox_ack": "AckReply",
    "mailbox_query": "QueryReply",
    "mailbox_delete": "DeleteReply",
    "task_get": "TaskReply",
    "task_list": "TaskListReply",
    "task_update": "TaskUpdateReply",
    "task_cancel": "TaskReply",
    "mailbox_list": "ListReply",
    "mailbox_get": "MailboxReply",
    "mailbox_update": "MailboxReply",
    "mailbox_drop": "DropReply",
    "mailbox_redrive": "RedriveReply",
    "group_list": "GroupListReply",
    "group_reset": "GroupReply",
    "group_delete": "GroupDeleteReply",
    "agent_register": "RegisterReply",
    "agent_unregister": "UnregisterReply",
    "agent_report": "ReportReply",
    "agent_discover": "DiscoverReply",
    "session_get": "SessionGetReply",
    "session_list": "SessionListReply",
    "session_close": "SessionReply",
    "session_reopen": "SessionReply",
    "push_set": "PushReply",
    "push_list": "PushListReply",
    "push_delete": "PushDeleteReply",
}
POSITIONAL = {"agent_register": "card", "agent_unregister": "name"}  # as mq9's users write it
HEAD = """{docstring}

# Made by `make client`; edits here are lost.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, Self, TypedDict

"""
PLAIN = {str: "str", int: "int", float: "float", bool: "bool", datetime: "datetime | str", Any: "Any"}


def files() -> dict[str, str]:
    """Every generated file: path from the root of the repository, and text."""
    return _catalogue_files() | _made({f"{CLIENT}/sync/client.py": _sync_client()})


def _catalogue_files() -> dict[str, str]:
    """What the catalogue alone says; the client imports these, and the rest is made from the client."""
    made = {f"{CLIENT}/arguments.py": _arguments(), f"{CLIENT}/commands/defaults.py": _defaults()}
    for noun in NOUNS:
        made[f"{CLIENT}/commands/{noun}.py"] = _methods(noun, sync=False)
        made[f"{CLIENT}/sync/{noun}.py"] = _methods(noun, sync=True)
    return _made(made)


def _made(texts: dict[str, str]) -> dict[str, str]:
    return {path: _tidy(path, text) for path, text in texts.items()}


def _tidy(path: str, text: str) -> str:
    """Without imports that are not needed, and in the house's format."""
    for command in (["check", "--fix-only", "--quiet", "--select=F401,I"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"],
            cwd=ROOT,
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = done.stdout
    return text


# -- types


def _noun(name: str) -> str:
    return name.partition("_")[0]


NOUNS = tuple(dict.fromkeys(_noun(name) for name in CATALOGUE))


def _spelled(hint: Any) -> str:
    """A type of the catalogue as a caller of Python writes it."""
    if get_origin(hint) is Annotated:
        return _spelled(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(dict.fromkeys(_spelled(one) for one in get_args(hint) if one is not NoneType))
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(json.dumps(one) for one in get_args(hint))}]"
    if get_origin(hint) is list:
        item = _spelled(get_args(hint)[0])
        # A str is a sequence of str too, and never what is meant.
        return f"list[{item}] | tuple[{item}, ...]" if item in ("str", "int") else f"Sequence[{item}]"
    if get_origin(hint) is dict:
        return "Mapping[str, Any]"
    return hint.__name__ if hint in OBJECTS else PLAIN[hint]


def _help(hint: Any) -> str:
    """The help that hangs on a type, the outermost first."""
    if get_origin(hint) is Annotated:
        for meta in reversed(get_args(hint)[1:]):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
        return _help(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return next(filter(None, map(_help, get_args(hint))), "")
    return ""


class Argument:
    """An argument of a command, or a field of an object in one."""

    def __init__(self, model: type[Any], field: msgspec.structs.FieldInfo) -> None:
        hint = get_type_hints(model, include_extras=True)[field.name]
        self.name = field.name
        self.wire_name = field.encode_name
        self.type = _spelled(hint)
        self.help = _help(hint)
        self.required = field.required
        self.default = [] if field.default_factory is list else field.default

    @property
    def parameter(self) -> str:
        """It as a parameter of a method."""
        if self.required:
            return f"{self.name}: {self.type}"
        if self.default is None:
            return f"{self.name}: {self.type}{' | None' if self.type != 'Any' else ''} = None"
        return f"{self.name}: {self.type} = {_literal(self.default)}"


def _of(model: type[Any]) -> list[Argument]:
    return [Argument(model, field) for field in msgspec.structs.fields(model)]


def _literal(value: Any) -> str:
    if value == []:
        return "()"
    return json.dumps(value) if isinstance(value, str) else repr(value)


# -- the async methods


def _arguments() -> str:
    """The objects inside arguments as TypedDicts."""
    made = [HEAD.format(docstring='"""What arguments are made of, as types: plain dicts at run time."""')]
    for model in OBJECTS:
        assert not any(one.name != one.wire_name for one in _of(model))
        made.append(f"class {model.__name__}(TypedDict, total=False):")
        made.append(_docstring([_first_line(model), "", *_explained(_of(model))], 1))
        made += [
            f"    {one.name}: {f'Required[{one.type}]' if one.required else one.type}" for one in _of(model)
        ]
    return "\n".join(made).replace("NotRequired, Self", "NotRequired, Required, Self")


def _first_line(model: type[Any]) -> str:
    return (inspect.getdoc(model) or "").splitlines()[0]


def _defaults() -> str:
    table = {
        name: {
            one.name: () if one.default == [] else one.default
            for one in _of(entry.arguments)
            if not one.required and one.default is not None
        }
        for name, entry in CATALOGUE.items()
    }
    known = {name: given for name, given in table.items() if given}
    head = HEAD.format(docstring='"""What the broker takes for arguments that are left out: not sent."""')
    return f"{head}\nDEFAULTS: Mapping[str, Mapping[str, Any]] = {known!r}\n"


def _methods(noun: str, sync: bool) -> str:
    """The class of the commands of one noun."""
    base, module = ("SyncBase", f"{CLIENT}/sync/base") if sync else ("Caller", f"{CLIENT}/base")
    name = f"{'Sync' if sync else ''}{noun.capitalize()}Commands"
    imports = [
        f"from {module.replace('/', '.')} import {base}",
        f"from mq9_mcp.client.arguments import {', '.join(one.__name__ for one in OBJECTS)}",
        f"from mq9_mcp.client.replies import {', '.join(sorted(set(REPLIES.values())))}",
    ]
    article = "an" if noun[0] in "aeiou" else "a"
    about = f"The commands about {article} {noun}{', for code without an event loop' if sync else ''}."
    lines = [HEAD.format(docstring=f'"""{about}"""'), *imports, "", f"class {name}({base}):"]
    lines.append(f'    """{about}"""\n')
    lines += [_method(entry, sync) for entry in CATALOGUE.values() if _noun(entry.name) == noun]
    return "\n".join(lines)


def _method(entry: Entry, sync: bool) -> str:
    first = POSITIONAL.get(entry.name)
    arguments = sorted(_of(entry.arguments), key=lambda one: (one.name != first, not one.required))
    reply = REPLIES[entry.name]
    parameters = ["*", *(one.parameter for one in arguments)]
    if first is not None:
        parameters[:2] = parameters[1], "*"
    listed = "".join(f"        {one},\n" for one in parameters)
    call = f'self._command("{entry.name}", locals())'
    return (
        f"    {'' if sync else 'async '}def {entry.name}(\n"
        f"        self,\n{listed}    ) -> {reply}:\n"
        + _docstring(_told(entry, arguments), 2)
        + f"        reply: {reply} = {'' if sync else 'await '}{call}\n        return reply\n"
    )


def _told(entry: Entry, arguments: list[Argument]) -> Iterator[str]:
    """The docstring of a command's method."""
    yield entry.help
    yield ""
    yield "Arguments:"
    yield from _explained(arguments)
    yield ""
    yield "Reply:"
    yield from (line for name, text in entry.reply.items() for line in _wrapped(f"{name}: {text}"))
    yield ""
    yield from textwrap.wrap(f"Errors: {', '.join(entry.errors)}.", WIDTH)


def _explained(arguments: Iterable[Argument]) -> Iterator[str]:
    for one in arguments:
        yield from _wrapped(f"{one.name}: {one.help}" if one.help else one.name)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="        ")


def _docstring(lines: Iterable[str], level: int) -> str:
    indent = "    " * level
    first, *rest = lines
    if not rest:
        return f'{indent}"""{first}"""\n'
    text = "\n".join(f"{indent}{line}".rstrip() for line in rest)
    return f'{indent}"""{first}\n{text}\n{indent}"""\n'


# -- the sync facade


def _sync_client() -> str:
    from mq9_mcp.client import consumer, consuming, mq9_names
    from mq9_mcp.client.client import Mq9Client
    from mq9_mcp.client.following import Following

    imports = [
        f"from mq9_mcp.client.{room} import {', '.join(sorted(names))}"
        for room, names in {
            "background": ["Background", "passed_on"],
            "consumer": ["Consumer"],
            "consuming": ["WAIT_S"],
            "delivery": ["ErrorHandler", "Handler"],
            "mq9_names": ["Mq9Message"],
            "sync.base": ["SyncBase"],
            **{f"sync.{noun}": [f"Sync{noun.capitalize()}Commands"] for noun in NOUNS},
        }.items()
    ]
    imports.append("from mq9_mcp.domain.errors import Mq9Error")
    about = "The sync client: mq9's names and ``consume``, made from the async client's."
    bases = ", ".join([*(f"Sync{noun.capitalize()}Commands" for noun in NOUNS), "SyncBase"])
    lines = [HEAD.format(docstring=f'"""{about}"""'), *imports]
    lines += [_sync_consumer(consumer.Consumer), f"class SyncMq9Client({bases}):"]
    lines.append(_docstring([*SYNC_DOC, *_doc_of(Mq9Client)[1:]], 1))
    for holder in (Mq9Client, Following, consuming.Consuming, mq9_names.Mq9Names):
        for name, function in vars(holder).items():
            if inspect.isfunction(function) and not name.startswith("_") and name != "close":
                lines.append(_twin(name, function, "_client"))
    return "\n".join(lines)


def _sync_consumer(kind: type[Any]) -> str:
    about = "\n".join(_doc_of(kind)).replace("``async with``", "``with``")
    made = [
        "class SyncConsumer:",
        _docstring(about.replace("``await stop()``", "``stop()``").splitlines(), 1),
        "    def __init__(self, background: Background, consumer: Consumer) -> None:",
        "        self._background = background",
        "        self._consumer = consumer\n",
        "    def __enter__(self) -> Self:",
        "        return self\n",
        "    def __exit__(self, *exception: object) -> None:",
        "        self._background.run(self._consumer.__aexit__, *exception)\n",
    ]
    for name, hint in inspect.get_annotations(kind).items():
        made.append(_property(name, hint, [f"As ``{name}`` of ``Consumer``."]))
    for name, attribute in vars(kind).items():
        if isinstance(attribute, property):
            assert attribute.fget is not None
            hint = inspect.signature(attribute.fget).return_annotation
            made.append(_property(name, hint, _doc_of(attribute.fget)))
        elif inspect.iscoroutinefunction(attribute) and not name.startswith("_"):
            made.append(_twin(name, attribute, "_consumer"))
    return "\n".join(made)


def _property(name: str, hint: str, about: list[str]) -> str:
    return (
        f"    @property\n    def {name}(self) -> {hint}:\n"
        + _docstring(about, 2)
        + f"        return self._consumer.{name}\n"
    )


def _twin(name: str, function: Callable[..., Any], inner: str) -> str:
    """A sync method that does what the async one does, in the background."""
    signature = inspect.signature(function)
    returned = signature.return_annotation
    if inspect.isasyncgenfunction(function):
        returned = returned.replace("AsyncGenerator", "Iterator")
        body = f"self._background.each(self.{inner}.{name}({_passed(signature)}))"
    elif inspect.iscoroutinefunction(function):
        words = ", ".join(filter(None, [f"self.{inner}.{name}", _passed(signature)]))
        body = f"self._background.run({words})"
    else:
        assert returned == "Consumer", name
        returned = "SyncConsumer"
        body = (
            f"SyncConsumer(self._background, self._background.call(self.{inner}.{name}, passed_on(locals())))"
        )
    return (
        f"    def {name}({_parameters(signature)}) -> {returned}:\n"
        + _docstring(_doc_of(function), 2)
        + f"        {'' if returned == 'None' else 'return '}{body}\n"
    )


def _passed(signature: inspect.Signature) -> str:
    """The arguments of a call with what the method itself was given."""
    given = [one for one in signature.parameters.values() if one.name != "self"]
    if len(given) > FEW:
        return "**passed_on(locals())"
    return ", ".join(
        f"**{one.name}" if one.kind is one.VAR_KEYWORD else f"{one.name}={one.name}" for one in given
    )


def _parameters(signature: inspect.Signature) -> str:
    made, starred = [], False
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not starred:
            made.append("*")
            starred = True
        text = "**" * (one.kind is one.VAR_KEYWORD) + one.name
        text += f": {one.annotation}" if one.annotation is not one.empty else ""
        text += f" = {_default(one.default)}" if one.default is not one.empty else ""
        made.append(text)
    return ", ".join(made) + ","


def _default(value: Any) -> str:
    return "()" if value == () else "True" if value is True else "False" if value is False else repr(value)


def _doc_of(thing: Any) -> list[str]:
    return (inspect.getdoc(thing) or "").splitlines()


def main() -> None:
    """Write the files; those first that the client cannot be imported without."""
    for make in (_catalogue_files, files):
        for path, text in make().items():
            (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
