"""From the arguments of a command to options and words of the command line, and back.

Types, bounds, choices and help come from the argument's type; no command is named here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec import NODEFAULT
from msgspec import inspect as types

from mq9_mcp.cli.parser import Misuse
from mq9_mcp.cli.values import json_value, loose_value, object_value, text_value, word_or_number
from mq9_mcp.domain.commands import TIERS

DEST = "argument_"  # before the names of a command's arguments, so that they meet no option of mq9 itself


# What every command's own options call by these names: the broker, and the caller's credential.
OTHERWISE = {"url": "push_url", "token": "push_token"}


class Flag(NamedTuple):
    """One argument of a command as an option.

    ``read`` makes the argument's value of the option's words; ``many`` options take several.
    """

    name: str
    says: str
    metavar: str
    read: Callable[[list[str]], Any]
    required: bool = False
    many: bool = False
    listed: bool = False  # always a list, also of one
    numbers: bool = False  # its words are numbers
    choices: tuple[str, ...] = ()
    switch: bool = False
    alone: str = ""  # the word that the option without a word stands for
    notes: tuple[str, ...] = ()  # bounds and default

    @property
    def help(self) -> str:
        """What it is for, its bounds, and whether it must be given."""
        notes = [*self.notes, "required"] if self.required else self.notes
        return self.says + (f" ({'; '.join(notes)})" if notes else "")

    @property
    def option(self) -> str:
        """How it is spelled on the command line."""
        return "--" + OTHERWISE.get(self.name, self.name).replace("_", "-")


def flags_of(model: type) -> dict[str, Flag]:
    """The options of a command's arguments, by name."""
    info = types.type_info(model)
    assert isinstance(info, types.StructType)
    return {field.encode_name: _flag(field) for field in info.fields}


def add_flags(parser: argparse._ArgumentGroup, flags: Sequence[Flag]) -> None:
    """Add options to ``parser``."""
    for flag in flags:
        shown = flag.help.replace("%", "%%")
        if flag.switch:
            parser.add_argument(
                flag.option, dest=DEST + flag.name, help=shown, action=argparse.BooleanOptionalAction
            )
        elif flag.many:
            parser.add_argument(
                flag.option,
                dest=DEST + flag.name,
                help=shown,
                metavar=flag.metavar,
                nargs="+",
                action="extend",
            )
        else:
            choices = flag.choices or None
            metavar = None if choices else flag.metavar
            parser.add_argument(
                flag.option,
                dest=DEST + flag.name,
                help=shown,
                metavar=metavar,
                choices=choices,
                nargs="?" if flag.alone else None,
                const=flag.alone or None,
            )


def given(chosen: argparse.Namespace, flags: dict[str, Flag]) -> dict[str, Any]:
    """The arguments that options gave."""
    found = {}
    for name, flag in flags.items():
        value = getattr(chosen, DEST + name, None)
        if value is not None:
            found[name] = value if flag.switch else read(flag, value if flag.many else [value])
    return found


def read(flag: Flag, words: list[str]) -> Any:
    """The value that ``words`` stand for, or a refusal that names the option."""
    try:
        return flag.read(words)
    except ValueError:
        raise Misuse(
            f"{flag.option}: {' '.join(words)[:80]!r} is no {flag.metavar.lower()}", flag.help
        ) from None


def assign(words: list[str], names: Sequence[str], flags: dict[str, Flag], taken: dict[str, Any]) -> None:
    """Give the bare ``words`` to the arguments ``names`` that no option gave; into ``taken``.

    With fewer words than names, optional names before a required one go first, then those at the end.
    The last name takes all that is left if it takes several.
    """
    free = [name for name in names if name not in taken]
    needed = [index for index, name in enumerate(free) if flags[name].required]
    before = free[: needed[-1]] if needed else []
    for name in [name for name in before if not flags[name].required]:
        following = flags[free[free.index(name) + 1]]
        if len(words) < len(free) or (following.numbers and _is_number(words[0])):
            free.remove(name)
    for index, name in enumerate(free[: len(words)]):
        last = index == len(free) - 1
        part = words[index:] if last and flags[name].many else [words[index]]
        if last and len(words) > index + len(part):
            raise _too_many(words[index + 1], names)
        taken[name] = read(flags[name], part)
    if words and not free:
        raise _too_many(words[0], names)


def usage_of(names: Sequence[str], flags: dict[str, Flag]) -> str:
    """The bare words of a command as its usage shows them."""
    shown = []
    for name in names:
        word = name.upper() + ("..." if flags[name].many and name == names[-1] else "")
        shown.append(word if flags[name].required else f"[{word}]")
    return " ".join(shown)


def _too_many(word: str, names: Sequence[str]) -> Misuse:
    accepted = " ".join(name.upper() for name in names) or "no bare words, only options"
    return Misuse(
        f"unexpected word {word[:80]!r}; accepted: {accepted}", "quote a text that has spaces in it"
    )


