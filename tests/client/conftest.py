"""One server for all tests of a file that do no harm to it; each uses mailboxes of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.serving import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of one file share."""
    with serving(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MQ9_URL", "MQ9_AGENT", "MQ9_TOKEN", "MQ9_DATA"):
        monkeypatch.delenv(name, raising=False)
