"""Which broker a client calls, and what its import costs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mq9_mcp.client import Mq9Client, Refused
from mq9_mcp.client.find import DEFAULT_URL, find_url
from tests.client.serving import ENVIRONMENT, serving

IMPORT_S = 0.3
HEAVY = ("duckdb", "starlette", "uvicorn", "uvloop", "aiohttp", "rich", "mq9_mcp.broker")
_IMPORT = f"""
import sys, time
begun = time.perf_counter()
import mq9_mcp.client
print(time.perf_counter() - begun, *(one for one in {HEAVY!r} if one in sys.modules))
"""


def owned(folder: Path, **owner: object) -> dict[str, str]:
    """An environment whose data directory's lock file says who owns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "owner.lock").write_text(json.dumps(owner))
    return {"MQ9_DATA": str(folder)}


def test_what_is_named_counts_first(tmp_path: Path) -> None:
    daemon = owned(tmp_path, pid=os.getpid(), address="127.0.0.1:7777")
    both = daemon | {"MQ9_URL": "http://127.0.0.1:8888/"}
    assert find_url("http://127.0.0.1:9999", both) == "http://127.0.0.1:9999"
    assert find_url(None, both) == "http://127.0.0.1:8888"
    assert find_url(None, daemon) == "http://127.0.0.1:7777"
    assert find_url(None, owned(tmp_path, pid=os.getpid(), address="http://[::1]:7")) == "http://[::1]:7"


def test_a_daemon_that_is_gone_is_not_believed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    for owner in (
        {"pid": ended.pid, "address": "127.0.0.1:7777"},
        {"pid": 2**40, "address": "127.0.0.1:7777"},
        {"pid": "x", "address": "127.0.0.1:7777"},
        {"pid": os.getpid()},
        {},
    ):
        assert find_url(None, owned(tmp_path, **owner)) == DEFAULT_URL
    assert find_url(None, {"MQ9_DATA": str(tmp_path / "nowhere")}) == DEFAULT_URL


@pytest.mark.parametrize("url", ["127.0.0.1:9009", "ftp://x", "nats://localhost:4222"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="accepted: http://HOST:PORT"):
        Mq9Client(url)


def test_a_daemon_that_comes_back_at_another_port_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = owned(tmp_path / "told", pid=os.getpid(), address="127.0.0.1:1")
    monkeypatch.setenv("MQ9_DATA", environ["MQ9_DATA"])

    async def body(url: str) -> None:
        async with Mq9Client(timeout_s=10) as client:
            assert client.url == "http://127.0.0.1:1"
            owned(tmp_path / "told", pid=os.getpid(), address=url)
            assert (await client.mailbox_list())["mailboxes"] == []
            assert client.url == url

    with serving(tmp_path / "data") as server:
        asyncio.run(body(server.url))


def test_the_import_is_light() -> None:
    took, loaded = 1e9, [""]
    for _ in range(3):  # the best of three, as other tests run beside this one
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT], env=ENVIRONMENT, capture_output=True, text=True, check=True
        )
        seconds, *loaded = done.stdout.split()
        assert loaded == []
        took = min(took, float(seconds))
    assert took < IMPORT_S
