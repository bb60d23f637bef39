"""Messages as the wire shows them: what every copy shares from the journal or DuckDB, the rest joined."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import duckdb
import msgspec

from mq9_mcp.domain.clock import wire_time
from mq9_mcp.domain.events import Letter, Mail
from mq9_mcp.domain.lease import Delivered
from mq9_mcp.domain.names import own_session
from mq9_mcp.engine.embedded.folder_process import FolderProcess
from mq9_mcp.engine.embedded.journal import Journal
from mq9_mcp.engine.embedded.mails import extra_of, mail_of
from mq9_mcp.engine.embedded.tables import SQL

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Messages:
    """Reads bodies back; the journal's page cache is the cache."""

    def __init__(self, journal: Journal, folder: FolderProcess) -> None:
        self.journal = journal
        self.folder = folder

    def at_hand(self, messages: Sequence[Delivered]) -> tuple[list[dict[str, Any]], list[int]]:
        """The delivered messages, each with its body among its fields, and the ids of bodies that are not in
        the journal any more: their messages are empty so far."""
        read = self.journal.read
        found: list[dict[str, Any]] = []
        missing: list[int] = []
        for mail, fields in messages:
            body = read(mail.position, mail.size)
            if body is None:
                missing.append(mail.id)
                found.append({})
            else:
                found.append(join(mail, fields, body))
        return found, missing

    async def from_tables(
        self, messages: Sequence[Delivered], found: list[dict[str, Any]], ids: list[int]
    ) -> list[dict[str, Any]]:
        """``found`` with the missing bodies from DuckDB, which a copy of an old message enters later."""
        known = await self.folder.read(self.journal.durable_seq, partial(_bodies, ids=ids))
        return [
            message or join(mail, fields, known[mail.id])
            for message, (mail, fields) in zip(found, messages, strict=True)
            if message or mail.id in known  # what was deleted since it was leased is not handed out
        ]


def _bodies(con: duckdb.DuckDBPyConnection, ids: list[int]) -> dict[int, str]:
    return dict(con.execute(SQL["page_bodies"], [min(ids), max(ids), ids]).fetchall())


def wire_message(mail: Mail, address: str, body: bytes | str) -> dict[str, Any]:
    """One message: its id and address, and what its copies share."""
    session = mail.session or own_session(mail.id)
    return join(mail, {"id": mail.id, "mailbox": address, "session": session}, body)


def join(mail: Mail, message: dict[str, Any], body: bytes | str) -> dict[str, Any]:
    """``message``, which holds what is the message's own, with what its copies share."""
    message.update(_decode(body))
    if mail.extra is not None:
        if mail.extra.task is not None:
            message["task"] = mail.extra.task
        if mail.extra.letter is not None:
            message.pop("expires_at", None)
            message["dead_letter"] = letter_view(mail.extra.letter)
        elif mail.extra.only_group is not None:
            message.pop("expires_at", None)
    return message


def copy_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """A message from a row of ``page_copies``."""
    letter, only_group, body, address, task = row[9:]
    mail = mail_of(row, extra=extra_of(only_group=only_group, letter=letter, task=task))
    return wire_message(mail, address, body)


def letter_view(letter: Letter) -> dict[str, Any]:
    """Where a dead letter came from, as the wire shows it."""
    view: dict[str, Any] = {
        "id": letter.id,
        "source": letter.source,
        "group": letter.group,
        "reason": letter.reason,
        "attempts": letter.attempts,
    }
    if letter.description is not None:
        view["description"] = letter.description
    if letter.first_attempt_at is not None:
        view["first_attempt_at"] = wire_time(letter.first_attempt_at)
    if letter.last_attempt_at is not None:
        view["last_attempt_at"] = wire_time(letter.last_attempt_at)
    return view
