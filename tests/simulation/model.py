"""What a broker must answer, said as plainly as possible: lists, looked through anew for every question.

Written from the contract alone; a house rule forbids it to import anything of the product. It is slow,
keeps everything, and has no journal, index or cache. Where the contract leaves the broker a freedom, a
comment that begins with "Freedom" names the choice that both make, or what is not compared.
"""

from __future__ import annotations

from typing import Any

from tests.simulation.parking import PARKED, Parking
from tests.simulation.passing import BROKER, NEVER
from tests.simulation.sending import millis
from tests.simulation.sessions import Refusal, Who
from tests.simulation.shelf import (
    DEFAULTS,
    FINAL,
    TIERS,
    Box,
    Group,
    Mail,
    Place,
    Shape,
    box_view,
    delivery_view,
    group_view,
    iso,
    mail_view,
)
from tests.simulation.threads import GOES_ON

LEASES_MAX = 400  # callers of the simulation remember fewer
Pair = tuple[Box, Group]


class Model(Parking):
    """All commands. ``execute`` answers or refuses; ``adopt`` takes over what only an engine can know."""

    def execute(self, who: Who, name: str, asked: Shape, now: int, chance: float) -> Shape:
        """The reply to a command, or ``Refusal``: then nothing has changed."""
        self.pass_time(now)
        self.by = who[1]
        self._answer_to_life(who)
        before = self.save() if name in ("mailbox_send", "mailbox_ack") else b""
        try:
            reply: Shape = getattr(self, f"_{name}")(who, asked, chance)
            self._record(*self.boxes.values())
        except Refusal:
            if before:
                self.load(before)
            raise
        finally:
            self.by = BROKER
        return reply

    def adopt(self, told: list[Shape], seen: list[Shape]) -> None:
        """Freedom: tokens are opaque, and a fence is any number that rises with each lease of the message."""
        fetch = self._number("fetch")
        for mine, its in zip(told, seen, strict=True):
            self.fetched[its["lease"]] = fetch
            address, id, number = self.leases.pop(mine["lease"])
            place = self.boxes[address].mails[id].places[number]
            assert its["fence"] > place.fence, f"message {id}: fence {its['fence']} after {place.fence}"
            place.fence, place.token = its["fence"], its["lease"]
            self.leases[place.token] = (address, id, number)
        for known in (self.leases, self.fetched):
            while len(known) > LEASES_MAX:
                del known[next(iter(known))]

    # -- fetching

    def _mailbox_fetch(self, who: Who, asked: Shape, __: float) -> Shape:
        named = asked.get("mailbox", who[1])
        addresses = [named] if isinstance(named, str) else named
        for address in addresses:
            if address != who[1] or address in self.boxes:
                self._own(who, address)
        if who[1] in addresses:
            self._ensure_own(who)
        name, boxes = asked.get("group", "default"), [self.boxes[address] for address in addresses]
        new = [box for box in boxes if name not in box.groups]
        for box in new:
            self._make_group(box, name, self._start(asked.get("deliver", "earliest")))
        if new:
            self._record(*new)
        pairs = [(box, box.groups[name]) for box in boxes]
        self._read_again(pairs)
        chosen, left = self._choose(pairs, asked)
        for _, group in pairs:
            group.fetched_at, group.fuzzy = self.now, False
        news = self.all_news(who)
        messages = [self._lease(who, box, group, mail, asked) for box, group, mail in chosen]
        return {"messages": messages, "remaining": left, **news}

    def _start(self, start: str | int) -> tuple[int, int]:
        """A group owes what has an id from the first number on, or became visible after the second."""
        if start == "earliest":
            return 0, 0
        if isinstance(start, int):
            return min(start, self.next["mail"]), self.now
        at = NEVER if start == "latest" else millis(start)
        return (self.next["mail"], self.now) if at > self.now else (NEVER, at - 1)

    def _read_again(self, pairs: list[Pair]) -> None:
        """Freedom: settled mail that a group begins before counts at once, and is back at its next fetch."""
        back = [(box, id) for box, group in pairs for id in group.again]
        for box, id in back:
            box.mails[id].ended_at = None
            for group in box.groups.values():
                if id in group.again:
                    group.again.remove(id)
                    box.mails[id].places[group.number] = Place()
        if back:
            self._record()
            self.pass_time(self.now)  # what expired meanwhile is not delivered

    def _line(self, box: Box, group: Group, asked: Shape) -> list[Mail]:
        """What waits for a group and fits, best first."""
        lowest = TIERS.index(asked.get("priority_min", "normal"))
        owed = [(mail, place.standing(self.now)) for one, mail, place in box.owed() if one is group]
        if "ordered_by" not in box.settings:
            waiting = [mail for mail, state in owed if state == "waiting"]
            return sorted([m for m in waiting if m.tier <= lowest and m.fits(asked)], key=lambda m: m.line)
        runs = []
        for session in {mail.session for mail, _ in owed}:
            mails = [(mail, state) for mail, state in owed if mail.session == session]
            if all(state == "waiting" for _, state in mails):
                unfit = [i for i, (m, _) in enumerate(mails) if m.tier > lowest or not m.fits(asked)]
                end = min(unfit, default=len(mails))  # what follows must not overtake it
                runs.append((mails[0][0].line, [mail for mail, _ in mails[:end]]))
        return [mail for _, run in sorted(runs, key=lambda one: one[0]) for mail in run]

    def _choose(self, pairs: list[Pair], asked: Shape) -> tuple[list[tuple[Box, Group, Mail]], int]:
        """The best of several lines, each in its own order, and how many more there are."""
        whole = [self._line(box, group, asked) for box, group in pairs]
        lines = [[mail for mail in line if (mail.expires or NEVER) > self.now] for line in whole]
        chosen: list[tuple[Box, Group, Mail]] = []
        while any(lines) and len(chosen) < asked.get("max", 10):
            best = min((line[0].line, index) for index, line in enumerate(lines) if line)[1]
            chosen.append((*pairs[best], lines[best].pop(0)))
        left = sum(map(len, lines))
        if not any(asked.get(name) for name in ("tags_any", "tags_all", "tags_none", "session")):
            left = sum(map(len, whole)) - len(chosen)
        return chosen, min(1000, left)

    def _lease(self, who: Who, box: Box, group: Group, mail: Mail, asked: Shape) -> Shape:
        place, token = mail.places[group.number], f"?{self._number('lease')}"
        self.leases[token] = (box.address, mail.id, group.number)
        place.state, place.token, place.lapsed = "leased", token, False
        place.until = self.now + round(asked.get("lease_s", 300) * 1000)
        place.worker, place.principal = who[1], who[0]
        place.first_at, place.last_at = place.first_at or self.now, self.now
        view = {"attempt": place.attempts + 1, "lease": token, "leased_until": iso(place.until)}
        if group.name == "default":
            self.note("leased", box, group, mail, who[1])
            view |= self.work_view(mail)
        return mail_view(box, mail) | view

    # -- settling

    def _mailbox_ack(self, who: Who, asked: Shape, chance: float) -> Shape:
        together = "send" in asked or "tasks" in asked
        sends = asked.get("send", [])
        replied = {one.get("in_reply_to", 0) for one in ([sends] if isinstance(sends, dict) else sends)}
        ends = {one["lease"] for one in asked.get("tasks", ()) if one.get("state") not in GOES_ON}
        verdicts = [self._verdict(who, item) for item in asked["items"]]  # on what was before the call
        done: dict[str, str] = {}
        results = []
        for item, verdict in zip(asked["items"], verdicts, strict=True):
            result = {"id": self.leases[item["lease"]][1]} if item["lease"] in self.leases else {}
            result |= {"outcome": item["outcome"], "ok": True}
            code = verdict if isinstance(verdict, str) else None
            if verdict is None and item["lease"] in done:
                code = None if done[item["lease"]] == item["outcome"] else "LEASE_LOST"
            elif verdict is None:
                code = self._ack_of_work(item, replied, ends)
                if code is None:
                    code = self._settle(item, result, together, chance)
                    self.settled(item, result)
                    done |= {item["lease"]: item["outcome"]} if code is None or not together else {}
            if code and together:
                raise Refusal(code)
            results.append(result | ({"ok": False, "error": {"code": code}} if code else {}))
        reply: Shape = {"results": self.with_news(results)}
        repeated = [verdict[0] for verdict in verdicts if isinstance(verdict, list)]
        if "send" in asked:
            reply["receipts"] = self._send_along(who, asked["send"], done, repeated)
        return reply | self.updates(who, asked, done, bool(repeated))

    def _verdict(self, who: Who, item: Shape) -> list[Any] | str | None:
        """None: the lease stands. A list: it ended so before, with these receipts. Else the code."""
        address, id, number = self.leases.get(item["lease"], ("", 0, 0))
        box = self.boxes.get(address)
        place = box.mails[id].places.get(number) if box and id in box.mails else None
        if box is None or place is None or place.principal != who[0]:
            return "LEASE_LOST"
        current = place.token == item["lease"]
        if place.state in FINAL:
            return [place.receipts] if current and place.outcome == item["outcome"] else "LEASE_LOST"
        if current and place.state == "leased":
            return None
        outcome, receipts = place.past.get(item["lease"], ("", None))
        if outcome == item["outcome"]:
            return [receipts]
        return None if current and place.lapsed and not box.settings["exactly_once"] else "LEASE_LOST"

    def _settle(self, item: Shape, result: Shape, together: bool, chance: float) -> str | None:
        """Settle one lease that stands; the code if that cannot be."""
        address, id, number = self.leases[item["lease"]]
        box = self.boxes[address]
        mail, group = box.mails[id], next(one for one in box.groups.values() if one.number == number)
        place, outcome = mail.places[number], item["outcome"]
        if outcome == "ack":
            place.state, place.outcome = "acked", outcome
        elif outcome == "extend":
            place.until = self.now + round((item.get("lease_s") or 300) * 1000)
            place.state, place.lapsed = "leased", False
            result["leased_until"] = iso(place.until)
        elif outcome == "reject":
            reason, attempts = item.get("reason") or "rejected", place.attempts + (not place.lapsed)
            extra = {"description": item.get("description"), "outcome": outcome}
            if full := self._die(box, group, mail, reason, attempts, **extra):
                if together:
                    return full
                if mail.ending:
                    self._close(box, group, mail, place, outcome)
                    return None
                result["outcome"] = "nack"  # the message stays at its source in backoff
                self._back_off(place, self._patience(box))
                return full
        elif mail.ending:
            self._close(box, group, mail, place, outcome)
        elif outcome == "release":
            self._forget_lease(place, "release")
            place.state = "waiting"
        else:
            self._nack(box, group, mail, place, item, chance)
        return None

    def _send_along(
        self, who: Who, send: Shape | list[Shape], done: dict[str, str], repeated: list[Any]
    ) -> list[Shape]:
        stored = next(filter(None, repeated), None)
        fresh = [token for token, outcome in done.items() if outcome != "extend"]
        if not fresh and (stored or not done):
            if stored is None:
                raise Refusal("LEASE_LOST")
            return list(stored)
        receipts = self._send(who, send if isinstance(send, list) else [send])
        for token in fresh:
            address, id, number = self.leases[token]
            place = self.boxes[address].mails[id].places[number]
            if place.state in FINAL:
                place.receipts = receipts
            else:
                place.past[token] = (place.past[token][0], receipts)
        return receipts

    # -- looking, and what operators do

    def _mailbox_query(self, who: Who, asked: Shape, _: float) -> Shape:
        if asked.get("mailbox") == PARKED and who[0] != "mq9":
            own = self._own_waits(who)
            if not own:
                return {"messages": [], "remaining": 0}
            box = self.boxes[PARKED]
            mails = [mail for mail in own.values() if mail.id in asked.get("ids", own)]
        else:
            box = self._own(who, asked.get("mailbox"))
            mails = list(box.mails.values())
        found = [mail for mail in mails if mail.fits(asked)]
        if "priority" in asked:
            found = [mail for mail in found if TIERS[mail.tier] == asked["priority"]]
        if "state" in asked:
            name = asked.get("group", "default")
            group = box.groups.get(name) or Group(0, name, (0, 0), 0)
            seen = [(mail, delivery_view(group, mail, self.now)) for mail in found]
            found = [mail for mail, view in seen if view and view["state"] == asked["state"]]
        if asked.get("order") == "desc":
            found.reverse()
        if "cursor" in asked:
            ids, last = [mail.id for mail in found], int(asked["cursor"])
            found = found[ids.index(last) + 1 :]
        page = found[: asked.get("limit", 20)]
        reply: Shape = {"messages": [], "remaining": min(1000, len(found) - len(page))}
        for mail in page:
            views = [delivery_view(group, mail, self.now) for group in box.groups.values()]
            reply["messages"].append(mail_view(box, mail) | {"deliveries": [view for view in views if view]})
        return reply | ({"next_cursor": str(page[-1].id)} if reply["remaining"] else {})

    def _mailbox_delete(self, who: Who, asked: Shape, _: float) -> Shape:
        if asked.get("mailbox") == PARKED and who[0] != "mq9":
            return self.take_back(who, asked["ids"])
        box = self._own(who, asked.get("mailbox"))
        ids = dict.fromkeys(asked["ids"])
        if not box.mails.keys() >= ids.keys():
            raise Refusal("MESSAGE_NOT_FOUND")
        for id in ids:
            self.note("deleted", box, None, box.mails[id])
        self.forget(box, list(ids))
        return {"deleted": len(ids)}

    def forget(self, box: Box, ids: list[int]) -> None:
        """Messages leave without a trace: deleted, redriven, or removed by retention."""
        for id in ids:
            del box.mails[id]
            for group in box.groups.values():
                group.again = [one for one in group.again if one != id]

    def _mailbox_redrive(self, who: Who, asked: Shape, _: float) -> Shape:
        dead = self._own(who, asked["mailbox"])
        letters = [mail for mail in dead.live() if mail.letter is not None and mail.shown]
        held = {mail.id for _, mail, place in dead.owed() if place.state == "leased"}
        if "ids" in asked:
            known = {mail.id: mail for mail in letters}
            for id in asked["ids"]:
                if id not in known or id in held:
                    raise Refusal("LEASE_LOST" if id in known else "MESSAGE_NOT_FOUND")
            letters = [known[id] for id in dict.fromkeys(asked["ids"])]
        letters = [mail for mail in letters if mail.id not in held]
        limit = asked.get("limit", 100)
        reply: Shape = {"redriven": [], "skipped": [], "remaining": max(0, len(letters) - limit)}
        gone: list[int] = []
        for mail in letters[:limit]:
            assert mail.letter is not None
            address, name = mail.letter["source"], mail.letter["group"]
            box = self.boxes.get(address)
            code = "MAILBOX_NOT_FOUND" if box is None or box.owner != who[0] else None
            if box is not None and code is None:
                code = self._full(box) if name in box.groups else "INVALID_ARGUMENT"
            if box is None or code:
                reply["skipped"].append({"id": mail.id, "error": {"code": code}})
                continue
            at = self.now + int(1000 / asked["rate"] * len(gone) if "rate" in asked else 0)
            copy = self._copy(mail, box, at, only=name)
            gone.append(mail.id)
            reply["redriven"].append({"letter": mail.id, "id": copy.id, "mailbox": address})
        self.forget(dead, gone)
        return reply

    def _group(self, box: Box, name: str) -> Group:
        if name not in box.groups:
            raise Refusal("INVALID_ARGUMENT")
        return box.groups[name]

    def _group_reset(self, who: Who, asked: Shape, _: float) -> Shape:
        box = self._own(who, asked.get("mailbox"))
        self._end_group(box, self._group(box, asked["group"]), "reset")
        self._make_group(box, asked["group"], self._start(asked["to"]))
        self._record(box)
        return {"group": group_view(box, box.groups[asked["group"]], self.now)}

    def _group_delete(self, who: Who, asked: Shape, _: float) -> Shape:
        box = self._own(who, asked.get("mailbox"))
        self._end_group(box, self._group(box, asked["group"]), "deleted")
        return {"deleted": asked["group"]}

    def _group_list(self, who: Who, asked: Shape, _: float) -> Shape:
        box = self._own(who, asked.get("mailbox"))
        return {"groups": [group_view(box, group, self.now) for group in box.groups.values()]}

    def _mailbox_create(self, who: Who, asked: Shape, _: float) -> Shape:
        address, given = asked["address"], asked.get("settings", {})
        box = self.boxes.get(address)
        if box is not None:
            expected = {**DEFAULTS, "dead_letter": f"{address}.dead", **given}
            if box.owner != who[0] or box.settings != expected:
                raise Refusal("MAILBOX_EXISTS")
            box.expires = self.now + given["ttl_s"] * 1000 if given.get("ttl_s") else None
        shown = box or self._make_box(address, who[0], given)
        return {"mailbox": box_view(shown), "created": box is None}

    def _mailbox_update(self, who: Who, asked: Shape, _: float) -> Shape:
        box, given = self._own(who, asked["address"]), asked.get("settings", {})
        once, window = box.settings["exactly_once"], box.settings["dedup_window_s"] * 1000
        box.keys = {name: key for name, key in box.keys.items() if once or self.now - key[1] < window}
        ttl = given.get("ttl_s")
        if ttl is not None and ttl != box.settings.get("ttl_s", 0):
            box.expires = self.now + ttl * 1000 if ttl else None
        box.settings |= given
        if not box.settings["dead_letter_expired"]:
            box.closed_till = 0
        if not box.settings.get("ttl_s"):
            box.settings.pop("ttl_s", None)
        return {"mailbox": box_view(box)}

    def _mailbox_get(self, who: Who, asked: Shape, _: float) -> Shape:
        return {"mailbox": box_view(self._own(who, asked.get("address")))}

    def _mailbox_list(self, who: Who, _: Shape, __: float) -> Shape:
        boxes = [box for _, box in sorted(self.boxes.items()) if box.owner == who[0]]
        return {"mailboxes": [box_view(box) for box in boxes], "remaining": 0}

    def _mailbox_drop(self, who: Who, asked: Shape, _: float) -> Shape:
        self.note("dropped", self.boxes.pop(self._own(who, asked["address"]).address))
        return {"dropped": asked["address"]}
