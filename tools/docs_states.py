"""The page of states, drawn from the tables; and what the reference says of the arguments of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mq9_mcp.domain import agent_commands, commands, delivery, push_commands, task, task_commands

Table = Callable[[Sequence[str], Iterable[Sequence[str]]], Iterable[str]]
STATES = {
    "delayed": "Stored, not visible yet. `mailbox_query` shows it, `mailbox_delete` cancels it.",
    "waiting": "In line. Also mail that came back, and mail whose lease ran out.",
    "leased": "In one worker's hands until `leased_until`.",
    "backoff": "Failed, and waits before the next attempt.",
    "acked": "Settled by a worker.",
    "dead": "Ended in the dead letters; a copy lies there.",
    "expired": "Its time was over before anybody settled it.",
    "withdrawn": "Replaced by newer mail with the same `state_key`.",
}
STEPS = {
    "become_due": "`deliver_at` has come.",
    "lease": "A fetch takes it.",
    "ack": "The worker settles it.",
    "nack": "The worker failed and says so.",
    "release": "The worker gives it back, no attempt counted.",
    "extend": "The worker keeps it longer.",
    "reject": "The worker sends it to the dead letters.",
    "lapse": "The lease runs out: a failed attempt.",
    "backoff_over": "The wait is over.",
    "exhaust": "The last attempt failed: to the dead letters.",
    "expire": "`expires_at` has come.",
    "withdraw": "Newer mail has the same `state_key`.",
}
OBJECTS: dict[type, str] = {
    commands.IntentArguments: "[intent](#an-intent)",
    agent_commands.McpServer: "[MCP server](#an-mcp-server)",
    commands.TaskOptions: "[task options](#task-options)",
    task_commands.TaskUpdate: "[task update](#task_update)",
    task_commands.Progress: "[progress](#progress-of-a-task)",
    push_commands.PushAuthentication: "[authentication](#authentication-of-a-push)",
    task_commands.Artifact: "[artifact](#an-artifact-of-a-task)",
}
TABLES = {
    "tasks": "Tasks that are open, or ended less than `task_retention_s` ago.",
    "task_events": "What the histories of tasks tell, numbered from 1.",
    "task_messages": "Which message belongs to which task.",
    "pushes": "Where the events of tasks are posted to, and how far that has come.",
}
TASK_STATES = {
    "submitted": "It waits for a worker.",
    "working": "A worker has the lease on its message in the group `default`.",
    "input-required": "It waits for an answer of its asker.",
    "auth-required": "It waits until its asker has given a right or a credential.",
    "completed": "Done.",
    "failed": "The worker says so, or its message expired, went to the dead letters, or `timeout_s` passed.",
    "canceled": "Somebody did not want it any more, or its message was deleted or withdrawn.",
    "rejected": "The worker does not do such work.",
}
MOVES = {
    "lease": "A worker takes its message.",
    "progress": "The worker tells how it goes.",
    "give_back": "The lease ends without a word about the outcome.",
    "ask_input": "The worker asks a question.",
    "ask_auth": "The worker needs a right or a credential.",
    "answer": "A message comes while it waits for one: the new work message.",
    "follow_up": "A message comes while it does not: the worker is told.",
    "message": "A message in the task goes to another mailbox than the one where it is worked.",
    "ask_cancel": "Cancel is asked for while a worker has the lease: the worker is told.",
    "complete": "The worker is done.",
    "fail": "The worker gives up, or the broker must.",
    "cancel": "It is not wanted any more.",
    "reject": "The worker refuses it.",
}


def page(table: Table) -> Iterable[str]:
    """The page of states."""
    yield "# States of a message\n"
    yield (
        "Where a message stands in one group; every group has its own. Drawn from the table that the code "
        "decides by. Any other step is refused and changes nothing.\n"
    )
    assert set(STATES) == set(delivery.DeliveryState)
    assert set(STEPS) == set(delivery.Step)
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, step), after in delivery.TABLE.items():
        arrows.setdefault((state, after), []).append(step)
    yield "```mermaid\nstateDiagram-v2\n    [*] --> waiting: send\n    [*] --> delayed: send with delay_s"
    yield from (f"    {state} --> {after}: {', '.join(steps)}" for (state, after), steps in arrows.items())
    yield from (f"    {state} --> [*]" for state in delivery.DeliveryState if state in delivery.FINAL)
    yield "```\n"
    yield (
        "The steps `ack`, `nack`, `release`, `extend` and `reject` of a message "
        "that is not leased are those of a lease that ran out and that nobody has replaced; an exactly-once "
        "mailbox refuses them.\n"
    )
    yield from table(("state", "what it means"), ((f"`{name}`", text) for name, text in STATES.items()))
    yield from table(("step", "what happens"), ((f"`{name}`", text) for name, text in STEPS.items()))
    yield from _of_tasks()
    for head, words in (("state", TASK_STATES), ("move", MOVES)):
        yield from table((head, "what it means"), ((f"`{name}`", text) for name, text in words.items()))


def _of_tasks() -> Iterable[str]:
    """The table of tasks as a diagram."""
    assert set(TASK_STATES) == set(task.TaskState)
    assert set(MOVES) == set(task.Move)
    yield "## States of a task\n"
    yield "Drawn from the table too. Any other move is `ILLEGAL_TRANSITION` and changes nothing.\n"
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, move), after in task.TABLE.items():
        arrows.setdefault((state.replace("-", "_"), after.replace("-", "_")), []).append(move)
    yield "```mermaid\nstateDiagram-v2\n    [*] --> submitted: send with task"
    yield from (f"    {state} --> {after}: {', '.join(moves)}" for (state, after), moves in arrows.items())
    yield from (f"    {state} --> [*]" for state in task.TaskState if state in task.TERMINAL)
    yield "```\n"


def objects() -> Iterable[tuple[str, type]]:
    """Headings on the page of commands, and what stands below them."""
    yield "## Task options\n", commands.TaskOptions
    yield "## An intent\n", commands.IntentArguments
    yield "## An MCP server\n", agent_commands.McpServer
    yield "## Progress of a task\n", task_commands.Progress
    yield "## Authentication of a push\n", push_commands.PushAuthentication
    yield "## An artifact of a task\n", task_commands.Artifact
