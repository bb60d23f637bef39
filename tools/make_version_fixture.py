"""Makes ``tests/data/versions/v<N>.tar.gz``: a data directory of this version, and what it must answer.

Run it once for each version that changes what is on disk, before the version is released:
``python tools/make_version_fixture.py``. The test ``tests/engine/test_versions.py`` opens every archive
there is, so that data of every earlier version opens for ever.
"""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mq9_mcp.domain.events import RECORD_VERSION  # noqa: E402
from mq9_mcp.engine.embedded.tables import SCHEMA_VERSION  # noqa: E402
from tests.engine.versions import ANSWERS, DATA, FOLDER, ask_all, calls  # noqa: E402
from tests.support import START_MS, Desk, Reply  # noqa: E402

BYTES_MAX = 200 * 1024
OPTIONS = {"segment_bytes": 16 * 1024, "journal_bytes": 64 * 1024}


def main() -> None:
    """Make the archive of this version."""
    path = FOLDER / f"v{max(RECORD_VERSION, SCHEMA_VERSION)}.tar.gz"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        tokens = asyncio.run(fill(work / DATA, work / "earlier.duckdb"))
        # The tables of an earlier moment: the journal has records that they do not have yet.
        shutil.copy(work / "earlier.duckdb", work / DATA / "mq9.duckdb")
        shutil.copytree(work / DATA, work / "asked")
        asked = calls(tokens)
        answers = asyncio.run(ask_all(work / "asked", asked))
        text = json.dumps({"calls": asked, "answers": answers}, indent=1)
        FOLDER.mkdir(parents=True, exist_ok=True)
        write(path, work / DATA, text.encode())
    size = path.stat().st_size
    assert size <= BYTES_MAX, f"{path.name} has {size} bytes, more than {BYTES_MAX}"
    print(f"{path.relative_to(ROOT)}: {size} bytes, {len(asked)} answers")


def write(path: Path, data: Path, answers: bytes) -> None:
    """The archive: the data directory and the answers."""
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(data.rglob("*")):
            if file.is_file() and file.name != "owner.lock":
                archive.add(file, f"{DATA}/{file.relative_to(data)}")
        info = tarfile.TarInfo(ANSWERS)
        info.size = len(answers)
        archive.addfile(info, io.BytesIO(answers))


async def fill(folder: Path, earlier: Path) -> dict[str, str]:
    """A little of everything; returns lease tokens by name. Its tables stand in ``earlier`` half way."""
    desk = Desk(folder, **OPTIONS)
    desk.time.now = START_MS
    await desk.open()
    tokens = await first_half(desk)
    await desk.broker.close()
    shutil.copy(folder / "mq9.duckdb", earlier)
    await desk.open()
    tokens |= await second_half(desk)
    await desk.broker.close()
    return tokens


async def first_half(desk: Desk) -> dict[str, str]:
    """Mailboxes of every kind, mail in every state."""
    settings: dict[str, dict[str, Any]] = {
        "box": {"max_attempts": 2, "retention": {"age_s": 86_400, "bytes": 1_000_000}},
        "sessions": {"ordered_by": "session"},
        "once": {"exactly_once": True},
        "brief": {"ttl_s": 90_000, "dead_letter_expired": True, "messages_max": 50},
    }
    for address, chosen in settings.items():
        await desk.call("mailbox_create", address=address, description=f"the {address}", settings=chosen)
    for number in range(12):
        priority = ("normal", "urgent", "critical")[number % 3]
        await desk.send(text=f"mail {number}", priority=priority, tags=["red", "blue"][: number % 3])
    big: Reply = {"data": {"number": 2**60, "text": "ä\u2028😀"}, "metadata": {"a": [1, None, 2.5]}}
    await desk.call(
        "mailbox_send", to="box", parts=[big, {"raw": "AAEC", "mediaType": "x/y"}], session="talk"
    )
    await desk.send(text="in an hour", delay_s=3600, tags=["late"])
    await desk.send(text="soon over", ttl_s=5)
    for number in range(3):
        await desk.send(text=f"state {number}", state_key="state")
    await desk.send(text="known", dedup_key="key")
    for session in ("s1", "s2", "s1"):
        await desk.send("sessions", f"of {session}", session=session)
    await desk.send(text="the last word", session="closed")
    await desk.call("session_close", session="closed")
    await desk.send("once", "exactly", dedup_key="once-1")
    for name in ("robot", "box", "brief"):
        await desk.call("agent_register", card={"name": name, "description": f"the {name}", "skills": []})
    await desk.call("agent_report", name="box", status="busy", load=0.5, note="at work")
    wanted = {"text": "zither lessons", "tags": ["music"]}
    for key in ("parked", None):
        await desk.call("mailbox_send", intent=wanted, park=True, task=True, dedup_key=key)
    taken = await desk.fetch(max=4, lease_s=3600)
    await desk.settle(taken[0])
    await desk.settle(taken[1], "reject", reason="broken", description="it does not fit")
    await desk.settle(taken[2], "nack", delay_s=100, reason="busy")
    await desk.fetch(group="audit", max=3, lease_s=5, deliver="earliest")
    return {"acked": taken[0]["lease"], "nacked": taken[2]["lease"], "held": taken[3]["lease"]}


async def second_half(desk: Desk) -> dict[str, str]:
    """What the tables do not have yet when a later version opens them."""
    await desk.pass_time(10)
    [ordered] = await desk.fetch("sessions", max=1, lease_s=3600)
    [once] = await desk.fetch("once", lease_s=60)
    reply = await desk.call(
        "mailbox_ack",
        "bob",
        items=[{"lease": ordered["lease"]}],
        send={"in_reply_to": ordered["id"], "text": "an answer", "dedup_key": "answer"},
    )
    assert reply["results"][0]["ok"]
    await desk.send("brief", "will expire", ttl_s=100)
    await desk.send(["box", "brief"], "to both", tags=["fan"])  # type: ignore[arg-type]
    await desk.fetch(group="late", deliver="latest")
    await desk.call("group_reset", mailbox="box", group="audit", to="earliest")
    await desk.fetch(group="audit", max=1, lease_s=3600)
    card = {"name": "robot", "description": "the second card", "skills": []}
    await desk.call("agent_register", name="robot", card=card)
    await desk.call("agent_unregister", name="brief")
    await desk.call("mailbox_update", address="once", settings={"max_attempts": 7})
    await desk.call("mailbox_create", address="gone")
    await desk.send("gone", "with its mailbox")
    await desk.call("mailbox_drop", address="gone")
    await desk.call("mailbox_redrive", mailbox="box.dead")
    [receipt] = (await desk.call("mailbox_send", to="box", text="weigh", task=True))["receipts"]
    login = {"scheme": "Bearer", "credentials": "secret"}
    for number in range(2):
        url = f"https://hooks.example/{number}"
        await desk.call("push_set", task=receipt["task"], url=url, id=f"p{number}", authentication=login)
    await desk.call("push_delete", task=receipt["task"], id="p0")
    return {"ordered": ordered["lease"], "once": once["lease"]}


if __name__ == "__main__":
    main()
