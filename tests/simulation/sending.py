"""How mail gets into the mailboxes of the model: who may send where, dedup keys, quotas, times."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import Any

from tests.simulation.sessions import Ground, Refusal, Who
from tests.simulation.shelf import TIERS, Box, Mail, Shape, iso
from tests.simulation.tasks import Task
from tests.simulation.threads import Threading

Key = tuple[int, int, Any, str, str | None, bool]  # the last: the first receipt said that it was parked


def millis(text: str) -> int:
    """A wire time in milliseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class Sending(Threading):
    """Mailboxes that take mail."""

    def _own(self, who: Who, address: str | None) -> Box:
        box = self.boxes.get(address or who[1])
        if box is None or box.owner != who[0]:
            raise Refusal("FORBIDDEN" if box is not None and box.agent else "MAILBOX_NOT_FOUND")
        return box

    def _ensure_own(self, who: Who) -> None:
        if who[1] not in self.boxes:
            self._make_box(who[1], who[0], {}, agent=True)

    # -- sending

    def _mailbox_send(self, who: Who, asked: Shape, _: float) -> Shape:
        return {"receipts": self._send(who, asked.get("messages", [asked]))}

    def _send(self, who: Who, messages: list[Shape]) -> list[Shape]:
        self._ensure_own(who)
        return [receipt for message in messages for receipt in self._send_one(who, message)]

    def _send_one(self, who: Who, asked: Shape) -> list[Shape]:
        parts = asked.get("parts") or [{"text": asked["text"]}]
        by_intent = "intent" in asked
        if by_intent:
            found = self.routed(who, asked, parts)
            if isinstance(found, list):
                return found
            asked = found
        answered = self._answered(who, asked) if "in_reply_to" in asked else None
        thread = self.thread_of(who, asked, answered, self._held(who, answered))
        session = asked.get("session")
        session = session or (answered.session if answered else thread.session if thread else None)
        targets = [self.boxes[asked["to"]]] if by_intent else self._targets(who, asked, answered)
        known = [self._known(box, asked, parts) for box in targets]
        if None in known:
            at, expires = self._times(asked)
            body = self.in_thread(thread, asked, self._body(who, asked, parts, at, expires), targets)
        receipts = []
        for box, key in zip(targets, known, strict=True):
            if key is None:
                if at <= self.now and "state_key" in asked and "wish" not in asked:
                    self._replace(box, asked["state_key"])
                if full := self._full(box):
                    raise Refusal(full)
                if session:
                    self.take_turn(who, session, self._ground(answered, thread), box)
                id, tier = self._number("mail"), TIERS.index(body["priority"])
                mail = Mail(id, tier, at, expires, session or f"mq9.{id}", body["tags"], body)
                mail.wish = asked.get("wish")
                mail.key = asked.get("state_key") if mail.wish is None else None
                box.mails[id] = mail
                if at <= self.now:
                    self._show(box, mail)
                self.join(who, thread, asked, box, mail, answered)
            stored = key or (id, self.now, parts, mail.session, mail.task, mail.wish is not None)
            if key is None and "dedup_key" in asked:
                for one in [box, self.boxes["mq9.parked"]] if by_intent else [box]:
                    one.keys[asked["dedup_key"]] = stored
            receipts.append(self._receipt(box.address, stored, key is not None))
        return receipts

    def _receipt(self, address: str, key: Key, duplicate: bool) -> Shape:
        receipt = {"id": key[0], "mailbox": address, "stored_at": iso(key[1])}
        receipt |= {"duplicate": duplicate, "session": key[3]}
        return receipt | ({"task": key[4]} if key[4] else {})

    @abstractmethod
    def routed(self, who: Who, asked: Shape, parts: list[Shape]) -> list[Shape] | Shape:
        """What becomes of a message that names no address."""

    def _find(self, id: int) -> tuple[Box, Mail] | None:
        return next(((box, box.mails[id]) for box in self.boxes.values() if id in box.mails), None)

    def _ground(self, answered: Mail | None, thread: Task | None) -> Ground | None:
        """The message by which the sender belongs to a session."""
        if thread is not None:
            return self.ground_of(thread)
        found = self._find(answered.id) if answered is not None else None
        return (found[1].session, found[0].number, found[1].body["from"]) if found is not None else None

    def _answered(self, who: Who, asked: Shape) -> Mail | None:
        found = self._find(asked["in_reply_to"])
        if found and (found[0].owner == who[0] or found[1].body["from"] == who[1]):
            return found[1]
        if "to" in asked and asked["in_reply_to"] < self.next["mail"]:
            return None
        raise Refusal("MESSAGE_NOT_FOUND")

    def _held(self, who: Who, answered: Mail | None) -> bool:
        """True if the message lies in a mailbox of the caller."""
        found = self._find(answered.id) if answered is not None else None
        return found is not None and found[0].owner == who[0]

    def _targets(self, who: Who, asked: Shape, answered: Mail | None) -> list[Box]:
        if "to" not in asked and answered is None:
            return [self.where_worked(asked["task"])]
        back = [answered.body.get("reply_to") or "", answered.body["from"]] if answered else []
        to = asked.get("to") or (back[0] or back[1])
        found = []
        for address in [to] if isinstance(to, str) else to:
            box = self.boxes.get(address)
            if box is None or not (box.agent or box.owner == who[0] or address in back):
                raise Refusal("MAILBOX_NOT_FOUND")
            found.append(box)
        return found

    def _known(self, box: Box, asked: Shape, parts: list[Shape]) -> Key | None:
        """The first send under the same dedup_key, while that counts."""
        once = box.settings["exactly_once"]
        if "dedup_key" not in asked:
            if once:
                raise Refusal("INVALID_ARGUMENT")
            return None
        known = box.keys.get(asked["dedup_key"])
        if known is None or not (once or self.now - known[1] < box.settings["dedup_window_s"] * 1000):
            return None
        if known[2] != parts:
            raise Refusal("DEDUP_CONFLICT")
        return known

    def _times(self, asked: Shape) -> tuple[int, int | None]:
        at = self.now + round(asked.get("delay_s", 0) * 1000)
        if "deliver_at" in asked:
            at = max(self.now, millis(asked["deliver_at"]))
        expires = at + max(1, round(asked["ttl_s"] * 1000)) if "ttl_s" in asked else None
        if "expires_at" in asked:
            expires = millis(asked["expires_at"])
            if expires <= at:
                raise Refusal("INVALID_ARGUMENT")
        return at, expires

    def _body(self, who: Who, asked: Shape, parts: list[Shape], at: int, expires: int | None) -> Shape:
        body = {"from": who[1], "verified": False, "created_at": iso(self.now), "parts": parts}
        body |= {"priority": asked.get("priority", "normal"), "tags": asked.get("tags", [])}
        body |= {"deliver_at": iso(at)} if at > self.now else {}
        body |= {"expires_at": iso(expires)} if expires is not None else {}
        if "skill" in asked.get("intent", {}):  # the agent is told, by its one word of metadata
            body["metadata"] = {"mq9.skill": asked["intent"]["skill"]}
        names = ("dedup_key", "state_key", "in_reply_to", "reply_to")
        return body | {name: asked[name] for name in names if name in asked}
