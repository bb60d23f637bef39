"""Words of texts as an index compares them: small letters, no plural, none of those that say nothing."""

from __future__ import annotations

import re

# Scripts without spaces between words: each character counts as one.
_DENSE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_DENSE}]|[^\W_{_DENSE}]+")
_EMPTY = frozenset(
    {"a", "about", "an", "and", "any", "are", "as", "at", "be", "by", "can", "could", "do"}
    | {"does", "for", "from", "get", "has", "have", "help", "how", "i", "in", "into", "is", "it"}
    | {"its", "me", "my", "need", "of", "on", "or", "our", "out", "please", "should", "so", "some"}
    | {"that", "the", "their", "them", "then", "there", "these", "they", "this", "to", "want"}
    | {"was", "we", "what", "when", "where", "which", "who", "will", "with", "would", "you", "your"}
)


def words(text: str) -> list[str]:
    """The words of ``text`` in order, as they are compared."""
    return [_stem(word) for word in _WORD.findall(text.casefold()) if word not in _EMPTY]


def _stem(word: str) -> str:
    """Without the plural's s: ``invoices`` and ``invoice`` are one word."""
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith("s") and word[-2] not in "sui":
        return word[:-1]
    return word
