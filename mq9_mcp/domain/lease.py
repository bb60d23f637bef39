"""Fetching: every message goes out under a lease that is durable before it is handed out."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace
from itertools import islice, takewhile
from typing import Any

from mq9_mcp.domain.clock import seconds, wire_time
from mq9_mcp.domain.commands import MailboxFetch
from mq9_mcp.domain.events import GroupSeen, Leased, Mail
from mq9_mcp.domain.filters import Filter, filter_of
from mq9_mcp.domain.group import fetched_addresses, read_start
from mq9_mcp.domain.limits import REMAINING_MAX, limit
from mq9_mcp.domain.names import check_address, lease_token, own_session
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Group
from mq9_mcp.domain.task import Task, read_place
from mq9_mcp.domain.task_lease import describe, news_of

FETCH_BYTES_MAX = limit("fetch_bytes_max")
MESSAGE_BYTES_MAX = limit("message_bytes_max")
ENVELOPE_BYTES = 512  # what a delivery adds to a body: id, address, lease, times
_SEEN_EVERY = limit("group_idle_s") * 1000 // 100

Delivered = tuple[Mail, dict[str, Any]]


def joined(plan: Plan, command: MailboxFetch) -> list[Group] | None:
    """The groups that a fetch reads; None if one of them, or the agent's own mailbox, must be made first."""
    if command.deliver != "earliest":
        read_start(plan, command.deliver, "deliver")  # counts only for a new group, but is never nonsense
    groups = []
    for address in fetched_addresses(plan, command):
        if address not in plan.state.addresses:
            check_address(address, "mailbox")
            if address == plan.caller.agent:
                return None
        group = plan.mailbox(address).groups.get(command.group)
        if group is None:
            return None
        groups.append(group)
    return groups


def decide_fetch(plan: Plan, command: MailboxFetch, groups: list[Group]) -> dict[str, Any]:
    """Lease what fits to the caller.

    The reply is ``{messages, remaining, cancel_requested}``; a message is ``(mail, fields)`` until its
    body joins the fields.
    """
    for group in groups:
        if plan.now - group.seen_at >= _SEEN_EVERY:
            plan.events.append(GroupSeen(at=plan.now, group=group.number))
    wish = filter_of(command)
    mails = available(groups[0], wish, plan.now) if len(groups) == 1 else _merged(groups, wish, plan.now)
    chosen, left = _choose(plan.state.tasks, mails, command.max)
    if wish.everything:
        del mails  # an ordered line is whole again only when nobody walks along it
        left = _remaining(groups, wish, len(chosen)) or left
    else:
        while left < REMAINING_MAX and next(mails, None):
            left += 1
    reply: dict[str, Any] = {"messages": [], "remaining": left, "cancel_requested": []}
    if plan.state.task_news:
        news_of(plan, reply)
    if chosen:
        reply["messages"] = _lease(plan, groups, chosen, plan.now + seconds(command.lease_s))
    return reply


def enough(reply: dict[str, Any], most: int, groups: list[Group]) -> bool:
    """True if a reply is full by messages or bytes and knows of more: old mail need not be brought in yet.

    With several mailboxes, none of the old mail may be better than what is in the reply.
    """
    mails = [mail for mail, _ in reply["messages"]]
    tasks = groups[0].mailbox.state.tasks
    room = FETCH_BYTES_MAX - sum(_weight(tasks, mail) for mail in mails)
    full = len(mails) == most or room < MESSAGE_BYTES_MAX + ENVELOPE_BYTES
    if not full or not reply["remaining"]:
        return False
    if len(groups) == 1:
        return True
    last = max((mail.tier, mail.visible_at, mail.id) for mail in mails)
    behind = [group for group in groups if group.history is not None]
    return not any(group.mailbox.settings.ordered_by or _reached(group) < last for group in behind)


def _reached(group: Group) -> tuple[int, int, int]:
    """How far the history of a group has been brought in."""
    assert group.history is not None
    return group.history.after


def _choose(tasks: dict[str, Task], mails: Iterator[Mail], most: int) -> tuple[list[Mail], int]:
    """The first ``most`` messages within the reply's bytes; and 1 if one more was taken from the line."""
    chosen: list[Mail] = []
    room = FETCH_BYTES_MAX
    for mail in islice(mails, most):
        room -= mail.size + ENVELOPE_BYTES if mail.extra is None else _weight(tasks, mail)
        if room < 0 and chosen:
            return chosen, 1
        chosen.append(mail)
    return chosen, 0


