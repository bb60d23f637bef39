"""Groups: made by their first fetch, read settled mail again where they begin early, end when idle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mq9_mcp.domain.clock import read_time, wire_time
from mq9_mcp.domain.commands import (
    GroupDelete,
    GroupList,
    GroupReset,
    MailboxFetch,
)
from mq9_mcp.domain.delivery import DeliveryState
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import GroupEnded, GroupMade, Mail, Revived
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.log import TIER_RANGE
from mq9_mcp.domain.names import DEFAULT_GROUP
from mq9_mcp.domain.plan import HistoryPage, HistorySize, Plan
from mq9_mcp.domain.state import NEVER, Group, Mailbox

GROUPS_MAX = limit("groups_max")


def fetched_addresses(plan: Plan, command: MailboxFetch) -> list[str]:
    """The mailboxes that a fetch names, the caller's own if it names none."""
    if command.mailbox is None:
        return [plan.own_mailbox()]
    if isinstance(command.mailbox, str):
        return [command.mailbox]
    if len(set(command.mailbox)) < len(command.mailbox):
        raise Refused("INVALID_ARGUMENT", "mailbox: an address stands twice; accepted: each address once")
    return command.mailbox


def decide_join(plan: Plan, command: MailboxFetch) -> None:
    """Make what the first fetch makes: the agent's own mailbox, and the group in each mailbox."""
    addresses = fetched_addresses(plan, command)
    if plan.caller.agent in addresses:
        plan.ensure_own()
    for address in addresses:
        mailbox = plan.mailbox(address)
        if command.group not in mailbox.groups:
            _make_group(plan, mailbox, command.group, command.deliver, "deliver")


def _make_group(plan: Plan, mailbox: Mailbox, name: str, start: str | int, argument: str) -> None:
    """Plan a group; mail that it does not want and nobody else owes is settled by its making."""
    if name not in mailbox.groups and len(mailbox.groups) >= GROUPS_MAX:
        raise Refused(
            "INVALID_ARGUMENT",
            f"group: {mailbox.address!r} has {len(mailbox.groups)} groups; groups_max is {GROUPS_MAX}",
            "group_list shows them, group_delete ends one",
        )
    start_id, start_at = read_start(plan, start, argument)
    through, count, size = _history(plan, mailbox, start)
    event = GroupMade(
        at=plan.now,
        group=plan.new_group(),
        mailbox=mailbox.number,
        name=name,
        start_id=start_id,
        start_at=start_at,
        history_through=through,
        history_count=count,
        history_bytes=size,
    )
    others = [group for group in mailbox.groups.values() if group.name != name]
    over = {id for event in plan.events if isinstance(event, GroupEnded) for id in event.settled}
    event.settled = [
        mail.id
        for mail in left_out(event, mailbox)
        if mail.id not in over
        and not any(other.owes(mail) for other in others)
        and (name == DEFAULT_GROUP or not plan.state.awaits_default(mailbox, mail))
    ]
    plan.events.append(event)


def _history(plan: Plan, mailbox: Mailbox, start: str | int) -> tuple[int, int, int]:
    """``(through, count, bytes)`` of the settled mail to read again; it was counted a moment ago."""
    if not mailbox.settled or start == "latest":
        return 0, 0, 0
    nothing = (mailbox.settled, mailbox.settled_bytes)
    size = plan.paged.histories.get(mailbox.number, HistorySize(0, 0, nothing))
    count = size.count + mailbox.settled - size.settled[0]
    held = size.bytes + mailbox.settled_bytes - size.settled[1]
    return plan.seq - 1, max(0, count), max(0, held)


def wanted(start: GroupMade | Group, mail: Mail) -> bool:
    """True if the message lies after the place where the group begins, or was redriven to it."""
    if mail.extra is not None and mail.extra.only_group is not None:
        return mail.extra.only_group == start.name
    return mail.id >= start.start_id or mail.visible_at > start.start_at


def left_out(start: GroupMade | Group, mailbox: Mailbox) -> Iterator[Mail]:
    """Visible mail that a group which begins so does not want; no look at the logs if it wants them all."""
    if start.start_id > 0:
        for log in mailbox.logs.tiers:
            yield from (mail for mail in log.since(0) if not wanted(start, mail))
    for id in sorted(mailbox.outside):
        mail = mailbox.state.mails[id]
        if not wanted(start, mail):
            yield mail


