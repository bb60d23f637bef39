"""Fetching: every message goes out under a lease that is durable before it is handed out."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace
from itertools import islice, repeat, takewhile
from typing import Any

from mq9_mcp.domain.clock import seconds, wire_time
from mq9_mcp.domain.commands import MailboxFetch
from mq9_mcp.domain.events import GroupSeen, Leased, Mail
from mq9_mcp.domain.filters import Filter, filter_of
from mq9_mcp.domain.group import fetched_addresses, read_start
from mq9_mcp.domain.limits import REMAINING_MAX, limit
from mq9_mcp.domain.names import lease_token
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Group

FETCH_BYTES_MAX = limit("fetch_bytes_max")
MESSAGE_BYTES_MAX = limit("message_bytes_max")
ENVELOPE_BYTES = 512  # what a delivery adds to a body: id, address, lease, times
_SEEN_EVERY = limit("group_idle_s") * 1000 // 100

Chosen = tuple[Group, Mail]


def joined(plan: Plan, command: MailboxFetch) -> list[Group] | None:
    """The groups that a fetch reads; None if one of them, or the agent's own mailbox, must be made first."""
    if command.deliver != "earliest":
        read_start(plan, command.deliver, "deliver")  # counts only for a new group, but is never nonsense
    groups = []
    for address in fetched_addresses(plan, command):
        if address == plan.caller.agent and plan.find(address) is None:
            return None
        group = plan.mailbox(address).groups.get(command.group)
        if group is None:
            return None
        groups.append(group)
    return groups


def decide_fetch(plan: Plan, command: MailboxFetch, groups: list[Group]) -> dict[str, Any]:
    """Lease what fits to the caller.

    The reply is ``{messages, remaining, cancel_requested}``; a message is ``(mail, address, fields)``
    until its body joins it.
    """
    for group in groups:
        if plan.now - group.seen_at >= _SEEN_EVERY:
            plan.events.append(GroupSeen(at=plan.now, group=group.number))
    chosen, remaining = _choose(plan.now, groups, filter_of(command), command.max)
    until = plan.now + seconds(command.lease_s)
    if chosen:
        _lease(plan, chosen, until)
    return {"messages": _deliveries(plan, chosen, until), "remaining": remaining, "cancel_requested": []}


def enough(reply: dict[str, Any], most: int) -> bool:
    """True if a reply is full by messages or bytes and knows of more: old mail need not be brought in yet."""
    room = FETCH_BYTES_MAX - sum(mail.size + ENVELOPE_BYTES for mail, _, _ in reply["messages"])
    full = len(reply["messages"]) == most or room < MESSAGE_BYTES_MAX + ENVELOPE_BYTES
    return full and bool(reply["remaining"])


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


def _deliveries(plan: Plan, chosen: list[Chosen], until: int) -> list[tuple[Mail, str, dict[str, Any]]]:
    leased_until, fence, secret = wire_time(until), plan.seq, plan.ask.secret
    messages = []
    for group, mail in chosen:
        before = group.open.get(mail.id)
        delivery: dict[str, Any] = {
            "attempt": before.attempts + 1 if before is not None else 1,
            "fence": fence,
            "lease": lease_token(group.number, mail.id, secret),
            "leased_until": leased_until,
        }
        messages.append((mail, group.mailbox.address, delivery))
    return messages


def _choose(now: int, groups: list[Group], wish: Filter, most: int) -> tuple[list[Chosen], int]:
    """The best ``most`` messages of all groups within the reply's bytes, and how many remain."""
    if len(groups) == 1:
        group = groups[0]
        mails: Iterator[Chosen] = zip(repeat(group), available(group, wish, now))
    else:
        mails = _merge([(group, available(group, wish, now)) for group in groups])
    chosen: list[Chosen] = []
    room = FETCH_BYTES_MAX
    left = 0
    for one in islice(mails, most):
        room -= one[1].size + ENVELOPE_BYTES
        if room < 0 and chosen:
            left = 1
            break
        chosen.append(one)
    if wish.everything:
        del mails  # an ordered line is whole again only when nobody walks along it
        return chosen, max(left, _remaining(groups, wish, len(chosen)))
    while left < REMAINING_MAX and next(mails, None):
        left += 1
    return chosen, left


def _remaining(groups: list[Group], wish: Filter, taken: int) -> int:
    total = -taken
    for group in groups:
        total += group.line.remaining(wish, REMAINING_MAX + taken)
        if group.history is not None:
            total += group.history.count
    return max(0, min(REMAINING_MAX, total))


def available(group: Group, wish: Filter, now: int) -> Iterator[Mail]:
    """What ``group`` may be given, in order; nothing beyond what its history has brought in."""
    mails = group.line.candidates(wish)
    history = group.history
    if history is not None:
        after, key = history.after, group.history_key
        if group.mailbox.settings.ordered_by:
            mails = filter(lambda mail: key(mail) <= after, mails)
        else:
            mails = takewhile(lambda mail: key(mail) <= after, mails)
    if group.mailbox.expiries:
        mails = filter(lambda mail: mail.expires_at is None or mail.expires_at > now, mails)
    return mails


def _merge(lines: list[tuple[Group, Iterator[Mail]]]) -> Iterator[Chosen]:
    """The best first of several lines; each line keeps its own order."""
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
