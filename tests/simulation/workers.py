"""Callers at random who open tasks, work on them, answer, cancel and look."""

from __future__ import annotations

from tests.simulation.callers import Call, Callers
from tests.simulation.model import Model
from tests.simulation.shelf import Shape, iso
from tests.simulation.tasks import Task
from tests.simulation.threads import NO_USE

STATES = (
    "submitted",
    "working",
    "input-required",
    "auth-required",
    "completed",
    "failed",
    "canceled",
    "rejected",
)
SHARE = 0.35  # of all commands


class Workers(Callers):
    """Beside all other commands, those about tasks; and messages that open or continue one."""

    def draw(self, model: Model) -> Call:
        """Any command."""
        if not model.tasks or self.maybe(1 - SHARE):
            return super().draw(model)
        kinds = [
            (self.take, 5),
            (self.work, 16),
            (self.finish, 3),
            (self.answer, 4),
            (self.cancel, 2),
            (self.ask_about, 3),
        ]
        [kind] = self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        call = kind(model)
        self.recent.append(call)
        return call

    def message(self, model: Model) -> Shape:
        """A message, now and then one that opens a task, or belongs to one."""
        message = super().message(model)
        if self.maybe(0.3):
            until = {"timeout_s": self.rng.choice((0.001, 3, 20, 100, 1000))}
            message["task"] = until if self.maybe(0.2) else True
        elif self.maybe(0.05):
            message |= self.of_task(model)
            if "task" in message and self.maybe(0.7):
                message.pop("to", None)
        return message

    def of_task(self, model: Model) -> Shape:
        """A task, mostly one that is open and known, as an argument."""
        named = [task for task in model.tasks.values() if task.name in model.names]
        live = [task for task in named if not task.over]
        found = live if live and self.maybe(0.85) else named
        if not found or self.maybe(0.01):
            return {"task": "task-of-nobody"}
        return {"task": model.names[self.rng.choice(found).name]}

    def leased(self, model: Model, named: str) -> str | None:
        """The lease on the work of a task."""
        task = next((one for one in model.tasks.values() if model.names.get(one.name) == named), None)
        found = model.place_of(task) if task is not None else None
        token = found[2].token if found is not None else ""
        return token if token in self.tokens else None

    def held(self, model: Model) -> list[Task]:
        """Tasks that somebody works on; now and then others too, whose work was leased once."""
        once = [
            task
            for task in model.tasks.values()
            if task.name in model.names and self.leased(model, model.names[task.name])
        ]
        now = [task for task in once if task.state == "working"]
        return now if now and self.maybe(0.9) else once

    def worker(self, model: Model, token: str) -> tuple[str, str]:
        """Mostly who has the lease."""
        address, id, number = model.leases.get(token, ("", 0, 0))
        box = model.boxes.get(address)
        place = box.mails[id].places.get(number) if box is not None and id in box.mails else None
        known = place is not None and place.principal != "" and self.maybe(0.9)
        return (place.principal, place.worker) if place is not None and known else self.who()

    def stale(self, model: Model, named: str) -> str:
        """Another lease: an earlier one of the same work, or any."""
        task = next((one for one in model.tasks.values() if model.names.get(one.name) == named), None)
        work = task.work if task is not None else None
        same = [token for token in self.tokens if work and model.leases.get(token, ("", 0, 0))[1] == work]
        return self.rng.choice(same if same and self.maybe(0.7) else [*self.tokens[-30:], "nothing"])

    # -- the commands

    def take(self, model: Model) -> Call:
        """A worker takes work."""
        waiting = [task.address for task in model.tasks.values() if task.state == "submitted"]
        asked: Shape = {"mailbox": self.rng.choice(waiting) if waiting else self.address(model)}
        asked |= {"max": self.rng.choice((1, 3, 10)), "lease_s": self.rng.choice((5, 100, 300))}
        return Call(self.local(), "mailbox_fetch", asked)

    def said(self, model: Model) -> Shape:
        """An update, under the right lease or another."""
        rng, tasks = self.rng, self.held(model)
        named = (
            model.names[rng.choice(tasks).name] if tasks and self.maybe(0.9) else self.of_task(model)["task"]
        )
        token = self.leased(model, named)
        if token is None or self.maybe(0.1):
            token = self.stale(model, named)
        asked: Shape = {"task": named, "lease": token}
        if self.maybe(0.5):
            chosen = rng.choice(STATES)
            asked["state"] = "input-required" if self.maybe(0.25) else chosen
        if self.maybe(0.35):
            asked["message"] = rng.choice(("how?", "so far so good", "x" * 300))
        if self.maybe(0.3):
            asked["progress"] = {"done": rng.randint(0, 9), "total": 9}
        if self.maybe(0.35):
            asked["checkpoint"] = {"at": rng.randint(0, 99), "of": "y" * rng.choice((0, 0, 500))}
        if self.maybe(0.25):
            asked["artifacts"] = [self.artifact() for _ in range(rng.choice((1, 1, 2)))]
        if self.maybe(0.5):
            asked["lease_s"] = self.lease()
        task = next((one for one in model.tasks.values() if model.names.get(one.name) == named), None)
        if task is not None and self.maybe(0.2):
            asked["expected_version"] = max(1, len(task.history) - rng.choice((0, 0, 0, 1)))
        return asked

    def artifact(self) -> Shape:
        """A whole artifact, or a piece of one."""
        piece: Shape = {"text": "z" * self.rng.choice((1, 200))} if self.maybe(0.7) else {"data": {"n": 1}}
        if self.maybe(0.6):
            piece |= {"artifact_id": self.rng.choice(("log", "sum")), "name": "it"}
        if "artifact_id" in piece or self.maybe(0.05):
            piece |= {"append": self.maybe(0.6), "last_chunk": self.maybe(0.2)}
        return piece

    def work(self, model: Model) -> Call:
        """A worker says how it goes."""
        if not self.tokens or not self.held(model):
            return self.take(model)
        asked = self.said(model)
        return Call(self.worker(model, asked["lease"]), "task_update", asked)

    def finish(self, model: Model) -> Call:
        """Leases are settled with a reply, or with updates of tasks, all or none."""
        tasks = self.held(model)
        if not tasks:
            return self.take(model)
        task = self.rng.choice(tasks)
        token = self.leased(model, model.names[task.name]) or ""
        items: list[Shape] = [{"lease": token, "outcome": "ack"}, *([self.item()] if self.maybe(0.3) else [])]
        if self.maybe(0.3):
            items[0] = self.item(token)
        asked: Shape = {"items": items}
        if self.maybe(0.5):
            asked["send"] = {"in_reply_to": task.work, "text": "done"}
            if self.maybe(0.2):
                asked["send"] = [asked["send"], self.message(model)]
        if "send" not in asked or self.maybe(0.1):
            update = {"task": model.names[task.name], "lease": token, "state": self.rng.choice(STATES)}
            asked["tasks"] = [update, *([self.said(model)] if self.maybe(0.3) else [])]
        return Call(self.worker(model, token), "mailbox_ack", asked)

    def answer(self, model: Model) -> Call:
        """A message in a task, which may be waiting for it, or not."""
        waiting = [task for task in model.tasks.values() if task.state.endswith("-required")]
        waiting = [task for task in waiting if task.name in model.names]
        asked = self.of_task(model)
        if waiting and self.maybe(0.7):
            asked = {"task": model.names[self.rng.choice(waiting).name]}
        notices = [
            mail
            for box in model.boxes.values()
            for mail in box.mails.values()
            if model.names.get(mail.task or "") == asked["task"]
        ]
        if notices and self.maybe(0.4):
            asked = {"in_reply_to": self.rng.choice(notices).id}
        message = {**super().message(model), "text": "so", **asked}
        if self.maybe(0.85):
            message.pop("to", None)
        if self.maybe(0.8):
            message = {name: value for name, value in message.items() if name not in NO_USE}
        return Call(self.who(), "mailbox_send", message)

    def cancel(self, model: Model) -> Call:
        """Somebody wants a task to end."""
        reason = {"reason": "rain"} if self.maybe(0.5) else {}
        return Call(self.who(), "task_cancel", {**self.of_task(model), **reason})

    def ask_about(self, model: Model) -> Call:
        """A task with some of its history, or a list of tasks."""
        rng = self.rng
        if self.maybe(0.5):
            return Call(
                self.who(), "task_get", {**self.of_task(model), "history": rng.choice((0, 1, 5, 100))}
            )
        asked: Shape = {"limit": rng.choice((1, 5, 100))}
        if self.maybe(0.3):
            asked["mailbox"] = self.address(model)
        if self.maybe(0.3):
            asked["state"] = rng.choice(STATES)
        if self.maybe(0.2):
            asked[rng.choice(("asker", "worker"))] = self.local()[1]
        if self.maybe(0.2):
            asked["session"] = rng.choice(("s1", "s2"))
        if self.maybe(0.2):
            asked["since"] = iso(model.now - rng.choice((0, 5_000, 60_000)))
        if self.maybe(0.3) and model.tasks:
            asked["cursor"] = str(
                rng.choice([task.first for task in model.tasks.values()]) + rng.choice((0, 1))
            )
        return Call(self.who(), "task_list", asked)
