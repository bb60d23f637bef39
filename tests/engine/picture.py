"""A state as plain comparable data, and what must hold of every state.

Two states with the same picture deliver the same mail in the same order and answer every lease alike.
What is derived (heaps, cursors, indexes) is compared by what it does, not by how it lies in memory.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mq9_mcp.domain.apply_delivery import backoff_over
from mq9_mcp.domain.delivery import Delivery, DeliveryState
from mq9_mcp.domain.events import Mail, SessionRecord
from mq9_mcp.domain.filters import Filter
from mq9_mcp.domain.line import Line, line_key
from mq9_mcp.domain.log import OUTSIDE, TIER_RANGE
from mq9_mcp.domain.registry import Agent
from mq9_mcp.domain.session_memory import places, status
from mq9_mcp.domain.state import Group, Mailbox, State, key_counts
from mq9_mcp.domain.task import Task

Picture = dict[str, Any]

FILTERS = (
    Filter(lowest_tier=0),
    Filter(any_of=frozenset({"red", "blue"}), everything=False),
    Filter(all_of=frozenset({"red"}), none_of=frozenset({"blue"}), everything=False),
    Filter(session="s1", everything=False),
)


def picture(state: State, now: int) -> Picture:
    """Everything that a caller could ever notice of ``state`` at ``now``."""
    for group in state.groups.values():
        backoff_over(group, now)  # no event says so: each state notices it when it looks
    return {
        "seq": state.seq,
        "at": state.at,
        "next": (state.next_message, state.next_mailbox, state.next_group),
        "unsettled_bytes": state.unsettled_bytes,
        "addresses": {address: box.number for address, box in state.addresses.items()},
        "mails": {id: _mail(mail) for id, mail in sorted(state.mails.items())},
        "mailboxes": {number: _mailbox(box, now) for number, box in sorted(state.mailboxes.items())},
        "groups": sorted(state.groups),
        "agents": {name: _agent(agent) for name, agent in sorted(state.agents.items())},
        "sessions": [_session(record) for record in state.sessions.known.values() if not _gone(record, now)],
        "tasks": {id: msgspec.to_builtins(task) for id, task in sorted(state.tasks.items())},
        "parked": sorted(state.parked),
        "pushes": {
            task: {id: msgspec.to_builtins(push) for id, push in sorted(known.items())}
            for task, known in sorted(state.pushes.items())
        },
        "task_news": {worker: sorted(tasks) for worker, tasks in sorted(state.task_news.items())},
    }


def _agent(agent: Agent) -> tuple[Any, ...]:
    """All but what heartbeats say, which memory alone knows."""
    fields = msgspec.structs.asdict(agent)
    for name in ("seen_at", "load", "note"):
        del fields[name]
    return tuple(fields.values())


def _gone(record: SessionRecord, now: int) -> bool:
    return status(record, now) == "gone"


def _session(record: SessionRecord) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(record)
    fields["mailboxes"], fields["senders"] = set(record.mailboxes), set(record.senders)
    return tuple(fields.values())


def _mail(mail: Mail) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(mail)
    del fields["place"]
    return tuple(fields.values())


def _mailbox(box: Mailbox, now: int) -> Picture:
    return {
        "address": (box.address, box.owner, box.description, box.agent),
        "times": (box.created_at, box.expires_at),
        "settings": box.settings,
        "counts": (box.unsettled, box.unsettled_bytes, box.settled, box.settled_bytes),
        "delayed": sorted((at, id) for at, id in box.delayed if id in box.state.mails),
        "outside": sorted(box.outside),
        "timeouts": sorted((at, id) for at, id in box.timeouts if id in box.state.tasks),
        "ending": dict(sorted(box.ending.items())),
        "state_keys": {key: sorted(ids) for key, ids in sorted(box.state_keys.items())},
        "dedup": {name: msgspec.to_builtins(key) for name, key in _keys(box, now)},
        "groups": {name: _group(group) for name, group in sorted(box.groups.items())},
    }


def _keys(box: Mailbox, now: int) -> list[tuple[str, Any]]:
    return sorted((name, key) for name, key in box.dedup.items() if key_counts(box, key, now))


def _group(group: Group) -> Picture:
    history = group.history
    return {
        "number": group.number,
        "start": (group.start_id, group.start_at),
        "seen_at": group.seen_at,
        "leased": group.leased,
        "history": history and (history.through, history.count, history.bytes, history.after),
        "open": {id: _delivery(delivery) for id, delivery in sorted(group.open.items())},
        "owed": sorted(id for id, mail in group.mailbox.state.mails.items() if _owes(group, mail)),
        "line": [mail.id for mail in group.line.candidates(Filter())],
        "filtered": [[mail.id for mail in group.line.candidates(wish)] for wish in FILTERS],
    }


def _owes(group: Group, mail: Mail) -> bool:
    return mail.mailbox == group.mailbox.number and group.owes(mail)


def _delivery(delivery: Delivery) -> tuple[Any, ...]:
    fields = {name: getattr(delivery, name) for name in Delivery.__struct_fields__}
    if not delivery.secret and not delivery.attempts:
        fields["until"] = 0
    fields["past"] = {secret: tuple(outcome) for secret, outcome in (delivery.past or {}).items()}
    return tuple(fields.items())


# --- what must hold of every state


def check(state: State) -> None:
    """Assert everything that is true of a state between two records."""
    assert state.unsettled_bytes == sum(mail.size for mail in state.mails.values())
    assert state.parked == {id: mail for id, mail in state.mails.items() if mail.extra and mail.extra.wish}
    assert state.sessions.places == sum(places(record) for record in state.sessions.known.values())
    for box in state.mailboxes.values():
        mails = [mail for mail in state.mails.values() if mail.mailbox == box.number]
        assert box.unsettled == len(mails), f"{box.address}: unsettled"
        assert box.unsettled_bytes == sum(mail.size for mail in mails), f"{box.address}: unsettled_bytes"
        assert box.settled >= 0, f"{box.address}: settled"
        assert box.settled_bytes >= 0, f"{box.address}: settled_bytes"
        for mail in mails:
            _check_mail(box, mail)
        for group in box.groups.values():
            _check_group(group)
        if box.registered is not None:
            assert state.agents[box.address] is box.registered, f"{box.address}: registered"
            assert box.agent, f"{box.address}: an agent's mailbox is closed"
            assert box.alarm <= box.registered.away_at(), f"{box.address}: nobody will miss it"
    for name, agent in state.agents.items():
        assert state.mailboxes[agent.mailbox].registered is agent, f"{name}: agent without its mailbox"
        assert state.mailboxes[agent.mailbox].owner == agent.owner, f"{name}: owner"
    for task_id, known in state.pushes.items():
        assert known, f"{task_id}: no push target left, and still known"
        for push in known.values():
            assert push.live or (task_id in state.tasks and not push.done), f"{push.id}: no use in memory"
    for task in state.tasks.values():
        _check_task(state, task)


def _check_mail(box: Mailbox, mail: Mail) -> None:
    where = f"{box.address}: message {mail.id}"
    delayed = any(id == mail.id for _, id in box.delayed)
    places = [delayed, box.logs.holds(mail), mail.id in box.outside]
    assert sum(places) == 1, f"{where} is in {sum(places)} places: {places}"
    assert mail.id not in box.outside or mail.place == OUTSIDE, where
    owing = [group for group in box.groups.values() if group.owes(mail)]
    if delayed:
        assert not owing, f"{where} is delayed and waits"
    elif mail.id in box.ending:
        held = [group for group in box.groups.values() if _leased(group, mail)]
        assert held, f"{where} is {box.ending[mail.id]} and nobody holds it"
        assert held == owing, f"{where} is {box.ending[mail.id]} and still waits"
    elif box.groups and not box.state.awaits_default(box, mail):
        assert owing, f"{where}: no group owes it, and it is not settled"
    if mail.expires_at is not None and mail.id not in box.ending:
        assert (mail.expires_at, mail.id) in box.expiries, f"{where}: nothing looks when it expires"


def _check_task(state: State, task: Task) -> None:
    """A task and its work message live and end together, and the lease makes it ``working``."""
    where = f"task {task.id} is {task.state}"
    assert not task.over, f"{where} and in memory"
    box = state.mailboxes[task.mailbox]
    assert task.timeout_at is None or (task.timeout_at, task.id) in box.timeouts, f"{where}: nothing looks"
    if task.waits:
        assert task.work == 0, f"{where} and has work"
        return
    mail = state.mails[task.work]
    assert mail.extra is not None, where
    assert mail.extra.task == task.id, where
    default = box.groups.get("default")
    held = default is not None and _leased(default, mail)
    assert held == (task.state == "working"), f"{where}, held: {held}"
    if (
        default is not None
        and mail.visible_at <= state.at
        and not any(mail.id == id for _, id in box.delayed)
    ):
        assert default.owes(mail), f"{where}, and default does not owe its message"


def _leased(group: Group, mail: Mail) -> bool:
    delivery = group.open.get(mail.id)
    return delivery is not None and delivery.state is DeliveryState.LEASED


def check_idle(live: State, rebuilt: State) -> None:
    """A rebuild, which sees few fetches, ends no group earlier than they would."""
    for number, group in rebuilt.groups.items():
        assert group.idle_at() >= live.groups[number].idle_at(), f"group {group.name} ends early"


def _check_group(group: Group) -> None:
    where = f"{group.mailbox.address}: group {group.name}"
    mails = group.mailbox.state.mails
    leased = sum(one.state is DeliveryState.LEASED for one in group.open.values())
    assert group.leased == leased, f"{where}: leased"
    for id, delivery in group.open.items():
        assert id in mails, f"{where}: holds message {id}, which is gone"
        if delivery.state is not DeliveryState.WAITING:
            watched = any(until == delivery.until and id in ids for until, ids in group.timers)
            assert watched, f"{where}: nothing looks when {id} ends"
    tiers = [mails[id].tier for id in mails if _owes(group, mails[id]) and not _taken(group, id)]
    assert group.line.waiting_by_tier() == [tiers.count(tier) for tier in TIER_RANGE], f"{where}: tiers"
    waiting = [mail.id for mail in group.line.candidates(Filter())]
    assert len(set(waiting)) == len(waiting), f"{where}: twice in line"
    taken = {id for id, one in group.open.items() if one.state is not DeliveryState.WAITING}
    assert not taken.intersection(waiting), f"{where}: out and in line"
    if isinstance(group.line, Line):
        _check_line(group, group.line, waiting, where)
    else:
        for name, session in group.line.sessions.items():
            out = sum(id in taken for id in session.ids)
            assert session.busy == out, f"{where}: session {name} is busy"
            assert session.ids == sorted(session.ids), f"{where}: session {name} is out of order"


def _taken(group: Group, id: int) -> bool:
    delivery = group.open.get(id)
    return delivery is not None and delivery.state is not DeliveryState.WAITING


def _check_line(group: Group, line: Line, waiting: list[int], where: str) -> None:
    mails = group.mailbox.state.mails
    back = {id for id, one in group.open.items() if one.state is DeliveryState.WAITING}
    fresh = {mail.id for mail in mails.values() if _owes(group, mail) and line.waits_in_log(mail)}
    assert set(waiting) == back | fresh, f"{where}: line"
    assert line.waiting_count() == len(waiting), f"{where}: count"
    keys = [(mails[id].tier, *line_key(mails[id])) for id in waiting]
    assert keys == sorted(keys), f"{where}: order"
    for tier in TIER_RANGE:
        log = group.mailbox.logs.tiers[tier]
        free = [mail for mail in log.since(0) if line.waits_in_log(mail)]
        assert line.free[tier] == len(free), f"{where}: free in tier {tier}"