def _weight(tasks: dict[str, Task], mail: Mail) -> int:
    """About the bytes of a message in the reply, with what a worker gets with it to go on."""
    weight = mail.size + ENVELOPE_BYTES
    if mail.extra is not None and mail.extra.task is not None:
        task = tasks.get(mail.extra.task)
        if task is not None and task.work == mail.id:
            weight += read_place(task.checkpoint)[1] + read_place(task.question)[1]
    return weight


def _lease(plan: Plan, groups: list[Group], mails: list[Mail], until: int) -> list[Delivered]:
    """Plan one lease for each group; returns the messages, each with what its delivery adds."""
    if len(groups) == 1:
        return _lease_in(plan, groups[0], mails, until)
    group_of = {group.mailbox.number: group for group in groups}
    delivered: dict[int, Delivered] = {}
    for number in dict.fromkeys(mail.mailbox for mail in mails):
        own = [mail for mail in mails if mail.mailbox == number]
        delivered.update((one[0].id, one) for one in _lease_in(plan, group_of[number], own, until))
    return [delivered[mail.id] for mail in mails]


def _lease_in(plan: Plan, group: Group, mails: list[Mail], until: int) -> list[Delivered]:
    leased_until, fence, secret, caller = wire_time(until), plan.state.seq + 1, plan.ask.secret, plan.caller
    number, address, known = group.number, group.mailbox.address, group.open
    ids: list[int] = []
    plan.events.append(
        Leased(
            at=plan.now,
            group=number,
            ids=ids,
            secret=secret,
            until=until,
            worker=caller.name,
            principal=caller.principal,
        )
    )
    messages = []
    for mail in mails:
        id = mail.id
        ids.append(id)
        before = known.get(id)
        delivery: dict[str, Any] = {
            "id": id,
            "mailbox": address,
            "session": mail.session or own_session(id),
            "attempt": before.attempts + 1 if before is not None else 1,
            "fence": fence,
            "lease": lease_token(number, id, secret),
            "leased_until": leased_until,
        }
        if mail.extra is not None and mail.extra.task is not None:
            describe(plan, group, mail, delivery)
        messages.append((mail, delivery))
    return messages


def _remaining(groups: list[Group], wish: Filter, taken: int) -> int:
    total = -taken
    for group in groups:
        total += group.line.remaining(wish, REMAINING_MAX + taken)
        if group.history is not None:
            total += group.history.count
    if total <= 0:
        return 0
    return total if total < REMAINING_MAX else REMAINING_MAX


def available(group: Group, wish: Filter, now: int) -> Iterator[Mail]:
    """What ``group`` may be given, in order; nothing beyond what its history has brought in."""
    mails = group.line.candidates(wish)
    if group.history is not None:
        mails = _brought_in(group, group.history.after, mails)
    return _unexpired(mails, now) if group.mailbox.expiries else mails


def _brought_in(group: Group, after: tuple[int, int, int], mails: Iterator[Mail]) -> Iterator[Mail]:
    key = group.history_key
    if group.mailbox.settings.ordered_by:
        return filter(lambda mail: key(mail) <= after, mails)
    return takewhile(lambda mail: key(mail) <= after, mails)


def _unexpired(mails: Iterator[Mail], now: int) -> Iterator[Mail]:
    return filter(lambda mail: mail.expires_at is None or mail.expires_at > now, mails)


def _merged(groups: list[Group], wish: Filter, now: int) -> Iterator[Mail]:
    return _merge([available(group, wish, now) for group in groups])


def _merge(lines: list[Iterator[Mail]]) -> Iterator[Mail]:
    """The best first of several lines; each line keeps its own order."""
    heads: list[tuple[int, int, int, int, Mail]] = []
    for index, mails in enumerate(lines):
        head = next(mails, None)
        if head is not None:
            heads.append((head.tier, head.visible_at, head.id, index, head))
    heapify(heads)
    while heads:
        index, mail = heads[0][3:]
        yield mail
        head = next(lines[index], None)
        if head is None:
            heappop(heads)
        else:
            heapreplace(heads, (head.tier, head.visible_at, head.id, index, head))
