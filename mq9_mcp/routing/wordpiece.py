"""WordPiece as BERT's uncased models were trained with it; the standard library is enough for it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

WORD_CHARACTERS_MAX = 100  # longer ones are no words; the model was trained so
KNOWN_MAX = 50_000  # words, with the marks at them, whose pieces are remembered
_BREAKS = "\t\n\r"
# Scripts without spaces between words: each character stands alone.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """Turns texts into the numbers of their pieces; ``pieces_max`` counts the first and last mark too."""

    def __init__(self, vocabulary: Path, pieces_max: int = 256) -> None:
        lines = vocabulary.read_text(encoding="utf-8").split("\n")
        self._numbers = {piece: number for number, piece in enumerate(lines)}
        self._first, self._last = self._numbers["[CLS]"], self._numbers["[SEP]"]
        self._unknown = self._numbers["[UNK]"]
        self._pieces_max = pieces_max
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """The numbers of the pieces of ``text``, cut where the model's window ends."""
        numbers = [self._first]
        room = self._pieces_max - 1
        # No piece is made of more characters than a word may have: what lies behind is never read.
        for chunk in _plain(text[: self._pieces_max * WORD_CHARACTERS_MAX]).split():
            numbers += self._pieces(chunk)
            if len(numbers) >= room:
                break
        return [*numbers[:room], self._last]

    def _pieces(self, chunk: str) -> list[int]:
        known = self._known.get(chunk)
        if known is None:
            words = islice(_words(chunk), self._pieces_max)  # each has a piece at least
            known = [number for word in words for number in self._cut(word)]
            if len(self._known) < KNOWN_MAX and len(chunk) <= WORD_CHARACTERS_MAX:
                self._known[chunk] = known
        return known

    def _cut(self, word: str) -> list[int]:
        """The longest piece that the vocabulary has, then the longest of what is left."""
        if len(word) > WORD_CHARACTERS_MAX:
            return [self._unknown]
        numbers: list[int] = []
        begin = 0
        while begin < len(word):
            for end in range(len(word), begin, -1):
                number = self._numbers.get(("##" if begin else "") + word[begin:end])
                if number is not None:
                    break
            else:
                return [self._unknown]
            numbers.append(number)
            begin = end
        return numbers


def _words(chunk: str) -> Iterator[str]:
    """The words of what stands between spaces, without accents in small letters; each mark is one."""
    bare = "".join(c for c in unicodedata.normalize("NFD", chunk) if unicodedata.category(c) != "Mn")
    begin, lowered = 0, bare.lower()
    for index, character in enumerate(lowered):
        if _is_mark(character):
            if begin < index:
                yield lowered[begin:index]
            yield character
            begin = index + 1
    if begin < len(lowered):
        yield lowered[begin:]


def _plain(text: str) -> str:
    """The text as it is cut into words: without controls, with spaces around ideographs."""
    return text if text.isascii() and text.isprintable() else "".join(map(_plain_character, text))


def _plain_character(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() or character in _BREAKS else ""
    code = ord(character)
    if code == 0xFFFD or unicodedata.category(character) in ("Cc", "Cf", "Cs"):
        return ""
    if any(first <= code <= last for first, last in _IDEOGRAPHS):
        return f" {character} "
    return character


def _is_mark(character: str) -> bool:
    """True for punctuation as the model means it: every ASCII sign, and what Unicode calls so."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character).startswith("P")
