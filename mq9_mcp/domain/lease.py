"""Fetching: every message goes out under a lease that is durable before it is handed out."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace
from typing import Any

from mq9_mcp.domain.clock import seconds, wire_time
from mq9_mcp.domain.commands import MailboxFetch
from mq9_mcp.domain.events import GroupSeen, Leased, Mail
from mq9_mcp.domain.filters import Filter, filter_of
from mq9_mcp.domain.group import fetched_addresses
from mq9_mcp.domain.limits import REMAINING_MAX, limit
from mq9_mcp.domain.names import lease_token
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Group

FETCH_BYTES_MAX = limit("fetch_bytes_max")
ENVELOPE_BYTES = 512  # what a delivery adds to a body: id, address, lease, times
_SEEN_EVERY = limit("group_idle_s") * 1000 // 100

Chosen = tuple[Group, Mail]


def decide_fetch(plan: Plan, command: MailboxFetch) -> dict[str, Any]:
    """Lease what fits to the caller; its groups exist by now.

    The reply is ``{messages, remaining, cancel_requested}``; a message is ``(mail, address, fields)``
    until its body joins it.
    """
    groups = [plan.mailbox(address).groups[command.group] for address in fetched_addresses(plan, command)]
    for group in groups:
        if plan.now - group.seen_at >= _SEEN_EVERY:
            plan.events.append(GroupSeen(at=plan.now, group=group.number))
    chosen, remaining = _choose(plan.now, groups, filter_of(command), command.max)
    until = plan.now + seconds(command.lease_s)
    if chosen:
        _lease(plan, chosen, until)
    leased_until = wire_time(until)
    messages = [
        (mail, group.mailbox.address, _delivery(plan, group, mail, leased_until)) for group, mail in chosen
    ]
    return {"messages": messages, "remaining": remaining, "cancel_requested": []}


def _lease(plan: Plan, chosen: list[Chosen], until: int) -> None:
    leases: dict[int, Leased] = {}
    for group, mail in chosen:
        event = leases.get(group.number)
        if event is None:
            event = leases[group.number] = Leased(
                at=plan.now,
                group=group.number,
                ids=[],
                secret=plan.ask.secret,
                until=until,
                worker=plan.caller.name,
                principal=plan.caller.principal,
            )
        event.ids.append(mail.id)
    plan.events.extend(leases.values())


def _delivery(plan: Plan, group: Group, mail: Mail, leased_until: str) -> dict[str, Any]:
    before = group.open.get(mail.id)
    return {
        "attempt": before.attempts + 1 if before else 1,
        "fence": plan.seq,
        "lease": lease_token(group.number, mail.id, plan.ask.secret),
        "leased_until": leased_until,
    }


def _choose(now: int, groups: list[Group], wish: Filter, most: int) -> tuple[list[Chosen], int]:
    """The best ``most`` messages of all groups within the reply's bytes, and how many remain."""
    chosen: list[Chosen] = []
    room = FETCH_BYTES_MAX
    left = 0
    mails = _merge([(group, available(group, wish, now)) for group in groups])
    for group, mail in mails:
        room -= mail.size + ENVELOPE_BYTES
        if len(chosen) == most or (room < 0 and chosen):
            left = 1
            break
        chosen.append((group, mail))
    if wish.everything:
        history = sum(group.history.count for group in groups if group.history)
        total = sum(group.line.remaining(wish, REMAINING_MAX + most) for group in groups) + history
        return chosen, max(left, min(REMAINING_MAX, total - len(chosen)))
    while left and left < REMAINING_MAX and next(mails, None):
        left += 1
    return chosen, left


def available(group: Group, wish: Filter, now: int) -> Iterator[Mail]:
    """What ``group`` may be given, in order; nothing beyond what its history has brought in."""
    history = group.history
    for mail in group.line.candidates(wish):
        if history is not None and group.history_key(mail) > history.after:
            if group.mailbox.settings.ordered_by:
                continue
            return
        if mail.expires_at is None or mail.expires_at > now:
            yield mail


def _merge(lines: list[tuple[Group, Iterator[Mail]]]) -> Iterator[Chosen]:
    """The best first of several lines; each line keeps its own order."""
    if len(lines) == 1:
        group, mails = lines[0]
        for mail in mails:
            yield group, mail
        return
    heads: list[tuple[int, int, int, int, Mail]] = []
    for index, (_, mails) in enumerate(lines):
        head = next(mails, None)
        if head is not None:
            heads.append((head.tier, head.visible_at, head.id, index, head))
    heapify(heads)
    while heads:
        index, mail = heads[0][3:]
        group, mails = lines[index]
        yield group, mail
        head = next(mails, None)
        if head is None:
            heappop(heads)
        else:
            heapreplace(heads, (head.tier, head.visible_at, head.id, index, head))
