"""Mailboxes: made, changed, listed, dropped; messages removed from them."""

from __future__ import annotations

from typing import Any

import msgspec

from mq9_mcp.domain.access import owns
from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.commands import (
    MailboxCreate,
    MailboxDelete,
    MailboxDrop,
    MailboxGet,
    MailboxList,
    MailboxUpdate,
    SettingsArguments,
)
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Deleted, MailboxDropped, MailboxUpdated, Settings
from mq9_mcp.domain.names import check_new_address, dead_letter_address
from mq9_mcp.domain.park import decide_delete_parked, hidden
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.state import Group, History, Mailbox


def settings_from(arguments: SettingsArguments | None, base: Settings) -> Settings:
    """``base`` with what ``arguments`` change."""
    if arguments is None:
        return base
    given = {
        name: value
        for name in SettingsArguments.__struct_fields__
        if (value := getattr(arguments, name)) is not None
    }
    retention = given.pop("retention", None)
    if retention is not None:
        given.update(retention_age_s=retention.age_s, retention_bytes=retention.bytes)
    return msgspec.structs.replace(base, **given)


def settings_view(mailbox_address: str, settings: Settings) -> dict[str, Any]:
    """Settings as the wire shows them: what is none (ttl_s, ordered_by) is left out."""
    view: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("max_attempts", "dead_letter_expired", "backoff_first_s", "backoff_max_s")
    }
    view["dead_letter"] = settings.dead_letter or dead_letter_address(mailbox_address)
    view["exactly_once"] = settings.exactly_once
    view["retention"] = {"age_s": settings.retention_age_s, "bytes": settings.retention_bytes}
    view.update(messages_max=settings.messages_max, bytes_max=settings.bytes_max)
    view["dedup_window_s"] = settings.dedup_window_s
    if settings.ttl_s:
        view["ttl_s"] = settings.ttl_s
    if settings.ordered_by:
        view["ordered_by"] = settings.ordered_by
    return view


def mailbox_view(mailbox: Mailbox) -> dict[str, Any]:
    """A mailbox as the wire shows it (contract, section 12)."""
    view: dict[str, Any] = {
        "address": mailbox.address,
        "owner": mailbox.owner,
        "created_at": wire_time(mailbox.created_at),
        "settings": settings_view(mailbox.address, mailbox.settings),
        "counts": {
            "unsettled": mailbox.unsettled + mailbox.history()[0],
            "unsettled_bytes": mailbox.unsettled_bytes + mailbox.history()[1],
            "delayed": len(mailbox.delayed_ids()),
            "settled": mailbox.settled,
            "settled_bytes": mailbox.settled_bytes,
            "groups": len(mailbox.groups),
        },
    }
    if mailbox.description:
        view["description"] = mailbox.description
    if mailbox.expires_at is not None:
        view["expires_at"] = wire_time(mailbox.expires_at)
    return view


def decide_create(plan: Plan, command: MailboxCreate) -> dict[str, Any]:
    """Make a mailbox, or renew an equal one; the reply is ``{mailbox, created}`` once applied."""
    address = command.address or f"box-{plan.ask.secret}"
    check_new_address(address)
    settings = _settings(address, command.settings, Settings())
    existing = plan.find(address)
    if existing is None:
        plan.create(address, plan.caller.principal, settings, description=command.description)
        return {"mailbox": address, "created": True}
    same = existing.settings == settings and command.description in (None, existing.description)
    if not owns(plan.caller, existing) or not same:
        what = "other settings" if owns(plan.caller, existing) else "another owner"
        raise Refused(
            "MAILBOX_EXISTS",
            f"address: {address!r} exists with {what}",
            "mailbox_update changes settings" if what == "other settings" else "choose another address",
            mailbox=address,
        )
    if settings.ttl_s:
        plan.events.append(
            MailboxUpdated(
                at=plan.now,
                mailbox=existing.number,
                settings=settings,
                description=existing.description,
                expires_at=plan.now + settings.ttl_s * 1000,
            )
        )
    return {"mailbox": address, "created": False}


def _settings(address: str, arguments: SettingsArguments | None, base: Settings) -> Settings:
    """Settings for the mailbox at ``address``: its default dead letter address counts as none given."""
    settings = settings_from(arguments, base)
    if settings.dead_letter == dead_letter_address(address):
        settings = msgspec.structs.replace(settings, dead_letter=None)
    _check_settings(address, settings)
    return settings


