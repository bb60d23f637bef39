"""Section 8: one error shape, unknown arguments refused, and nothing changed, whatever is passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mq9_mcp.broker.catalogue import CATALOGUE, LATER
from mq9_mcp.domain.errors import CODES, Mq9Error
from mq9_mcp.domain.state import Caller
from tests.engine.bad_values import Case, cases
from tests.support import Desk, Reply, run

FITTING = {"INVALID_ARGUMENT", "MESSAGE_TOO_LARGE", "BATCH_TOO_LARGE", "SESSION_NOT_FOUND"}
MESSAGE_CHARACTERS_MAX = 4_000  # an error is read by people and models: it never carries the value whole


def snapshot(desk: Desk) -> Any:
    """What a refused call must leave as it is."""
    state = desk.engine.state
    return (
        desk.engine.journal.last_seq,
        state.next_message,
        state.next_mailbox,
        state.next_group,
        sorted(state.mails),
        {
            address: (mailbox.unsettled, mailbox.unsettled_bytes, mailbox.settings, sorted(mailbox.groups))
            for address, mailbox in state.addresses.items()
        },
        {
            (group.number, id): (delivery.state, delivery.until, delivery.attempts)
            for group in state.groups.values()
            for id, delivery in group.open.items()
        },
        {name: (agent.version, agent.status, agent.load, agent.note) for name, agent in state.agents.items()},
        {task.id: (task.state, task.version) for task in state.tasks.values()},
    )


async def furnished(desk: Desk) -> tuple[str, Reply]:
    """A mailbox with mail in every state and a dead letter; returns a lease, and a held task."""
    for number in range(4):
        await desk.send(text=str(number))
    first, second, third = await desk.fetch(max=3)
    await desk.settle(first)
    await desk.settle(second, "reject")
    await desk.send(text="later", delay_s=3600)
    await desk.call("agent_register", card={"name": "agent", "description": "works"})
    lease: str = third["lease"]
    await desk.send(text="work", task=True, priority="critical")
    [work] = await desk.fetch(max=1)
    return lease, work


def shape_fault(error: Mq9Error, names: str) -> str | None:
    """What is wrong with the refusal of a bad value at ``names``."""
    shape = error.as_dict()
    if not {"code", "message"} <= shape.keys() <= {"code", "message", "hint", "details"}:
        return f"shape {sorted(shape)}"
    if error.code not in FITTING or error.code not in CODES:
        return f"code {error.code}"
    if not error.message or len(error.message) > MESSAGE_CHARACTERS_MAX:
        return f"a message of {len(error.message)} characters"
    try:
        str(shape).encode()
    except UnicodeEncodeError:
        return "a refusal that cannot be written"
    words = names.replace("[", ".").split(".")
    if error.code == "INVALID_ARGUMENT" and not any(word and word[:64] in error.message for word in words):
        ascii_words = [ascii(word)[1:-1] for word in words]
        if not any(word[:64] in error.message for word in ascii_words):
            return f"a message that does not name it: {error.message[:200]}"
    return None


async def fault_of(desk: Desk, command: str, case: Case) -> str | None:
    """What is wrong with the answer to one bad call, None if all is well."""
    what, where, arguments = case
    before = snapshot(desk)
    try:
        reply = await desk.broker.call(Caller("local", "bob"), command, arguments)
    except Mq9Error as error:
        fault = shape_fault(error, where)
    except BaseException as error:
        fault = f"raised {type(error).__name__}: {error!s:.200}"
    else:
        fault = f"accepted: {reply!s:.200}"
    if fault is None and snapshot(desk) != before:
        fault = "the state changed"
    return None if fault is None else f"{command} {where[:64]!a} = {what}: {fault}"


@pytest.mark.parametrize("command", CATALOGUE)
def test_a_bad_value_is_refused_by_name_and_changes_nothing(tmp_path: Path, command: str) -> None:
    """ "One shape everywhere ... unknown arguments are refused, not ignored": every parameter, every vice."""

    async def body(desk: Desk) -> None:
        lease, work = await furnished(desk)
        tried = 0
        faults = []
        for case in cases(command, lease, work):
            tried += 1
            fault = await fault_of(desk, command, case)
            if fault is not None:
                faults.append(fault)
        assert tried >= 20
        assert not faults, f"{len(faults)} of {tried}:\n" + "\n".join(faults[:60])

    run(body, tmp_path, "box")


def test_an_unknown_command_is_refused_with_the_list_of_commands(tmp_path: Path) -> None:
    async def body(desk: Desk) -> None:
        for name in ("", "mailbox", "mailbox_sends", "MAILBOX_SEND", "\ud800", "x" * 1_000_000, "__class__"):
            error = await desk.refused("INVALID_ARGUMENT", name)
            assert "mailbox_send" in error.message
            assert len(error.message) < MESSAGE_CHARACTERS_MAX
            error.message.encode()

    run(body, tmp_path)


@pytest.mark.parametrize("command", LATER)
def test_a_command_of_a_later_version_says_so(tmp_path: Path, command: str) -> None:
    async def body(desk: Desk) -> None:
        before = snapshot(desk)
        error = await desk.refused("INVALID_ARGUMENT", command)
        assert command in error.message
        assert "not part of this version" in error.message
        assert error.hint
        assert snapshot(desk) == before

    run(body, tmp_path)


@pytest.mark.parametrize("arguments", [None, [], "text", 7, [{"to": "box"}]])
def test_arguments_that_are_no_object_are_refused(tmp_path: Path, arguments: Any) -> None:
    async def body(desk: Desk) -> None:
        with pytest.raises(Mq9Error) as caught:
            await desk.broker.call(Caller("local", "bob"), "mailbox_send", arguments)
        assert caught.value.code == "INVALID_ARGUMENT"
        assert "arguments" in caught.value.message

    run(body, tmp_path)


def test_a_tampered_lease_is_lost_and_settles_nothing(tmp_path: Path) -> None:
    """An error of one item, in the one shape; letters outside ASCII are no exception."""

    async def body(desk: Desk) -> None:
        lease, _ = await furnished(desk)
        group, message, _ = lease.split(".")
        before = snapshot(desk)
        secrets = ("ä", "", "0" * 32, "é" * 32, "\x00", lease, "\U0001f600")
        tokens = [f"{group}.{message}.{secret}" for secret in secrets]
        tokens += [
            "x",
            "..",
            "-1.-1.x",
            f"{'f' * 60}.{'f' * 60}.x",
            "0x1.0x1.y",
            "1.1",
            "\u0661.\u0661.x",
            f" {lease}",
        ]
        for token in tokens:
            reply = await desk.call("mailbox_ack", "bob", items=[{"lease": token}])
            [result] = reply["results"]
            assert result["ok"] is False
            assert result["error"]["code"] == "LEASE_LOST"
        assert snapshot(desk) == before

    run(body, tmp_path, "box")
