"""Agent cards: an A2A 1.0 AgentCard or the short form, checked field by field, kept as an AgentCard.

A full card is kept as it came, with fields that nobody here knows: its signature covers them. The short
form becomes a card whose ``supportedInterfaces`` are left to the door that serves it. The card of an agent
made of an MCP server is written by the broker, and its extension names the server: no other card may.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from mq9_mcp.domain.errors import Refused
from mq9_mcp.domain.limits import limit
from mq9_mcp.domain.names import ADDRESS_ACCEPTED, BROKER_PREFIX, NAME_PATTERN, is_address
from mq9_mcp.domain.parts import check_json
from mq9_mcp.domain.registry import Skill

CARD_BYTES_MAX = limit("card_bytes_max")
SKILLS_MAX = limit("card_skills_max")
TAGS_MAX = limit("skill_tags_max")
EXAMPLES_MAX = limit("skill_examples_max")
MCP_SERVER = "urn:mq9:mcp:server:v1"  # the extension of a card made of an MCP server, the broker's own
MODES = ["text/plain", "application/json"]  # what a part of a message may always be
_SHOWN = 80

Label = Annotated[
    str, Meta(min_length=1, max_length=limit("card_label_characters_max"), pattern=NAME_PATTERN)
]
Words = Annotated[str, Meta(min_length=1)]
SkillTag = Annotated[str, Meta(min_length=1, max_length=limit("tag_characters_max"), pattern=NAME_PATTERN)]
Modes = Annotated[list[str], Meta(min_length=1)]
Object = dict[str, Any]


class ShortSkill(Struct, forbid_unknown_fields=True):
    """A skill of the short form."""

    name: Label
    description: Words
    tags: list[SkillTag] = []
    examples: list[str] = []


class ShortCard(Struct, forbid_unknown_fields=True):
    """The short form of a card."""

    name: Label
    description: Words
    skills: list[ShortSkill] = []


class FullSkill(Struct, rename="camel"):
    """``AgentSkill`` of A2A 1.0."""

    id: Label
    name: Label
    description: Words
    tags: list[SkillTag]
    examples: list[str] = []
    input_modes: list[str] = []
    output_modes: list[str] = []
    security_requirements: list[Object] = []


class Interface(Struct, rename="camel"):
    """``AgentInterface`` of A2A 1.0."""

    url: Words
    protocol_binding: Words
    protocol_version: Words
    tenant: str = ""


class Provider(Struct):
    """``AgentProvider`` of A2A 1.0."""

    url: Words
    organization: Words


class Extension(Struct):
    """``AgentExtension`` of A2A 1.0."""

    uri: str = ""
    description: str = ""
    required: bool = False
    params: Object | UnsetType = UNSET


class Capabilities(Struct, rename="camel"):
    """``AgentCapabilities`` of A2A 1.0."""

    streaming: bool = False
    push_notifications: bool = False
    extensions: list[Extension] = []
    extended_agent_card: bool = False


class Signature(Struct):
    """``AgentCardSignature`` of A2A 1.0."""

    protected: Words
    signature: Words
    header: Object | UnsetType = UNSET


class FullCard(Struct, rename="camel"):
    """``AgentCard`` of A2A 1.0, its JSON form."""

    name: Label
    description: Words
    supported_interfaces: Annotated[list[Interface], Meta(min_length=1)]
    version: Words
    capabilities: Capabilities
    default_input_modes: Modes
    default_output_modes: Modes
    skills: list[FullSkill]
    provider: Provider | UnsetType = UNSET
    documentation_url: str = ""
    icon_url: str = ""
    security_schemes: dict[str, Object] = {}
    security_requirements: list[Object] = []
    signatures: list[Signature] = []


class ServerCard(FullCard, rename="camel", kw_only=True):
    """What the broker wrote of an MCP server; its doors are those of the broker."""

    supported_interfaces: list[Interface] = []


class _KeptSkill(Struct):
    id: str
    name: str
    tags: tuple[str, ...] = ()


class _KeptCard(Struct):
    skills: list[_KeptSkill] = []


_encoder = msgspec.json.Encoder()
read_back = msgspec.json.Decoder().decode  # a card that was read, as plain values
_decode_kept = msgspec.json.Decoder(_KeptCard).decode
_FULL = {one.encode_name for one in msgspec.structs.fields(FullCard)}
_SHORT = {one.encode_name for one in msgspec.structs.fields(ShortCard)}
_OLD = {"url", "protocolVersion", "preferredTransport", "additionalInterfaces"}  # A2A 0.3
_PATH = re.compile(r" - at `\$(.*)`$")
_FIELD = re.compile(r"(?:missing required|contains unknown) field `(.*)`", re.DOTALL)
_OTHERS = re.compile(r"[^a-z0-9._-]+")
_STEP = re.compile(r"[^.\[\]]+")


def read_card(card: Object, argument: str) -> tuple[str, str]:
    """``(JSON of the card, its name)``; a refusal names the field at fault and ``argument``."""
    full = bool(card.keys() & ((_FULL - _SHORT) | _OLD))
    encoded = _encode(card, argument)
    made = argument == "mcp_server"
    read = _convert(card, ServerCard if made else FullCard if full else ShortCard, argument)
    _check_skills(list(read.skills), argument)
    if isinstance(read, FullCard) and not made:
        _check_extensions(read, argument)
    if isinstance(read, ShortCard):
        encoded = _encode(_expanded(read), argument)
    return encoded, read.name


def shown_card(card: str) -> Object:
    """A card that was read, as all may see it: how its MCP server is started is its owner's affair."""
    shown: Object = read_back(card)
    if (params := _server_params(shown)) is not None:
        params.pop("server", None)
    return shown