def _check_settings(address: str, settings: Settings) -> None:
    if settings.dead_letter == address:
        raise Refused(
            "INVALID_ARGUMENT",
            f"settings.dead_letter: {address!r} is the mailbox itself",
            "name another mailbox, or leave it out",
        )
    if settings.dead_letter is not None:
        check_new_address(settings.dead_letter)


def decide_update(plan: Plan, command: MailboxUpdate) -> dict[str, Any]:
    """Change settings or description; the reply is ``{mailbox}`` once applied."""
    mailbox = plan.mailbox(command.address)
    settings = _settings(mailbox.address, command.settings, mailbox.settings)
    unsettled = mailbox.unsettled + mailbox.history()[0]
    for name in ("ordered_by", "exactly_once"):
        if getattr(settings, name) != getattr(mailbox.settings, name) and unsettled:
            raise Refused(
                "INVALID_ARGUMENT",
                f"settings.{name}: cannot change while {unsettled} messages are unsettled",
                "settle or delete them first, or make a new mailbox",
            )
    expires_at = mailbox.expires_at
    if settings.ttl_s != mailbox.settings.ttl_s:
        expires_at = plan.now + settings.ttl_s * 1000 if settings.ttl_s else None
    plan.events.append(
        MailboxUpdated(
            at=plan.now,
            mailbox=mailbox.number,
            settings=settings,
            description=mailbox.description if command.description is None else command.description,
            expires_at=expires_at,
        )
    )
    return {"mailbox": mailbox.address}


def decide_get(plan: Plan, command: MailboxGet) -> dict[str, Any]:
    """One mailbox; the reply is ``{mailbox}``."""
    return {"mailbox": mailbox_view(plan.mailbox(command.address or plan.own_mailbox()))}


def decide_list(plan: Plan, command: MailboxList) -> dict[str, Any]:
    """The caller's mailboxes by address; the reply is ``{mailboxes, next_cursor?, remaining}``."""
    prefix, after = command.prefix or "", command.cursor or ""
    found = sorted(
        (mailbox for mailbox in plan.state.mailboxes.values() if owns(plan.caller, mailbox)),
        key=lambda mailbox: mailbox.address,
    )
    found = [one for one in found if one.address.startswith(prefix) and one.address > after]
    page = found[: command.limit]
    reply: dict[str, Any] = {
        "mailboxes": [mailbox_view(mailbox) for mailbox in page],
        "remaining": min(1000, len(found) - len(page)),
    }
    if len(found) > len(page):
        reply["next_cursor"] = page[-1].address
    return reply


def decide_drop(plan: Plan, command: MailboxDrop) -> dict[str, Any]:
    """End a mailbox with everything in it; the reply is ``{dropped}``."""
    mailbox = plan.mailbox(command.address)
    plan.events.append(MailboxDropped(at=plan.now, mailbox=mailbox.number, reason="dropped"))
    return {"dropped": mailbox.address}


def decide_delete(plan: Plan, command: MailboxDelete) -> dict[str, Any]:
    """Remove messages, all or none; the reply is ``{deleted}``, how many."""
    if hidden(command.mailbox, plan.caller):
        return decide_delete_parked(plan, command.ids)
    mailbox = plan.mailbox(command.mailbox or plan.own_mailbox())
    event = Deleted(at=plan.now, mailbox=mailbox.number, ids=list(dict.fromkeys(command.ids)))
    for id in event.ids:
        mail = plan.state.mails.get(id)
        if mail is not None and mail.mailbox == mailbox.number:
            continue
        settled = plan.paged.settled.get(id)
        if settled is None:
            raise Refused(
                "MESSAGE_NOT_FOUND",
                f"ids: there is no message {id} in {mailbox.address!r}; nothing was deleted",
                "mailbox_query lists the messages",
                id=id,
            )
        event.settled_count += 1
        event.settled_bytes += settled.size
    for group in mailbox.groups.values():
        if group.history is not None and event.settled_count:
            event.histories.append((group.number, *_read_again(plan, group, group.history, event.ids)))
    plan.events.append(event)
    return {"deleted": len(event.ids)}


def _read_again(plan: Plan, group: Group, history: History, ids: list[int]) -> tuple[int, int]:
    """Messages and bytes among settled ``ids`` that ``group`` has still to read again."""
    count = size = 0
    for id in ids:
        settled = plan.paged.settled.get(id)
        if settled is None or id in plan.state.mails or not settled.again:
            continue
        if settled.ended_seq > history.through:
            continue
        key = group.order_key(settled.tier, settled.visible_at, id)
        if key > history.after and (id >= group.start_id or settled.visible_at > group.start_at):
            count += 1
            size += settled.size
    return count, size
