"""Sending by intent: who of the agents that fit gets the message, and why the others did not.

How well each agent fits is found out elsewhere and comes with the command. Here stands what the state
knows: whom the caller may send to, who is there, who has much to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import structs

from mq9_mcp.domain.access import may_send
from mq9_mcp.domain.commands import IntentArguments as Intent
from mq9_mcp.domain.commands import MessageArguments
from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.events import Settings
from mq9_mcp.domain.names import BROKER, PARKED
from mq9_mcp.domain.parts import has_room
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.registry import STATUSES, Agent, Match, skill_named
from mq9_mcp.domain.state import Caller, Mailbox

NEAR = 0.02  # scores that differ by no more are near-equal: then it counts who is ready
LOAD_UNKNOWN = 0.5
SKILL = "mq9.skill"  # in a message's metadata: the skill of the agent that it is for
CANDIDATES_MAX = 3  # runners-up that a receipt or a refusal names


class Candidate(NamedTuple):
    """An agent that comes into question, and how well it fits."""

    agent: Agent
    match: Match
    fits: bool  # well enough to get the message

    @property
    def able(self) -> bool:
        """Whether it can get the message."""
        return self.fits and self.agent.status != "offline"

    @property
    def why_not(self) -> str:
        """Why it cannot get the message, empty if it can."""
        if self.able:
            return ""
        return "is offline" if self.agent.status == "offline" else self.match.reason

    @property
    def order(self) -> tuple[float, str]:
        """The best score first, then by name."""
        return -self.match.score, self.agent.name

    @property
    def readiness(self) -> tuple[int, float, float, int, float, str]:
        """The readiest first: by status, load, success, pace, score, name."""
        load = self.agent.load if self.agent.load is not None else LOAD_UNKNOWN
        done = self.match.standing
        status = STATUSES.index(self.agent.status)
        return status, round(load, 1), -done.success, done.pace, *self.order

    @property
    def state(self) -> str:
        """What the choice among near-equals looks at, in words."""
        agent, done = self.agent, self.match.standing
        said = agent.status if agent.load is None else f"{agent.status}, load {agent.load}"
        if ended := done.completed + done.failed:
            said += f", {done.completed} of {ended} tasks done"
        return f"{said} in {done.took_ms / 1000:.1f} s" if done.completed else said


class Choice(NamedTuple):
    """Who gets the message, and what the receipt says of it."""

    mailbox: Mailbox
    routed: dict[str, Any]


def check_intent(message: MessageArguments) -> MessageArguments:
    """Refuse what does not go with an intent; without text and parts, the intent is the message."""
    intent = message.intent
    if intent is None:
        raise Refused("INVALID_ARGUMENT", "park: given without intent", "give intent={text}, or to")
    if message.to is not None:
        raise Refused(
            "INVALID_ARGUMENT", "to and intent: both given; accepted: one of them", "leave out one of them"
        )
    if isinstance(message.task, str):
        raise Refused(
            "INVALID_ARGUMENT",
            "intent: a message in a task goes where the task is worked",
            "leave out intent, or open a task with task=true",
        )
    if message.text is None and message.parts is None:
        return structs.replace(message, text=intent.text)
    return message


def with_skill(message: MessageArguments, choice: Choice) -> MessageArguments:
    """The message as the agent gets it: its metadata name the skill that was found, or asked for."""
    agent, intent = choice.mailbox.registered, message.intent
    assert agent is not None
    assert intent is not None
    named = skill_named(agent, intent.skill) if intent.skill is not None else None
    skill = named.id if named is not None else choice.routed.get("skill")
    return message if skill is None else told(message, SKILL, skill)


def told(message: MessageArguments, name: str, value: str) -> MessageArguments:
    """The message with one more word in its metadata, if that is free and there is room for it."""
    metadata = message.metadata or {}
    if name in metadata or not has_room(more := {**metadata, name: value}):
        return message
    return structs.replace(message, metadata=more)


def parked_mailbox(plan: Plan) -> Mailbox:
    """The broker's own mailbox of what waits for an agent; it remembers the keys of intents too."""
    return plan.find(PARKED) or plan.create(PARKED, BROKER, Settings())