def server_of(card: Object) -> Object | None:
    """``{command, args?}`` or ``{url}`` of the MCP server that the agent was made of, else None."""
    params = _server_params(card)
    return params.get("server") if params is not None else None


def _server_params(card: Object) -> Object | None:
    for extension in card["capabilities"].get("extensions", ()):
        if extension.get("uri") == MCP_SERVER:
            params: Object = extension["params"]
            return params
    return None


def skills_of(card: str) -> tuple[Skill, ...]:
    """What discovery needs of the skills of a card that was read."""
    return tuple(Skill(one.id, one.name, one.tags) for one in _decode_kept(card).skills)


def address_of(name: str, argument: str) -> str:
    """The address that a card's name stands for: lower case, every run of other characters one ``-``."""
    address = _OTHERS.sub("-", name.lower()).strip("._-")
    if is_address(address) and not address.startswith(BROKER_PREFIX):
        return address
    raise Refused(
        "INVALID_ARGUMENT",
        f"{argument}.name: {name[:_SHOWN]!a} gives no address; accepted: a name from which one follows, "
        f"or name beside the card: {ADDRESS_ACCEPTED}",
        "pass name='...', the address of the agent",
    )


def _encode(card: Object, argument: str) -> str:
    check_json(card, argument)
    try:
        encoded = _encoder.encode(card)
    except UnicodeEncodeError as error:
        raise Refused("INVALID_ARGUMENT", f"{argument}: not valid Unicode: {error}") from None
    if len(encoded) > CARD_BYTES_MAX:
        raise Refused(
            "INVALID_ARGUMENT",
            f"{argument}: {len(encoded)} bytes encoded; card_bytes_max is {CARD_BYTES_MAX}",
            "describe the agent shorter, or give a documentationUrl",
        )
    return encoded.decode()


def _convert(card: Object, kind: type[FullCard] | type[ShortCard], argument: str) -> FullCard | ShortCard:
    try:
        return msgspec.convert(card, kind)
    except msgspec.ValidationError as error:
        raise _refusal(card, kind, str(error), argument) from None


def _refusal(card: Object, kind: type[Struct], text: str, argument: str) -> Refused:
    """msgspec's words with the field at fault and the value seen."""
    found = _PATH.search(text)
    path = found[1] if found else ""
    problem = _PATH.sub("", text)
    hint = (
        "accepted: an A2A 1.0 AgentCard, or name, description and skills of name, description, tags, examples"
    )
    if field := _FIELD.search(problem):
        what = "missing" if "missing" in problem else "unknown"
        if kind is FullCard and field[1] == "supportedInterfaces" and card.keys() & _OLD:
            hint = "this is a card of A2A 0.3: in 1.0 url and protocolVersion stand in supportedInterfaces"
        return Refused("INVALID_ARGUMENT", f"{argument}{path}.{ascii(field[1][:_SHOWN])[1:-1]}: {what}", hint)
    accepted = problem[0].lower() + problem[1:].replace("`", "")
    return Refused("INVALID_ARGUMENT", f"{argument}{path}: {_seen(card, path, problem)}; {accepted}", hint)


def _seen(card: Object, path: str, problem: str) -> str:
    value: Any = card
    for step in _STEP.findall(path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
    if "of length" in problem and isinstance(value, str | list):
        return f"{len(value)} {'characters' if isinstance(value, str) else 'items'}"
    shown = ascii(value[:_SHOWN] if isinstance(value, str) else value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."


def _check_skills(skills: list[FullSkill | ShortSkill], argument: str) -> None:
    _check_count(len(skills), f"{argument}.skills", "card_skills_max", SKILLS_MAX)
    ids: set[str] = set()
    for index, skill in enumerate(skills):
        where = f"{argument}.skills[{index}]"
        _check_count(len(skill.tags), f"{where}.tags", "skill_tags_max", TAGS_MAX)
        _check_count(len(skill.examples), f"{where}.examples", "skill_examples_max", EXAMPLES_MAX)
        key, field = (skill.id, "id") if isinstance(skill, FullSkill) else (skill.name, "name")
        if key in ids:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{where}.{field}: {key[:_SHOWN]!a} stands twice; accepted: each skill once",
            )
        ids.add(key)


def _check_extensions(card: FullCard, argument: str) -> None:
    """What starts a command on this machine is never taken from a card that a caller wrote."""
    for index, extension in enumerate(card.capabilities.extensions):
        if extension.uri == MCP_SERVER:
            raise Refused(
                "INVALID_ARGUMENT",
                f"{argument}.capabilities.extensions[{index}].uri: {MCP_SERVER} is the broker's own",
                "pass mcp_server={command, args} or mcp_server={url} in place of a card",
            )


def _check_count(count: int, where: str, name: str, most: int) -> None:
    if count > most:
        raise Refused("INVALID_ARGUMENT", f"{where}: {count} items; {name} is {most}", "give fewer")


def _expanded(card: ShortCard) -> Object:
    """The AgentCard that a short form stands for."""
    ids: set[str] = set()
    skills = []
    for skill in card.skills:
        base = id = _OTHERS.sub("-", skill.name.lower()).strip("._-") or "skill"
        number = 2
        while id in ids:
            id, number = f"{base}-{number}", number + 1
        ids.add(id)
        view: Object = {"id": id, "name": skill.name, "description": skill.description, "tags": skill.tags}
        if skill.examples:
            view["examples"] = skill.examples
        skills.append(view)
    return {
        "name": card.name,
        "description": card.description,
        "version": "1.0.0",
        "supportedInterfaces": [],
        "capabilities": {},
        "defaultInputModes": MODES,
        "defaultOutputModes": MODES,
        "skills": skills,
    }