def in_memory(mailbox: Mailbox) -> Iterator[Mail]:
    """All visible mail of a mailbox in memory: the logs, and what only some groups have in line."""
    for tier in TIER_RANGE:
        yield from mailbox.logs.tiers[tier].since(0)
    for id in sorted(mailbox.outside):
        yield mailbox.state.mails[id]


def read_start(plan: Plan, start: str | int, argument: str) -> tuple[int, int]:
    """``(start_id, start_at)``: a group owes mail with ``id >= start_id or visible_at > start_at``.

    Nobody begins in the future: whatever becomes visible once the group is there, it owes.
    """
    if start == "earliest":
        return 0, 0
    if start == "latest":
        return plan.state.next_message, plan.now
    if isinstance(start, int):
        return min(start, plan.state.next_message), plan.now
    if not start[:1].isdigit():
        raise Refused(
            "INVALID_ARGUMENT",
            f"{argument}: {start[:64]!r}; accepted: 'earliest', 'latest', a message id or a time",
        )
    at = read_time(start, argument)
    return (NEVER, at - 1) if at <= plan.now else (plan.state.next_message, plan.now)


def decide_revive(plan: Plan, group: Group, page: HistoryPage) -> None:
    """Bring the next page of a group's history into its line."""
    plan.events.append(Revived(at=plan.now, group=group.number, mails=page.mails, through=page.through))


def decide_group_list(plan: Plan, command: GroupList) -> dict[str, Any]:
    """The groups of a mailbox; the reply is ``{groups}``."""
    mailbox = plan.mailbox(command.mailbox or plan.own_mailbox())
    return {"groups": [group_view(group) for group in mailbox.groups.values()]}


def group_view(group: Group) -> dict[str, Any]:
    """A group as the wire shows it."""
    history = group.history.count if group.history else 0
    return {
        "name": group.name,
        "mailbox": group.mailbox.address,
        "fetched_at": wire_time(group.fetched_at),
        "waiting": group.line.waiting_count() + history,
        "leased": group.leased,
        "backoff": sum(one.state is DeliveryState.BACKOFF for one in group.open.values()),
    }


def _existing(plan: Plan, address: str | None, name: str) -> Group:
    mailbox = plan.mailbox(address or plan.own_mailbox())
    group = mailbox.groups.get(name)
    if group is None:
        known = ", ".join(sorted(mailbox.groups)[:8]) or "none yet"
        raise Refused(
            "INVALID_ARGUMENT",
            f"group: {mailbox.address!r} has no group {name!r}; accepted: its groups ({known})",
            "a group is made by its first mailbox_fetch",
        )
    return group


def decide_group_reset(plan: Plan, command: GroupReset) -> dict[str, Any]:
    """Begin the group again at another place; the reply is ``{group}``, as ``group_list`` shows it."""
    group = _existing(plan, command.mailbox, command.group)
    _end(plan, group, "reset")
    _make_group(plan, group.mailbox, group.name, command.to, "to")
    return {"group": {"name": group.name, "mailbox": group.mailbox.address}}


def decide_group_delete(plan: Plan, command: GroupDelete) -> dict[str, Any]:
    """End the group; the reply is ``{deleted: name}``."""
    group = _existing(plan, command.mailbox, command.group)
    _end(plan, group, "deleted")
    return {"deleted": group.name}


def decide_idle(plan: Plan, mailbox: Mailbox) -> None:
    """End the groups that nobody fetched from for ``group_idle_s``; ``default`` stays."""
    for group in list(mailbox.groups.values()):
        if group.idle_at() <= plan.now:
            _end(plan, group, "idle")


def _end(plan: Plan, group: Group, reason: str) -> None:
    """The group lets go of everything; what nobody else owes is settled.

    The mail of a mailbox's last group, or of one that begins again, waits for the group that comes next,
    but for mail that is expired or withdrawn already.
    """
    mailbox = group.mailbox
    ended = {event.group for event in plan.events if isinstance(event, GroupEnded)}
    others = [one for one in mailbox.groups.values() if one is not group and one.number not in ended]
    stays = reason == "reset" or not others
    settled = [
        mail.id
        for mail in (in_memory(mailbox) if not stays else _ending(mailbox))
        if group.owes(mail)
        and not any(other.owes(mail) for other in others)
        and not plan.state.awaits_default(mailbox, mail, without=group)
    ]
    plan.events.append(GroupEnded(at=plan.now, group=group.number, reason=reason, settled=settled))


def _ending(mailbox: Mailbox) -> list[Mail]:
    return [mailbox.state.mails[id] for id in mailbox.ending]