def _is_number(word: str) -> bool:
    return isinstance(word_or_number(word), int)


# -- types


def _flag(field: types.Field) -> Flag:
    kind, text = _unwrap(field.type)
    notes = tuple(filter(None, (_bounds(kind), _default(field))))
    option = "--" + field.encode_name.replace("_", "-")
    flag = _by_type(kind, option)
    return flag._replace(name=field.encode_name, says=text, notes=notes, required=field.required)


def _by_type(kind: types.Type, option: str) -> Flag:
    """How a value of this type is written."""
    if isinstance(kind, types.BoolType):
        return Flag("", "", "", bool, switch=True)
    if isinstance(kind, types.LiteralType):
        return Flag("", "", "WORD", lambda words: words[0], choices=_ordered(kind))
    if isinstance(kind, types.DictType | types.StructType):
        return Flag("", "", "JSON|NAME=VALUE", lambda words: object_value(words, option), many=True)
    if isinstance(kind, types.ListType):
        return _list(kind, option)
    if isinstance(kind, types.UnionType):
        return _union(kind, option)
    if isinstance(kind, types.AnyType):
        return Flag("", "", "JSON|TEXT", lambda words: loose_value(words[0], option))
    metavar, one = _scalar(kind)
    number = isinstance(kind, types.IntType)
    return Flag("", "", metavar, lambda words: one(words[0]), numbers=number)


def _ordered(kind: types.LiteralType) -> tuple[str, ...]:
    """The words that a value may be; priorities as one thinks of them."""
    return TIERS if {*kind.values} == {*TIERS} else tuple(map(str, kind.values))


def _scalar(kind: types.Type) -> tuple[str, Callable[[str], Any]]:
    if isinstance(kind, types.IntType):
        return "INTEGER", int
    if isinstance(kind, types.FloatType):
        return "NUMBER", float
    if isinstance(kind, types.DateTimeType):
        return "TIME", str
    assert isinstance(kind, types.StrType), kind
    return "TEXT", text_value


def _list(kind: types.ListType, option: str) -> Flag:
    item, _ = _unwrap(kind.item_type)
    if isinstance(item, types.IntType | types.FloatType | types.StrType):
        metavar, one = _scalar(item)
        many = isinstance(item, types.IntType)
        return Flag(
            "", "", metavar, lambda words: [one(w) for w in words], many=True, listed=True, numbers=many
        )
    return Flag("", "", "JSON", lambda words: json_value(words[0], option))


def _union(kind: types.UnionType, option: str) -> Flag:
    """One or a list of texts; a text or a number; JSON, or text where the value may be one; else JSON."""
    parts = [_unwrap(one)[0] for one in kind.types]
    lists = [one for one in parts if isinstance(one, types.ListType)]
    if any(isinstance(one, types.StructType | types.DictType) for one in parts):
        if any(isinstance(one, types.StrType) for one in parts):
            alone = "true" if any(isinstance(one, types.BoolType) for one in parts) else ""
            names = {f.encode_name for one in parts if isinstance(one, types.StructType) for f in one.fields}
            return Flag("", "", "JSON|TEXT", lambda words: _named(words[0], names, option), alone=alone)
        return Flag("", "", "JSON", lambda words: json_value(words[0], option))
    if lists:
        return Flag("", "", "TEXT", lambda words: words[0] if len(words) == 1 else words, many=True)
    return Flag("", "", "TEXT|ID", lambda words: word_or_number(words[0]))


def _named(word: str, names: set[str], option: str) -> Any:
    """An object of ``name=value`` with one of ``names``; else JSON, or the text itself."""
    is_named = word.partition("=")[0] in names and "=" in word
    return object_value([word], option) if is_named else loose_value(word, option)


def _unwrap(kind: types.Type) -> tuple[types.Type, str]:
    """The type without its wrapping and without None, and the help that hangs on it."""
    text = ""
    while True:
        if isinstance(kind, types.Metadata):
            text = text or (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        elif isinstance(kind, types.UnionType) and kind.includes_none:
            rest = tuple(one for one in kind.types if not isinstance(one, types.NoneType))
            kind = rest[0] if len(rest) == 1 else types.UnionType(rest)
        else:
            return kind, text


def _bounds(kind: types.Type) -> str:
    if isinstance(kind, types.IntType | types.FloatType) and kind.le is not None:
        low = f"{kind.ge:,} to" if kind.ge is not None else f"over {kind.gt or 0:,}, up to"
        return f"{low} {kind.le:,}"
    if isinstance(kind, types.ListType) and kind.max_length is not None:
        return f"up to {kind.max_length:,}"
    return ""


def _default(field: types.Field) -> str:
    return "" if field.required or field.default in (None, NODEFAULT) else f"default {field.default}"
