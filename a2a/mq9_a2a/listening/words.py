"""Between the broker's values and the SDK's: what an executor is given, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from a2a.auth.user import User
from a2a.server.agent_execution import RequestContext
from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]

from mq9_a2a.words import NAMES, PROGRESS, View, message_of, task_of, whole, wrapped
from mq9_mcp.client import Job

SAID = frozenset({"submitted", "answer", "follow_up", "message", "status"})
HISTORY_MAX = 100  # entries of a task's history


class Asker(User):
    """Who sent the message; ``is_authenticated`` if a credential proved it."""

    def __init__(self, message: Mapping[str, Any]) -> None:
        self._name: str = message.get("from", "")
        self._verified: bool = message.get("verified", False)

    @property
    def is_authenticated(self) -> bool:
        """True if a credential proved it."""
        return self._verified

    @property
    def user_name(self) -> str:
        """The agent or principal."""
        return self._name


def context_of(job: Job, agent: str, message: Mapping[str, Any] | None, task: View | None) -> RequestContext:
    """What an executor is told: the message to answer, and the task unless it is new."""
    told = message if message is not None else job.message
    state: dict[str, Any] = {"job": job, "attempt": job.attempt, "fence": job.fence}
    state["checkpoint"] = job.checkpoint_value
    call = ServerCallContext(
        user=Asker(told),
        tenant=agent,
        state=state,
        requested_extensions=set(told.get("a2a", {}).get("extensions", ())),
    )
    request = None
    if message is not None:
        request = pb.SendMessageRequest(tenant=agent, message=request_of(job.task, message))
    known = ParseDict(shown(task), pb.Task()) if task is not None else None
    return RequestContext(
        call, request, task_id=job.task, context_id=job.message["session"], task=known, related_tasks=[]
    )


def request_of(task: str, message: Mapping[str, Any]) -> pb.Message:
    """A message of the asker."""
    entry = {**message, "kind": "submitted", "message": message["id"]}
    about = {"id": task, "session": message["session"], "asker": message["from"]}
    read: pb.Message = ParseDict(message_of(about, entry), pb.Message())
    return read


def said_meanwhile(task: View, job: Job) -> list[View]:
    """What the asker of ``task`` said under the lease of ``job``, whether a reply has told it yet or not."""
    since = takewhile(lambda entry: entry["kind"] != "leased", reversed(task["history"]))
    said = [one for one in since if one["kind"] == "follow_up"]
    about = {"session": task["session"], "verified": job.message["verified"]}
    return [{**one, **about, "id": one["message"]} for one in reversed(said)]


def shown(task: View) -> View:
    """The task with what was said in it."""
    said = [one for one in task.get("history", ()) if one["kind"] in SAID and "parts" in one]
    return task_of(task, said, None)


def state_of(state: int) -> str:
    """The broker's name of a state; working for what tells none."""
    return NAMES.get(pb.TaskState.Name(state), "working")


def parts_of(parts: Iterable[pb.Part]) -> list[View]:
    """Parts as the broker takes them. The SDK holds every number as a float; whole ones are integers here."""
    return [whole(MessageToDict(part)) for part in parts]


def message_parts(message: pb.Message, direct: bool = False) -> list[View]:
    """A message's parts, with what is written around them as far as the broker does not know it anyway."""
    parts = parts_of(message.parts)
    around: View = {}
    if (metadata := metadata_of(message)) is not None:
        around["metadata"] = metadata
    around |= {"extensions": list(message.extensions)} if message.extensions else {}
    around |= {"referenceTaskIds": list(message.reference_task_ids)} if message.reference_task_ids else {}
    around |= {"direct": True} if direct else {}
    if not around or not parts:
        return parts
    return wrapped(parts, {"messageId": message.message_id, **around})


def metadata_of(message: Any) -> View | None:
    """The metadata of anything that may have some."""
    return whole(MessageToDict(message.metadata)) if message.HasField("metadata") else None


def progress_of(event: pb.TaskStatusUpdateEvent) -> View | None:
    """How far the task is, if the event says so as the door does."""
    found = (metadata_of(event) or {}).get(PROGRESS)
    return found if isinstance(found, dict) else None


def piece_of(artifact: pb.Artifact, append: bool = False, last: bool = False) -> View:
    """An artifact of ``task_update``."""
    piece: View = {"parts": parts_of(artifact.parts)}
    piece |= {"artifact_id": artifact.artifact_id} if artifact.artifact_id else {}
    piece |= {"name": artifact.name} if artifact.name else {}
    piece |= {"append": True} if append else {}
    return piece | ({"last_chunk": True} if last else {})
