"""What a program sees that has set up no logging, as most first ones have not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.client.serving import ENVIRONMENT, Server

FAILING = """
import sys
from mq9_mcp.client import SyncMq9Client

def handle(message):
    raise ValueError("no such cat")

with SyncMq9Client(sys.argv[1], agent="plain") as client:
    client.mailbox_create(address="plain.dead")
    client.mailbox_create(address="plain", settings={"max_attempts": 1})
    client.mailbox_send(to="plain", text="weigh Tom", task=True)
    with getattr(client, sys.argv[2])("plain", handle):
        client.mailbox_fetch(mailbox="plain.dead", wait_s=30)
    client.mailbox_drop(address="plain")
"""


@pytest.mark.parametrize("worker", ["consume", "work"])
def test_a_handler_that_fails_is_seen(server: Server, worker: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FAILING, server.url, worker],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, *rest = ended.stderr.splitlines()
    assert first.startswith("message ")
    assert first.endswith(" of plain failed")
    # It asked itself, so the notice that its task failed may come too, and is no task.
    assert "ValueError: no such cat" in rest
