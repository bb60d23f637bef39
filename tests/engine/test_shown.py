"""Every kind of event has a view for its owner, and none that tells a stranger, a body or a secret."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from mq9_mcp.domain import events as e
from mq9_mcp.domain import push_events as push
from mq9_mcp.domain.past import GroupPlace, Place
from mq9_mcp.domain.push_target import PushTarget
from mq9_mcp.domain.shown import Places, groups_of, mailboxes_of, show
from mq9_mcp.domain.state import Caller

AT = 1_800_000_000_000
NOON, LATER = "2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.000Z"
SECRET = "a-secret"
PLACES = Places(
    {1: Place("box", "local"), 2: Place("box.dead", "local"), 9: Place("theirs", "other")},
    {4: GroupPlace("default", 1), 8: GroupPlace("default", 9)},
)
OWNER, STRANGER = Caller("local", "anna"), Caller("nobody", "eve")


def mail(id: int, mailbox: int = 1, sender: str = "bob", **fields: Any) -> e.Mail:
    return e.Mail(id, mailbox, 2, AT, 100, sender, 12345, **fields)


LETTER = e.Extra(letter=e.Letter(5, "box", "default", "poison", 3, description=SECRET))
BOX = {"mailbox": "box"}
GROUP = {"mailbox": "box", "group": "default"}

# An event of each kind, and what its owner sees of it.
SEEN: list[tuple[e.Event, dict[str, Any] | None]] = [
    (e.Opened(at=AT, lease_floor=AT), None),
    (
        e.MailboxCreated(at=AT, mailbox=7, address="new", owner="local", settings=e.Settings(), agent=True),
        {"mailbox": "new", "agent": True},
    ),
    (
        e.MailboxUpdated(at=AT, mailbox=1, settings=e.Settings(), expires_at=AT + 60_000),
        {**BOX, "expires_at": LATER},
    ),
    (e.MailboxDropped(at=AT, mailbox=1, reason="dropped"), {**BOX, "reason": "dropped"}),
    (
        e.GroupMade(at=AT, group=5, mailbox=1, name="audit", start_id=0, start_at=0, settled=[3]),
        {**BOX, "group": "audit", "settled": [3]},
    ),
    (e.GroupEnded(at=AT, group=4, reason="idle"), {**GROUP, "reason": "idle"}),
    (e.GroupSeen(at=AT, group=4), GROUP),
    (e.Revived(at=AT, group=4, mails=[mail(3)], through=None), {**GROUP, "ids": [3]}),
    (
        e.Sent(
            at=AT,
            mails=[mail(5, session="s"), mail(6, expires_at=AT + 60_000)],
            answers=[(2, 5)],
            keys=[(1, e.DedupKey(SECRET, 5, AT, 1))],
            withdrawn=[1],
        ),
        {
            "messages": [
                {"id": 5, "mailbox": "box", "from": "bob", "priority": "normal", "session": "s"},
                {"id": 6, "mailbox": "box", "from": "bob", "priority": "normal", "expires_at": LATER},
            ],
            "answers": [{"id": 5, "in_reply_to": 2}],
            "withdrawn": [1],
        },
    ),
    (
        e.Leased(at=AT, group=4, ids=[5], secret=SECRET, until=AT + 60_000, worker="carl", principal="local"),
        {**GROUP, "ids": [5], "worker": "carl", "leased_until": LATER},
    ),
    (e.Acked(at=AT, group=4, ids=[5], receipts=SECRET), {**GROUP, "ids": [5]}),
    (
        e.Nacked(at=AT, group=4, id=5, until=AT + 60_000, reason="busy"),
        {**GROUP, "ids": [5], "reason": "busy", "waits_until": LATER},
    ),
    (e.Released(at=AT, group=4, ids=[5]), {**GROUP, "ids": [5]}),
    (e.Extended(at=AT, group=4, ids=[5], until=AT), {**GROUP, "ids": [5], "leased_until": NOON}),
    (e.Lapsed(at=AT, group=4, ids=[5]), {**GROUP, "ids": [5]}),
    (
        e.Closed(at=AT, group=4, id=5, state="expired", outcome="ack"),
        {**GROUP, "ids": [5], "state": "expired", "outcome": "ack"},
    ),
    (
        e.Died(at=AT, mailbox=1, id=5, copy=mail(6, 2, extra=LETTER), group=4, outcome="reject"),
        {
            **GROUP,
            "ids": [5],
            "outcome": "reject",
            "reason": "poison",
            "letter": {"id": 6, "mailbox": "box.dead"},
        },
    ),
    (e.Expired(at=AT, mailbox=1, ids=[5], held=[6]), {**BOX, "ids": [5], "held": [6]}),
    (e.Due(at=AT, mailbox=1, ids=[5]), {**BOX, "ids": [5]}),
    (e.Deleted(at=AT, mailbox=1, ids=[5]), {**BOX, "ids": [5]}),
    (
        e.Redriven(at=AT, letters=[6], mails=[mail(7)]),
        {"messages": [{"letter": 6, "id": 7, "mailbox": "box"}]},
    ),
    (
        e.Unparked(at=AT, mailbox=1, address="box", owner="local", ids=[5], visible=[AT + 1], tasks=["t"]),
        {**BOX, "ids": [5], "tasks": ["t"]},
    ),
    (e.Pruned(at=AT, mailbox=1, through=3, count=2, bytes=99, oldest=AT), {**BOX, "count": 2, "bytes": 99}),
    (
        e.AgentRegistered(at=AT, agent="box", owner="local", mailbox=1, version=2, card=SECRET),
        {**BOX, "agent": "box", "version": 2},
    ),
    (
        e.AgentStatus(at=AT, agent="box", mailbox=1, status="busy", load=0.5),
        {**BOX, "agent": "box", "status": "busy", "load": 0.5},
    ),
    (e.AgentUnregistered(at=AT, agent="box", mailbox=1), {**BOX, "agent": "box"}),
    (e.SessionClosed(at=AT, session="s", mailboxes=[9, 1]), {"session": "s"}),
    (
        e.SessionReopened(at=AT, session="s", mailboxes=[1], turns_max=9),
        {"session": "s", "turns_max": 9},
    ),
    (
        e.TaskOpened(
            at=AT,
            task="task-1",
            message=5,
            mailbox=1,
            address="box",
            owner="local",
            tier=2,
            asker="bob",
            principal="local",
            body=(0, 9),
        ),
        {**BOX, "task": "task-1", "id": 5, "asker": "bob"},
    ),
    (
        e.TaskMoved(
            at=AT,
            task="task-1",
            mailbox=1,
            state="failed",
            by="carl",
            secret=SECRET,
            steps=[e.Step("status", (0, 9), 6, "EXPIRED")],
        ),
        {
            **BOX,
            "task": "task-1",
            "state": "failed",
            "by": "carl",
            "entries": [{"kind": "status", "id": 6, "reason": "EXPIRED"}],
        },
    ),
    (
        push.PushSet(
            at=AT, task="task-1", push="p", principal="local", target=PushTarget(SECRET, SECRET, "x", SECRET)
        ),
        {"task": "task-1", "push": "p"},
    ),
    (
        push.PushDeleted(at=AT, task="task-1", push="p", principal="local"),
        {"task": "task-1", "push": "p"},
    ),
    (push.PushMoved(at=AT, task="task-1", push="p", number=3), None),
    (
        push.PushDisabled(at=AT, task="task-1", push="p", principal="local", trouble="503"),
        {"task": "task-1", "push": "p", "trouble": "503"},
    ),
]


_SAY_THEIR_OWNERS = (e.MailboxCreated, e.TaskOpened, push.PushSet, push.PushDeleted, push.PushDisabled)


def test_every_kind_of_event_is_here() -> None:
    assert [type(event) for event, _ in SEEN] == list(get_args(e.AnyEvent))


@pytest.mark.parametrize(("event", "seen"), SEEN, ids=lambda one: type(one).__name__)
def test_what_the_owner_sees(event: e.Event, seen: dict[str, Any] | None) -> None:
    shown = show(event, OWNER, PLACES)
    assert shown == (None if seen is None else {"event": event.__struct_config__.tag, **seen})
    assert SECRET not in msgspec.json.encode(shown).decode()
    assert show(event, STRANGER, PLACES) is None


@pytest.mark.parametrize("event", [event for event, _ in SEEN], ids=lambda one: type(one).__name__)
def test_what_has_no_name_is_not_shown(event: e.Event) -> None:
    """The mailbox ended so long ago that nobody knows whose it was."""
    if not isinstance(event, _SAY_THEIR_OWNERS):  # say their owners themselves
        assert show(event, OWNER, Places({}, {})) is None


def test_every_number_in_an_event_is_looked_up() -> None:
    for event, seen in SEEN:
        asked = Places(
            {number: PLACES.mailboxes.get(number, Place("?", "?")) for number in mailboxes_of(event)},
            {number: PLACES.groups.get(number, GroupPlace("?", 0)) for number in groups_of(event)},
        )
        for group in asked.groups.values():
            asked.mailboxes[group.mailbox] = PLACES.mailboxes.get(group.mailbox, Place("?", "?"))
        shown = show(event, OWNER, asked)
        assert shown == (None if seen is None else {"event": event.__struct_config__.tag, **seen})


def test_a_sender_sees_what_it_sent_to_others_and_no_more() -> None:
    event = e.Sent(
        at=AT,
        mails=[mail(5, 9, "anna"), mail(6, 9, "bob"), mail(7, 1, "anna")],
        answers=[(2, 6)],
        withdrawn=[1],
        superseded=[3],
    )
    assert show(event, OWNER, PLACES) == {
        "event": "sent",
        "messages": [
            {"id": 5, "mailbox": "theirs", "from": "anna", "priority": "normal"},
            {"id": 7, "mailbox": "box", "from": "anna", "priority": "normal"},
        ],
    }
    taken = e.Leased(at=AT, group=8, ids=[5], secret=SECRET, until=AT, worker="w", principal="other")
    assert show(taken, OWNER, PLACES) is None
