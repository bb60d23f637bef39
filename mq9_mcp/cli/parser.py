"""The parser of ``mq9``: argparse, filled only where it is looked into, with options before or after words.

A command is a ``Verb``; its room is imported, and its options are made, when it is called.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from mq9_mcp.domain.errors import Refused

Run = Callable[[argparse.Namespace], int]


class Verb(NamedTuple):
    """A command of ``mq9``: its words, a line of help, and what adds its options and returns what runs."""

    words: tuple[str, ...]
    help: str
    add: Callable[[Parser], Run]


def room(place: str) -> Callable[[Parser], Run]:
    """The ``add`` of a verb that is ``module:function`` in this package, imported when it is called."""

    def add(parser: Parser) -> Run:
        module, _, function = place.partition(":")
        found: Callable[[Parser], Run] = getattr(import_module(f"mq9_mcp.cli.{module}"), function)
        return found(parser)

    return add


class Misuse(Refused):
    """A command line that makes no sense; ``usage`` shows one that does."""

    def __init__(self, message: str, hint: str, usage: str = "") -> None:
        super().__init__("INVALID_ARGUMENT", message, hint)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """A parser that is filled when it is first used. What is not given is not in the namespace."""

    def __init__(self, *, fill: Callable[[Parser], None] | None = None, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )
        self._fill = fill
        self._mixing = False
        self.verbs: argparse._SubParsersAction[Parser] | None = None

    def nested(self, title: str) -> argparse._SubParsersAction[Parser]:
        """Where the commands below this one go."""
        if self.verbs is None:
            self.verbs = self.add_subparsers(title=title, metavar=title.upper()[:-1], parser_class=Parser)
        return self.verbs

    def fill(self) -> None:
        """Add what the parser is made of, the first time only."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def bare_words(self) -> list[argparse.Action]:
        """What is given without an option."""
        return [one for one in self._actions if not one.option_strings and one.help != argparse.SUPPRESS]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, but options and words may stand in any order below the last noun and verb."""
        self.fill()
        if self.verbs is not None or self._mixing:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            found, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False
        if unknown:
            self._refuse(unknown[0])
        return found, unknown

    def _refuse(self, word: str) -> NoReturn:
        """What is unknown is told by its name alone: what follows could be a secret behind a typing error."""
        from difflib import get_close_matches

        name = word.partition("=")[0]
        if not word.startswith("-"):
            self.error(f"unexpected word {word[:80]!r}")
        known = [option for one in self._actions for option in one.option_strings]
        meant = get_close_matches(name, known, 1)
        did_you = f"; did you mean {meant[0]}?" if meant else ""
        self.error(f"there is no option {name[:80]!r}{did_you}")

    def error(self, message: str) -> NoReturn:
        """Every mistake of the command line ends here."""
        raise Misuse(message, f"run: {self.prog} --help", self.format_usage())


def add_verb(parser: Parser, verb: Verb) -> None:
    """Put ``verb`` below ``parser``, the last of its words as its name."""

    def fill(own: Parser) -> None:
        own.set_defaults(run=verb.add(own))
        if own.usage is None:
            own.usage = " ".join([own.prog, *map(_bare, own.bare_words()), "[OPTION...]"])

    parser.nested("commands").add_parser(verb.words[-1], help=verb.help, description=verb.help, fill=fill)


def _bare(action: argparse.Action) -> str:
    shown = f"{action.metavar}{'...' * (action.nargs == '*')}"
    return f"[{shown}]" if action.nargs in ("?", "*") else shown


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is before the first ``--``, and what is after it and so never an option.

    ``--dedup_key``, as the broker spells it, is as good as ``--dedup-key``.
    """
    words = list(arguments)
    cut = words.index("--") if "--" in words else len(words)
    return [_dashed(word) for word in words[:cut]], words[cut + 1 :]


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word
