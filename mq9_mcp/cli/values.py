"""What a word on the command line stands for: text, a number, JSON, a file, standard input."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mq9_mcp.cli.parser import Misuse
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit

STDIN = "-"
FILE = "@"


def text_value(word: str) -> str:
    """The text itself, or standard input for ``-``."""
    return _decoded(sys.stdin.buffer.read(), "standard input") if word == STDIN else word


def json_value(word: str, option: str) -> Any:
    """JSON as it stands there, from ``@file``, or from standard input for ``-``."""
    text = word
    if word == STDIN:
        text = text_value(word)
    elif word.startswith(FILE):
        text = _decoded(read_file(word[1:], option), word[1:])
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misuse(
            f"{option}: not JSON: {error}", f"pass JSON, {FILE}FILE with JSON in it, or {STDIN} for stdin"
        ) from None


def object_value(words: Sequence[str], option: str) -> Any:
    """A JSON object, as JSON in one word or as ``name=value`` words."""
    if len(words) == 1 and (words[0] == STDIN or words[0][:1] in (FILE, "{")):
        return json_value(words[0], option)
    made = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Misuse(f"{option}: {word!r} is neither JSON nor name=value", f"{option} ttl_s=60")
        made[name] = loose_value(value, f"{option}: {name}")
    return made


def loose_value(word: str, option: str) -> Any:
    """JSON if it is any, also from ``@file`` or standard input; else the text itself."""
    if word == STDIN or word.startswith(FILE):
        return json_value(word, option)
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word


def word_or_number(word: str) -> str | int:
    """A message id if it is all digits, else the word."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 20 else word


def raw_part(path: str) -> dict[str, Any]:
    """A file as a part of a message: its bytes, its name, and the media type that its name tells."""
    import mimetypes

    if path == STDIN:
        return {"raw": _base64(sys.stdin.buffer.read()), "mediaType": "application/octet-stream"}
    guessed, encoding = mimetypes.guess_type(path)
    media_type = guessed if guessed and not encoding else "application/octet-stream"
    raw = _base64(read_file(path, "--raw"))
    return {"raw": raw, "mediaType": media_type, "filename": Path(path).name}


def read_file(path: str, option: str) -> bytes:
    """A file's content, or a refusal that names the option; no more than one call could carry."""
    try:
        with open(path, "rb") as file:
            content = file.read(limit("request_bytes_max") + 1)
    except OSError as error:
        raise Misuse(f"{option}: {path}: {error.strerror}", "name a file that you can read") from None
    if len(content) > limit("request_bytes_max"):
        raise Refused(
            "MESSAGE_TOO_LARGE",
            f"{option}: {path} has more than {limit('request_bytes_max')} bytes, request_bytes_max",
            "put it elsewhere and send a part with its url",
        )
    return content


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Misuse(f"{where}: not UTF-8: {error}", "send bytes with --raw FILE") from None
