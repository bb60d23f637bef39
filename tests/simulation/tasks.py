"""Tasks of the model: how they stand, and what becomes of them when something happens to their messages.

Written from the contract alone, like all of the model. While a change is made, the other rooms note what
they do to messages; when it is over, every task is told, in that order. Words that the broker makes up
itself, such as why it ended a task, are its own and not compared.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation.passing import BROKER, NEVER, Note
from tests.simulation.sessions import Ground, Talk, Talking, Who
from tests.simulation.shelf import TIERS, Box, Mail, Place, Shape, iso

WORDS = "?words"  # of the broker's own
RETENTION_MS = 604_800_000
WAITING = ("input-required", "auth-required")
OVER = ("completed", "failed", "canceled", "rejected")


@dataclass(slots=True)
class Task:
    """One task. ``name`` is the model's own; what the broker calls it is found out."""

    name: str
    first: int
    box: int
    address: str
    owner: str
    asker: str
    principal: str
    created: int
    tier: int
    session: str
    reply_to: str | None
    timeout_at: int | None
    work: int | None
    state: str = "submitted"
    updated: int = 0
    ended: int | None = None
    worker: str | None = None
    cancel: bool = False
    follow_ups: list[int] = field(default_factory=list)  # not yet part of a checkpoint
    told: int = 0
    progress: Shape | None = None
    status: Shape | None = None
    question: Shape | None = None
    checkpoint: Any = None
    pieces: list[Shape] = field(default_factory=list)
    history: list[Shape] = field(default_factory=list)
    after: list[int] = field(default_factory=list)  # of each entry, the newest message by then
    settled_by: int = 0  # number of the fetch that brought the lease
    settled_as: str = ""

    @property
    def over(self) -> bool:
        """True in a terminal state."""
        return self.state in OVER

    def times(self) -> set[int]:
        """When time changes something about it."""
        return {self.ended + RETENTION_MS} if self.ended is not None else {self.timeout_at or 0}

    def view(self) -> Shape:
        """The task without its history."""
        view: Shape = {"id": self.name, "state": self.state, "session": self.session}
        view |= {"mailbox": self.address, "asker": self.asker, "artifacts": self.artifacts()}
        view |= {"created_at": iso(self.created), "updated_at": iso(self.updated)}
        view |= {"version": len(self.history), "cancel_requested": self.cancel}
        more = {"worker": self.worker, "progress": self.progress, "status_message": self.status}
        return view | {name: value for name, value in more.items() if value is not None}

    def artifacts(self) -> list[Shape]:
        """What the pieces make, each artifact where it began."""
        made: dict[str, Shape] = {}
        for piece in self.pieces:
            one = {name: value for name, value in piece.items() if name != "append"}
            before = made.get(one["artifact_id"])
            if before is not None and piece.get("append"):
                one = before | one | {"parts": before["parts"] + one["parts"]}
            made[one["artifact_id"]] = one
        return list(made.values())


def _rank(note: Note) -> int:
    """Freedom: of what ends in one change, dead letters come first, and what somebody holds is last."""
    if note.what != "superseded" or note.mail is None:
        return 0
    return 1 + any(place.state == "leased" for place in note.mail.places.values())


def _expired(note: Note) -> bool:
    return note.mail is not None and note.mail.ending == "expired"


def _of_default(note: Note) -> bool:
    return note.group is None or note.group.name == "default"


