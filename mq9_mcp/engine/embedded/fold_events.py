"""What each event changes in the tables. Rooms as in the domain; names as in ``events``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mq9_mcp.domain import events as e
from mq9_mcp.domain.limits import limit
from mq9_mcp.engine.embedded.agents import fold_registered, fold_status, fold_unregistered
from mq9_mcp.engine.embedded.fold_park import fold_unparked
from mq9_mcp.engine.embedded.fold_session import SESSION
from mq9_mcp.engine.embedded.push_rows import PUSH
from mq9_mcp.engine.embedded.replay import Entry
from mq9_mcp.engine.embedded.rows import OpenRow, Rows

PAST_MAX = limit("past_leases_max")
_encode = msgspec.json.Encoder().encode


def _sent(fold: Rows, entry: Entry, event: e.Sent) -> None:
    answers = {reply: original for original, reply in event.answers}
    for record in event.sessions:
        fold.sessions.keep(record)
    for mail in event.mails:
        start = mail.position - entry.position
        body = entry.bodies[start : start + mail.size].decode()
        fold.add_message(mail, event.at, body, in_reply_to=answers.get(mail.id))
        if mail.session is not None and not event.apart:
            fold.sessions.join(mail.session, mail.mailbox, mail.sender, event.at, entry.seq)
    for mailbox, key in event.keys:
        fold.add_key(mailbox, key)
    for id in event.joined:
        fold.end(id, entry.seq, event.at, "acked")
    _replace(fold, entry, event)


def _task_opened(fold: Rows, entry: Entry, event: e.TaskOpened) -> None:
    fold.tasks.begin(entry, event)


def _task_moved(fold: Rows, entry: Entry, event: e.TaskMoved) -> None:
    fold.tasks.move(entry, event, fold.numbers["next_message"] - 1)
    for id in event.withdrawn:
        fold.end_everywhere(id, entry.seq, event.at, "withdrawn")
    for id in event.superseded:
        fold.mark_ending(id, event.at, "withdrawn")


def _replace(fold: Rows, entry: Entry, event: e.Sent | e.Due) -> None:
    for id in event.withdrawn:
        fold.end_everywhere(id, entry.seq, event.at, "withdrawn")
    for id in event.superseded:
        fold.mark_ending(id, event.at, "withdrawn")


def _due(fold: Rows, entry: Entry, event: e.Due) -> None:
    for id in event.ids:
        fold.show(id)
    _replace(fold, entry, event)


def _expired(fold: Rows, entry: Entry, event: e.Expired) -> None:
    for id in event.ids:
        fold.end_everywhere(id, entry.seq, event.at, "expired")
    for id in event.held:
        fold.mark_ending(id, event.at, "expired")


def _leased(fold: Rows, entry: Entry, event: e.Leased) -> None:
    fold.lease(event, entry.seq)


def _acked(fold: Rows, entry: Entry, event: e.Acked) -> None:
    for id in event.ids:
        fold.settle(event.group, id, event.at, "acked", "ack", event.receipts)
        if id not in event.kept:
            fold.end(id, entry.seq, event.at)


def _unlease(fold: Rows, group: int, id: int, outcome: str, receipts: str | None) -> OpenRow:
    row = fold.touch(group, id)
    row.past = row.past or {}
    row.past[row.secret] = (outcome, receipts)
    if len(row.past) > PAST_MAX:
        del row.past[next(iter(row.past))]
    row.lapsed = False
    return row


def _nacked(fold: Rows, entry: Entry, event: e.Nacked) -> None:
    row = _unlease(fold, event.group, event.id, "nack", event.receipts)
    row.state = "backoff"
    row.attempts += event.counted
    row.until = event.until
    row.reason = event.reason


def _released(fold: Rows, entry: Entry, event: e.Released) -> None:
    for id in event.ids:
        _unlease(fold, event.group, id, "release", event.receipts).state = "waiting"


def _extended(fold: Rows, entry: Entry, event: e.Extended) -> None:
    for id in event.ids:
        row = fold.touch(event.group, id)
        row.state = "leased"
        row.until = event.until
        row.lapsed = False


def _lapsed(fold: Rows, entry: Entry, event: e.Lapsed) -> None:
    for id in event.ids:
        row = fold.touch(event.group, id)
        row.state = "backoff" if event.until else "waiting"
        row.until = event.until or row.until
        row.attempts += 1
        row.lapsed = True


def _closed(fold: Rows, entry: Entry, event: e.Closed) -> None:
    fold.settle(event.group, event.id, event.at, event.state, event.outcome, event.receipts)
    if not event.kept:
        fold.end(event.id, entry.seq, event.at, event.state)


def _died(fold: Rows, entry: Entry, event: e.Died) -> None:
    fold.add_message(event.copy, event.at, None, source=event.id)
    if event.group is not None:
        assert event.copy.extra is not None
        letter = event.copy.extra.letter
        assert letter is not None
        fold.settle(
            event.group,
            event.id,
            event.at,
            "dead",
            event.outcome,
            event.receipts,
            letter.attempts,
            letter.reason,
        )
    if not event.kept:
        fold.end(event.id, entry.seq, event.at)


def _deleted(fold: Rows, entry: Entry, event: e.Deleted) -> None:
    fold.over_messages(("delete_messages", "delete_message_deliveries"), event.ids)
    fold.delete_open(event.ids)


def _redriven(fold: Rows, entry: Entry, event: e.Redriven) -> None:
    for letter, mail in zip(event.letters, event.mails, strict=True):
        fold.add_message(mail, event.at, None, source=letter)
    fold.over_messages(("delete_messages", "delete_message_deliveries"), event.letters)
    fold.delete_open(event.letters)


def _mailbox_created(fold: Rows, entry: Entry, event: e.MailboxCreated) -> None:
    fold.number("next_mailbox", event.mailbox)
    fold.tables.run(
        "insert_mailbox",
        [
            event.mailbox,
            event.address,
            event.owner,
            event.description,
            _encode(event.settings).decode(),
            event.at,
            event.expires_at,
            event.agent,
        ],
    )


def _mailbox_updated(fold: Rows, entry: Entry, event: e.MailboxUpdated) -> None:
    fold.write()
    fold.tables.run("forget_mailbox_keys", [event.mailbox, limit("dedup_window_s"), event.at])
    settings = _encode(event.settings).decode()
    fold.tables.run("update_mailbox", [settings, event.description, event.expires_at, event.mailbox])


def _mailbox_dropped(fold: Rows, entry: Entry, event: e.MailboxDropped) -> None:
    fold.write()
    groups = {group for group, mailbox in fold.mailbox_of.items() if mailbox == event.mailbox}
    fold.forget_open(lambda group, message: group not in groups)
    for what in ("open", "deliveries", "messages", "keys", "groups", "agents"):
        fold.tables.run(f"drop_mailbox_{what}", [event.mailbox])
    fold.tables.run("drop_mailbox", [event.mailbox])
    for group in groups:
        del fold.mailbox_of[group]


def _group_made(fold: Rows, entry: Entry, event: e.GroupMade) -> None:
    fold.number("next_group", event.group)
    fold.mailbox_of[event.group] = event.mailbox
    through = event.history_through or None
    fold.tables.run(
        "insert_group",
        [event.group, event.mailbox, event.name, event.start_id, event.start_at, event.at, through],
    )
    for id in event.settled:
        fold.end(id, entry.seq, event.at)


def _group_ended(fold: Rows, entry: Entry, event: e.GroupEnded) -> None:
    fold.write()
    fold.forget_open(lambda group, message: group != event.group)
    fold.tables.run("delete_group_open", [event.group])
    fold.tables.run("delete_group", [event.group])
    fold.mailbox_of.pop(event.group, None)
    for id in event.settled:
        fold.end(id, entry.seq, event.at)


def _group_seen(fold: Rows, entry: Entry, event: e.GroupSeen) -> None:
    fold.tables.run("see_group", [event.at, event.group])


def _revived(fold: Rows, entry: Entry, event: e.Revived) -> None:
    fold.over_messages(("revive_messages",), [mail.id for mail in event.mails])
    if event.through is None:
        fold.tables.run("end_history", [event.group])
    else:
        fold.tables.run("advance_history", [*event.through, event.group])


def _pruned(fold: Rows, entry: Entry, event: e.Pruned) -> None:
    fold.write()
    fold.tables.run("make_ids")
    fold.tables.run("prune_ids", [event.mailbox, event.through])
    for statement in ("delete_messages", "delete_message_deliveries"):
        fold.tables.run(statement, [0, 2**53])


def _opened(fold: Rows, entry: Entry, event: e.Opened) -> None:
    fold.write()
    for rows in fold.open.values():
        for row in rows.values():
            if row.state == "leased":
                row.until = max(row.until, event.lease_floor)
    fold.tables.run("extend_floor", [event.lease_floor])


HANDLERS: dict[type[e.Event], Callable[[Rows, Entry, Any], None]] = {
    e.Sent: _sent,
    e.Due: _due,
    e.Expired: _expired,
    e.Leased: _leased,
    e.Acked: _acked,
    e.Nacked: _nacked,
    e.Released: _released,
    e.Extended: _extended,
    e.Lapsed: _lapsed,
    e.Closed: _closed,
    e.Died: _died,
    e.Deleted: _deleted,
    e.Redriven: _redriven,
    e.Unparked: fold_unparked,
    e.MailboxCreated: _mailbox_created,
    e.MailboxUpdated: _mailbox_updated,
    e.MailboxDropped: _mailbox_dropped,
    e.GroupMade: _group_made,
    e.GroupEnded: _group_ended,
    e.GroupSeen: _group_seen,
    e.Revived: _revived,
    e.Pruned: _pruned,
    e.Opened: _opened,
    e.AgentRegistered: fold_registered,
    e.AgentStatus: fold_status,
    e.AgentUnregistered: fold_unregistered,
    **SESSION,
    e.TaskOpened: _task_opened,
    e.TaskMoved: _task_moved,
    **PUSH,
}