def address_of_message(plan: Plan, id: int) -> str:
    """Where a message was sent to by its intent."""
    mail = plan.state.mails.get(id)
    number = mail.mailbox if mail is not None else 0
    if mail is None and (found := plan.paged.messages.get(id)) is not None:
        number = found.mailbox
    place = plan.state.place(number)
    return place.address if place is not None else PARKED


def candidates(plan: Plan, intent: Intent, ranking: Mapping[str, Match], caller: Caller) -> list[Candidate]:
    """Whom the caller may send such work to, the best fit first; the caller itself is not asked."""
    found = []
    for name, match in ranking.items():
        agent = plan.state.agents.get(name)
        if agent is None or name == caller.agent:
            continue
        if not may_send(caller, plan.state.mailboxes[agent.mailbox]) or not _wanted(agent, intent):
            continue
        named = intent.skill is not None  # whoever names the skill need not describe it
        found.append(Candidate(agent, match, match.fits or named))
    found.sort(key=lambda one: one.order)
    return found


def choose(plan: Plan, intent: Intent) -> Choice | Refused:
    """Who gets the message; or why nobody does."""
    assert plan.ask.intents is not None, "the broker ranks before this is decided"
    found = candidates(plan, intent, plan.ask.intents[intent.text], plan.caller)
    able = [one for one in found if one.able]
    if not able:
        return nobody(intent, found)
    best, near = best_of(able)
    others = [one for one in found if one is not best][:CANDIDATES_MAX]
    routed = {
        "agent": best.agent.name,
        "score": best.match.score,
        "reason": _reason(best, near),
        "candidates": [_view(one, _lost(one, best)) for one in others],
    }
    if best.match.skill is not None:
        routed["skill"] = best.match.skill
    return Choice(plan.state.mailboxes[best.agent.mailbox], routed)


def best_of(able: list[Candidate]) -> tuple[Candidate, list[Candidate]]:
    """The readiest of those that fit nearly as well as the first, and all of these."""
    near = [one for one in able if able[0].match.score - one.match.score <= NEAR]
    return min(near, key=lambda one: one.readiness), near


def nobody(intent: Intent, found: list[Candidate]) -> Refused:
    """The refusal where no agent fits well enough."""
    shown = [_view(one, one.why_not or one.match.reason) for one in found[:CANDIDATES_MAX]]
    if not found:
        seen = "no agent that you may send to has a skill like it"
    else:
        best = found[0]
        seen = f"the nearest is {best.agent.name!r}, which {best.why_not or 'would do'}"
    return Refused(
        "NO_MATCHING_AGENT",
        f"intent: {intent.text[:80]!r} fits no agent well enough; {seen}; nothing was stored",
        "name one with to, say more in intent.text, or wait for one with park=true",
        candidates=shown,
    )


def _wanted(agent: Agent, intent: Intent) -> bool:
    if intent.skill is not None and skill_named(agent, intent.skill) is None:
        return False
    return not intent.tags or any(tag in intent.tags for skill in agent.skills for tag in skill.tags)


def _reason(best: Candidate, near: list[Candidate]) -> str:
    if len(near) == 1:
        return best.match.reason
    others = ", ".join(repr(one.agent.name) for one in near if one is not best)
    return f"{best.match.reason}; as good as {others}, chosen for being {best.state}"


def _lost(one: Candidate, best: Candidate) -> str:
    """Why another got the message."""
    if one.why_not:
        return one.why_not
    behind = best.match.score - one.match.score
    if behind > NEAR:
        return f"{one.match.reason}; {behind:.2f} behind"
    if one.readiness[:4] == best.readiness[:4]:
        return f"{one.match.reason}; nearly the same, and not the first"
    return f"{one.match.reason}; nearly the same, but {one.state}"


def _view(one: Candidate, reason: str) -> dict[str, Any]:
    view = {"agent": one.agent.name, "score": one.match.score, "status": one.agent.status, "reason": reason}
    if one.match.skill is not None:
        view["skill"] = one.match.skill
    return view
