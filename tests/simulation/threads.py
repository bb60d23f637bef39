"""Messages of the model that open tasks or belong to them, and what workers and askers say about tasks."""

from __future__ import annotations

from tests.simulation.sessions import Refusal, Who
from tests.simulation.shelf import TIERS, Box, Mail, Place, Shape, iso, mail_view
from tests.simulation.tasks import WAITING, Task, Working

GOES_ON = (None, "submitted", "working")  # updates after which a task's message is not settled
NO_USE = ("delay_s", "deliver_at", "ttl_s", "expires_at", "state_key")


class Threading(Working):
    """Mailboxes with tasks in them."""

    def task(self, who: Who, id: str) -> Task:
        """The task of that name, for its asker and for the owner of its mailbox."""
        name = next((mine for mine, its in self.names.items() if its == id), "")
        return self.known(who, name)

    def known(self, who: Who, name: str, granted: bool = False) -> Task:
        """The task as the model calls it; ``granted``: to somebody who answers a message in it."""
        task = self.tasks.get(name)
        if task is None or not (granted or who[0] in (task.principal, task.owner)):
            raise Refusal("TASK_NOT_FOUND")
        return task

    # -- messages

    def thread_of(self, who: Who, asked: Shape, answered: Mail | None, held: bool) -> Task | None:
        """The task that a message belongs to; who holds what is ``answered`` may answer it."""
        named = asked.get("task")
        if isinstance(named, str):
            task = self.task(who, named)
        elif named is None and answered is not None and answered.task is not None:
            task = self.known(who, answered.task, held)
        else:
            return None
        if isinstance(asked.get("to"), list):
            raise Refusal("INVALID_ARGUMENT")
        return task

    def where_worked(self, id: str) -> Box:
        """Where a message goes that names a task and no address."""
        name = next(mine for mine, its in self.names.items() if its == id)
        box = self._box(self.tasks[name].box)
        if box is None:
            raise Refusal("ILLEGAL_TRANSITION")  # its mailbox took the task along
        return box

    def in_thread(self, task: Task | None, asked: Shape, body: Shape, targets: list[Box]) -> Shape:
        """The body of a message in the task: an answer is at least as urgent as the work was."""
        if task is None:
            return body
        if task.over:
            raise Refusal("ILLEGAL_TRANSITION")
        if task.state in WAITING and task.box == targets[0].number:
            body["priority"] = TIERS[min(task.tier, TIERS.index(body["priority"]))]
        if self.completes(task, asked):
            body["task_state"] = "completed"
        return body

    def completes(self, task: Task, asked: Shape) -> bool:
        """True if the call acks the work message with this reply."""
        return asked.get("in_reply_to") in self.acking and task.work == asked["in_reply_to"]

    def join(
        self, who: Who, task: Task | None, asked: Shape, box: Box, mail: Mail, answered: Mail | None
    ) -> None:
        """What a message that was just stored is to a task, of its own or of others."""
        if answered is not None:
            self.replies.setdefault(asked["in_reply_to"], mail)
        if task is None:
            if asked.get("task"):
                self._open(who, asked, box, mail)
            return
        mail.task = task.name
        if self.completes(task, asked):
            return
        step = self._said(mail)
        if box.number != task.box:
            self.move(task, task.state, {"kind": "message", **step})
        elif task.state in WAITING:
            self.move(task, "submitted", {"kind": "answer", **step})
            task.work, task.tier, task.status = mail.id, mail.tier, None
        elif any(name in asked for name in NO_USE):
            raise Refusal("INVALID_ARGUMENT")
        else:  # in no group's line: the task tells its worker
            mail.places, mail.ending, mail.ended_at = {}, "acked", self.now
            task.follow_ups.append(mail.id)
            self.move(task, task.state, {"kind": "follow_up", **step})

    def _open(self, who: Who, asked: Shape, box: Box, mail: Mail) -> None:
        mail.task = f"?task-{mail.id}"
        options = asked["task"] if isinstance(asked["task"], dict) else {}
        until = self.now + round(options["timeout_s"] * 1000) if "timeout_s" in options else None
        task = self.tasks[mail.task] = Task(
            mail.task,
            mail.id,
            box.number,
            box.address,
            box.owner,
            who[1],
            who[0],
            self.now,
            mail.tier,
            mail.session,
            asked.get("reply_to"),
            until,
            mail.id,
        )
        self.move(task, "submitted", {"kind": "submitted", **self._said(mail)})

    def _said(self, mail: Mail) -> Shape:
        around = {name: mail.body[name] for name in ("metadata",) if name in mail.body}
        return {"message": mail.id, "parts": mail.body["parts"], **around}

    # -- what workers are told

    def work_view(self, mail: Mail) -> Shape:
        """What a worker needs to go on with the task that the message is the work of."""
        task = self.work_of(mail)
        if task is None:
            return {}
        view: Shape = {"task_state": "working"}
        if task.checkpoint is not None:
            view["checkpoint"] = task.checkpoint
        if task.question is not None and task.work != task.first:
            view["question"] = task.question
        return view | ({"follow_ups": self.copies(task.follow_ups)} if task.follow_ups else {})

    def copies(self, ids: list[int]) -> list[Shape]:
        """Messages as the wire shows them; some may be deleted by now."""
        found = [(box, box.mails[id]) for id in ids for box in self.boxes.values() if id in box.mails]
        return [mail_view(box, mail) for box, mail in found]

    def all_news(self, who: Who) -> Shape:
        """What a worker is told with a fetch about the tasks that it holds. Freedom: in which order."""
        told: Shape = {"cancel_requested": []}
        fresh: list[int] = []
        for task in self.tasks.values():
            found = self.place_of(task)
            mine = found is not None and found[2].principal == who[0] and task.worker == who[1]
            if task.state == "working" and mine:
                told["cancel_requested"] += [task.name] if task.cancel else []
                fresh += task.follow_ups[task.told :]
                task.told = len(task.follow_ups)
        return told | ({"follow_ups": self.copies(fresh)} if fresh else {})

    def canceled_work(self, who: Who, worker: str) -> list[str]:
        """What the agent works on and should stop."""
        found = [(task, self.place_of(task)) for task in self.tasks.values() if task.state == "working"]
        return [
            task.name
            for task, place in found
            if task.cancel and task.worker == worker and place is not None and place[2].principal == who[0]
        ]

    # -- with an ack

    def _ack_of_work(self, item: Shape, replied: set[int], ends: set[str]) -> str | None:
        """An ack does not say how the task ended, but with the reply, or with an update in the call."""
        address, id, number = self.leases[item["lease"]]
        box = self.boxes[address]
        mail = box.mails[id]
        default = box.groups.get("default")
        working = default is not None and default.number == number and self.work_of(mail) is not None
        if item["outcome"] != "ack" or not working or item["lease"] in ends:
            return None
        if id in replied:
            self.acking.add(id)
            return None
        return "ILLEGAL_TRANSITION"

    def with_news(self, results: list[Shape]) -> list[Shape]:
        """Results whose follow-ups are shown as messages."""
        for result in results:
            if "follow_ups" in result:
                result["follow_ups"] = self.copies(result["follow_ups"])
        return results

    def updates(self, who: Who, asked: Shape, done: dict[str, str], repeated: bool) -> Shape:
        """Updates that commit with an ack; a repeated call updates nothing again."""
        if "tasks" not in asked:
            return {}
        self.saying = dict(done)
        if repeated and not done:
            replies = [{"task": self.task(who, one["task"]).name} for one in asked["tasks"]]
        else:
            replies = [self.update(who, one) for one in asked["tasks"]]
        return {"tasks": [self.shown(one) for one in replies]}

    # -- what workers and askers say

    def _task_update(self, who: Who, asked: Shape, _: float) -> Shape:
        return self.shown(self.update(who, asked))

    def shown(self, reply: Shape) -> Shape:
        """The reply with the task as it is after all of the call."""
        self.follow()
        return reply | {"task": self.tasks[reply["task"]].view()}

    def update(self, who: Who, asked: Shape) -> Shape:
        """Move a task under its lease."""
        task, wanted = self.task(who, asked["task"]), asked.get("state", "working")
        place = self._fenced(who, task, asked["lease"], wanted)
        if place is None:
            if wanted == task.settled_as:
                return {"task": task.name}
            self._check(task, wanted)
            raise Refusal("LEASE_LOST")
        if asked.get("expected_version") not in (None, len(task.history)):
            raise Refusal("VERSION_CONFLICT")
        self._check(task, wanted)
        reply: Shape = {"task": task.name} | self.news(task)
        if "follow_ups" in reply:
            reply["follow_ups"] = self.copies(reply["follow_ups"])
        steps = self._words(task, asked)
        parts = [{"text": asked["message"]}] if "message" in asked else None
        if wanted == "working":
            self._renew(task, place, asked, steps, parts)
            reply["leased_until"] = iso(place.until)
        elif wanted == "submitted":
            if parts is not None:
                steps.append(self.status(task, "working", parts))
            if steps:
                self.move(task, "working", *steps)
            self._give_back(task, place)
            self.saying[asked["lease"]] = "release"
        else:
            place.state, place.outcome = "acked", "ack"
            self.tell(task, wanted, parts or [{"text": wanted}])
            if parts is None:
                task.status = None
                task.question = None if wanted in WAITING else task.question
            word = self.status(task, wanted, parts) if parts is not None else {"kind": "status"}
            task.worker, task.settled_as = place.worker, wanted
            task.settled_by = self.fetched.get(asked["lease"], 0)
            self.move(task, wanted, *steps, word)
            if task.cancel and wanted in WAITING:
                self.end(task, "CANCELED")
        return reply

    def _fenced(self, who: Who, task: Task, lease: str, wanted: str) -> Place | None:
        """The work under the caller's lease; None if the task was settled under that very lease."""
        found = self.place_of(task)
        said = self.saying.get(lease, "extend")
        if found is None or found[2].token != lease or found[2].principal != who[0]:
            if task.settled_by and task.settled_by == self.fetched.get(lease):
                return None
            raise Refusal("LEASE_LOST")
        box, _, place = found
        if said == "ack" and wanted not in ("working", "submitted"):
            return place
        lapsed = place.lapsed and not box.settings["exactly_once"]
        if said != "extend" or (place.state != "leased" and not lapsed):
            raise Refusal("LEASE_LOST")
        return place

    def _check(self, task: Task, wanted: str) -> None:
        """What may become of a task."""
        legal = task.state in ("submitted", "working") and (task.state, wanted) != ("submitted", "submitted")
        if not legal and (task.state not in WAITING or wanted not in ("failed", "canceled", "rejected")):
            raise Refusal("ILLEGAL_TRANSITION")

    def _words(self, task: Task, asked: Shape) -> list[Shape]:
        steps: list[Shape] = []
        pieces: list[Shape] = []
        for piece in asked.get("artifacts", ()):
            if piece.get("append") and "artifact_id" not in piece:
                raise Refusal("INVALID_ARGUMENT")
            name = piece.get("artifact_id") or f"artifact-{len(task.pieces) + len(pieces) + 1}"
            parts = [{"text": piece["text"]}] if "text" in piece else [{"data": piece["data"]}]
            kept = {name: value for name, value in piece.items() if name not in ("text", "data") and value}
            pieces.append(kept | {"artifact_id": name, "parts": parts})
        if "progress" in asked:
            task.progress = asked["progress"]
            steps.append({"kind": "progress", "progress": asked["progress"]})
        steps += [{"kind": "artifact", "artifact": piece} for piece in pieces]
        task.pieces += pieces
        if "checkpoint" in asked:
            task.checkpoint = asked["checkpoint"]
            steps.append({"kind": "checkpoint", "checkpoint": asked["checkpoint"]})
            task.follow_ups = task.follow_ups[task.told :]  # what the worker knew of is in it
            task.told = 0
        return steps

    def _renew(
        self, task: Task, place: Place, asked: Shape, steps: list[Shape], parts: list[Shape] | None
    ) -> None:
        place.until = self.now + round(asked.get("lease_s", 300) * 1000)
        place.state, place.lapsed = "leased", False
        if parts is not None:
            steps.append(self.status(task, "working", parts))
        if task.state == "submitted":
            steps.insert(0, {"kind": "leased", "message": task.work})
        if steps:
            task.worker = place.worker
            self.move(task, "working", *steps)
        task.told = len(task.follow_ups)

    def _give_back(self, task: Task, place: Place) -> None:
        found = self.place_of(task)
        assert found is not None
        box, mail, _ = found
        group = box.groups["default"]
        if mail.ending:
            self._close(box, group, mail, place, "release")
            return
        self._forget_lease(place, "release")
        place.state = "waiting"
        self.note("returned", box, group, mail, "release")

    def _task_cancel(self, who: Who, asked: Shape, _: float) -> Shape:
        task = self.task(who, asked["task"])
        if task.over:
            raise Refusal("ILLEGAL_TRANSITION")
        if not self.held(task):
            self.end_work(task, "CANCELED")
        elif not task.cancel:
            found = self.place_of(task)
            assert found is not None
            reason = {"reason": asked["reason"]} if "reason" in asked else {}
            self.move(task, "working", {"kind": "ask_cancel", **reason})
            task.cancel = True
            if not found[1].ending:  # who holds it may still settle it; nobody gets it again
                self._supersede(found[0], found[1], "withdrawn")
        return self.shown({"task": task.name})

    # -- looking

    def _task_get(self, who: Who, asked: Shape, _: float) -> Shape:
        task = self.task(who, asked["task"])
        most = asked.get("history", 0)
        return {"task": task.view() | ({"history": task.history[-most:]} if most else {})}

    def _task_list(self, who: Who, asked: Shape, _: float) -> Shape:
        tasks = [task for task in self.tasks.values() if who[0] in (task.principal, task.owner)]
        views = [(task.first, task.view()) for task in sorted(tasks, key=lambda task: -task.first)]
        names = ("mailbox", "session", "asker", "worker", "state")
        views = [one for one in views if all(one[1].get(n) == asked[n] for n in names if n in asked)]
        views = [one for one in views if one[1]["updated_at"] >= asked.get("since", "")]
        views = [one for one in views if "cursor" not in asked or one[0] < int(asked["cursor"])]
        page = views[: asked.get("limit", 20)]
        reply: Shape = {"tasks": [view for _, view in page], "remaining": min(1000, len(views) - len(page))}
        for view in reply["tasks"]:
            view["artifacts"] = [
                {name: value for name, value in one.items() if name != "parts"} for one in view["artifacts"]
            ]
        return reply | ({"next_cursor": str(page[-1][0])} if reply["remaining"] else {})