class Working(Talking):
    """Mailboxes whose messages may be work."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Task] = {}
        self.names: dict[str, str] = {}  # what the broker calls them
        self.fetched: dict[str, int] = {}  # lease: number of the fetch that brought it
        self._begin()

    def _begin(self) -> None:
        """What the rooms tell each other while a change is made."""
        self.replies: dict[int, Mail] = {}  # to a message, its reply
        self.acking: set[int] = set()  # work that is acked with its reply
        self.saying: dict[str, str] = {}  # lease: what this call does with it

    def save(self) -> bytes:
        """Everything it knows."""
        return pickle.dumps((super().save(), self.tasks, self.names, self.fetched))

    def load(self, saved: bytes) -> None:
        """Become what was saved."""
        before, self.tasks, self.names, self.fetched = pickle.loads(saved)
        super().load(before)
        self._begin()

    def plain(self) -> list[Any]:
        """What can ever be seen of it."""
        tasks = [replace(task, settled_by=0, settled_as="") for task in self.tasks.values()]
        return [*super().plain(), tasks, sorted(self.names.items())]

    def meet(self, told: Any, seen: Any) -> Any:
        """``told`` with the broker's own words and names in it, as far as it may choose them."""
        if isinstance(told, dict) and isinstance(seen, dict):
            return {name: self.meet(value, seen.get(name)) for name, value in told.items()}
        if isinstance(told, list) and isinstance(seen, list) and len(told) == len(seen):
            return [self.meet(one, other) for one, other in zip(told, seen, strict=True)]
        if told == WORDS and isinstance(seen, str):
            return seen
        if isinstance(told, str) and told.startswith("?task-"):
            fresh = told not in self.names and str(seen).startswith("task-")
            if fresh and seen not in self.names.values():
                self.names[told] = seen
            return self.names.get(told, told)
        return told

    def pass_time(self, now: int) -> None:
        """Tasks that are over are kept for a week."""
        super().pass_time(now)
        gone = [name for name, task in self.tasks.items() if (task.ended or NEVER) + RETENTION_MS <= now]
        for name in gone:
            del self.tasks[name]

    # -- how a task stands

    def work_of(self, mail: Mail | None) -> Task | None:
        """The open task whose work the message is."""
        task = self.tasks.get(mail.task or "") if mail is not None else None
        return task if task is not None and mail is not None and task.work == mail.id else None

    def place_of(self, task: Task) -> tuple[Box, Mail, Place] | None:
        """The work message where it is worked: in the group ``default``."""
        box = self._box(task.box)
        mail = box.mails.get(task.work or 0) if box is not None else None
        if box is None or mail is None or "default" not in box.groups:
            return None
        place = mail.places.get(box.groups["default"].number)
        return (box, mail, place) if place is not None else None

    def held(self, task: Task) -> bool:
        """True while a worker has the lease."""
        found = self.place_of(task)
        return found is not None and found[2].state == "leased"

    def _box(self, number: int) -> Box | None:
        return next((box for box in self.boxes.values() if box.number == number), None)

    def awaited(self, box: Box, mail: Mail) -> bool:
        """Work waits for the group ``default``, even where other groups are done with the message."""
        return "default" not in box.groups and not mail.ending and self.work_of(mail) is not None

    def move(self, task: Task, state: str, *steps: Shape) -> None:
        """Entries of the history, numbered on, and the state after them."""
        for step in steps:
            head = {"number": len(task.history) + 1, "at": iso(self.now), "state": state, "from": self.by}
            task.history.append(head | step)
            task.after.append(max(self.next["mail"] - 1, step.get("message") or 0))
        task.state, task.updated = state, self.now
        if task.over or state in WAITING:
            task.work = None
        if task.over:
            task.ended = self.now

    def status(self, task: Task, state: str, parts: list[Shape], **more: Any) -> Shape:
        """A word of whoever makes this change, which the task shows from now on."""
        task.status = {"from": self.by, "created_at": iso(self.now), "parts": parts}
        task.question = task.status if state in WAITING else task.question
        return {"kind": "status", "parts": parts, **more}

    def tell(self, task: Task, state: str, parts: list[Shape]) -> None:
        """The asker hears of it; its mailbox is owed that, full or not."""
        box = self._asker_box(task)
        if box is None:
            return
        body: Shape = {"from": self.by, "verified": self.by == BROKER, "created_at": iso(self.now)}
        body |= {"priority": TIERS[task.tier], "tags": [], "parts": parts, "task_state": state}
        body |= {"in_reply_to": task.work or task.first, "reply_to": task.address}
        id = self._number("mail")
        mail = Mail(id, task.tier, self.now, None, task.session, [], body, task=task.name)
        box.mails[id] = mail
        self._show(box, mail)
        self._let_in(task, box)

    def _let_in(self, task: Task, box: Box) -> None:
        """A notice is a turn of its session, past the loop guard; what is over stays over."""
        talk: Talk | None = self.talks.get(task.session)
        if talk is None or talk.standing(self.now) == "gone":
            if task.session != f"mq9.{task.first}":
                return
            talk = Talk(1, self.now, boxes={task.box}, senders={task.asker})
        if talk.standing(self.now) != "closed":
            self.turn(task.session, talk, self.by, box)

    def ground_of(self, task: Task) -> Ground:
        """The message that opened the task: who may write to the task is in its session by it."""
        return task.session, task.box, task.asker

    def states(self, who: Who, session: str) -> list[tuple[Any, ...]]:
        """To what states the tasks of a session came, each with its place there."""
        found: list[tuple[Any, ...]] = []
        for task in self.tasks.values():
            if task.session != session or who[0] not in (task.principal, task.owner):
                continue
            before = ""
            for entry, after in zip(task.history, task.after, strict=True):
                names = ("number", "at", "state", "from", "reason")
                view = {name: entry[name] for name in names if name in entry}
                place = (after, entry["at"], task.first, entry["number"])
                if entry["state"] != before:
                    found.append((place, {"kind": "task", "task": task.name, **view}))
                before = entry["state"]
        return found

    def _asker_box(self, task: Task) -> Box | None:
        box = self.boxes.get(task.reply_to or task.asker)
        return box if box is not None and (box.agent or box.owner == task.principal) else None

    def end(self, task: Task, code: str) -> None:
        """The broker ends a task, and says why."""
        state = "canceled" if code == "CANCELED" else "failed"
        parts: list[Shape] = [{"text": WORDS}, {"data": {"code": code, "reason": WORDS}}]
        self.tell(task, state, parts)
        self.move(task, state, self.status(task, state, parts, reason=code))

    def end_work(self, task: Task, code: str) -> None:
        """The broker ends a task; its message is not work any more."""
        box, id = self._box(task.box), task.work
        self.end(task, code)
        mail = box.mails.get(id or 0) if box is not None else None
        if box is None or mail is None:
            return
        if "default" not in box.groups or not mail.shown:
            self._supersede(box, mail, "withdrawn")
        elif place := box.groups["default"].owes(mail):
            place.state = mail.ending or "withdrawn"
            if not any(group.owes(mail) for group in box.groups.values()):
                mail.ending = place.state

    def _timeouts(self, box: Box) -> bool:
        over = [
            task
            for task in self.tasks.values()
            if task.box == box.number and not task.over and (task.timeout_at or NEVER) <= self.now
        ]
        for task in over:
            self.end_work(task, "TIMEOUT")
        return bool(over)

    # -- what happened

    def settled(self, item: Shape, result: Shape) -> None:
        """Note what a worker said about a message, and tell who extends a lease what is new."""
        if item["lease"] not in self.leases:
            return
        address, id, number = self.leases[item["lease"]]
        box = self.boxes[address]
        group = next(one for one in box.groups.values() if one.number == number)
        mail = box.mails[id]
        place, reason = mail.places[number], item.get("reason") or item["outcome"]
        if place.state in ("acked", "leased"):
            kind = "acked" if place.state == "acked" else "extended"
            known = [index for index, note in enumerate(self.notes) if note.mail is mail]
            acks = [i for i, note in enumerate(self.notes) if (note.what, note.group) == ("acked", group)]
            at = acks[-1] + 1 if acks and kind == "acked" and not known else len(self.notes)
            self.notes.insert(at, Note(kind, box, group, mail, item["lease"]))
        elif place.state in ("waiting", "backoff"):
            self.note("returned", box, group, mail, reason)
        task = self.work_of(mail)
        if item["outcome"] == "extend" and task is not None and group.name == "default":
            result |= {"cancel_requested": True} if task.cancel else {}
            result |= self.news(task)

    def news(self, task: Task) -> Shape:
        """The follow-ups that the holder of the lease does not know; some may be deleted by now."""
        return {"follow_ups": task.follow_ups[task.told :]} if task.told < len(task.follow_ups) else {}

    def follow(self) -> None:
        """Every task follows its message."""
        notes, self.notes = self.notes, []
        for note in sorted(notes, key=_rank):
            if note.what == "dropped":
                self._dropped(note.box)
            elif note.what == "group_made":
                self._skipped(note)
            elif (task := self.work_of(note.mail)) is not None and _of_default(note):
                getattr(self, f"_{note.what}")(task, note)
        self._begin()

    def _dropped(self, box: Box) -> None:
        for task in [one for one in self.tasks.values() if one.box == box.number and not one.over]:
            self.end(task, "CANCELED")

    def _skipped(self, note: Note) -> None:
        """A group ``default`` that begins behind a task's message: nobody is going to work on it."""
        if not _of_default(note):
            return
        for task in [one for one in self.tasks.values() if one.box == note.box.number and one.work]:
            mail = note.box.mails.get(task.work or 0)
            if mail is not None and note.group is not None and not note.group.wants(mail):
                self.end(task, "CANCELED")

    def _leased(self, task: Task, note: Note) -> None:
        task.told, task.worker = len(task.follow_ups), note.more
        self.move(task, "working", {"kind": "leased", "message": task.work})

    def _extended(self, task: Task, _: Note) -> None:
        if task.state == "submitted":  # it had run out
            found = self.place_of(task)
            assert found is not None
            task.worker = found[2].worker
            self.move(task, "working", {"kind": "leased", "message": task.work})
        task.told = len(task.follow_ups)

    def _returned(self, task: Task, note: Note) -> None:
        if task.state == "working":
            task.told = 0
            self.move(task, "submitted", {"kind": "returned", "message": task.work, "reason": note.more})

    def _group_ended(self, task: Task, note: Note) -> None:
        if note.mail is not None and note.mail.ending:
            self._closed(task, note)
        else:
            self._returned(task, note)

    def _acked(self, task: Task, note: Note) -> None:
        """Only with its reply is a task's message acked: the reply is the last word."""
        reply, asker, step = self.replies.get(task.work or 0), self._asker_box(task), {}
        parts: list[Shape] = [{"text": WORDS}]
        told = reply is None
        if reply is not None:
            told = asker is not None and reply.id not in asker.mails
            parts = parts if told else reply.body["parts"]
            step = {"message": reply.id}
        if told:
            self.tell(task, "completed", parts)
        self.move(task, "completed", self.status(task, "completed", parts, **step))
        task.settled_by, task.settled_as = self.fetched.get(note.more, 0), "completed"

    def _died(self, task: Task, note: Note) -> None:
        letter, outcome = note.more
        if outcome == "reject":
            parts = [{"text": letter.get("description") or letter["reason"]}]
            self.tell(task, "rejected", parts)
            step = self.status(task, "rejected", parts, reason=letter["reason"])
            found = self.place_of(task)
            token = found[2].token if found is not None else ""
            task.settled_by, task.settled_as = self.fetched.get(token, 0), "rejected"
            self.move(task, "rejected", step)
        elif task.cancel:
            self.end(task, "CANCELED")
        elif letter["reason"] == "expired" and (not outcome or _expired(note)):
            self.end(task, "EXPIRED")
        else:
            self.end(task, "DEAD_LETTERED")

    def _closed(self, task: Task, note: Note) -> None:
        self.end(task, "EXPIRED" if _expired(note) and not task.cancel else "CANCELED")

    def _superseded(self, task: Task, note: Note) -> None:
        if not self.held(task):
            self._closed(task, note)

    def _deleted(self, task: Task, _: Note) -> None:
        self.end(task, "CANCELED")
