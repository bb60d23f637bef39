"""Values to draw from, and a broker that many examples share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st

from tests.support import Desk, opened

# Everything that UTF-8 can carry; and without control characters, as names may be.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
integers = st.integers(-(2**70), 2**70)
floats = st.floats(allow_nan=False, allow_infinity=False)
json = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
anything = st.binary(max_size=400)

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


def outcome_of(call: Callable[[], T], kind: type[E]) -> tuple[T | None, E | None]:
    """What a call returns, or the error of the one kind that it may end with."""
    try:
        return call(), None
    except kind as error:
        return None, error


def examples(count: int) -> settings:
    """So many examples, where each is dear; or as many as are asked for."""
    return settings(max_examples=int(os.environ.get("MQ9_EXAMPLES", count)))


Serve = Callable[[Coroutine[Any, Any, Any]], Any]


@contextmanager
def served(folder: Path, *mailboxes: str) -> Iterator[tuple[Desk, Serve]]:
    """A desk, and what runs a coroutine on its event loop: one broker for all examples of a test."""
    with asyncio.Runner() as runner:
        context = opened(folder, *mailboxes)
        desk = runner.run(context.__aenter__())
        try:
            yield desk, runner.run
        finally:
            runner.run(context.__aexit__(None, None, None))
