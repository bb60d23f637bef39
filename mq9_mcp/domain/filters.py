"""Which messages a reader wants: any, all, none of some tags, a priority and above, one session."""

from __future__ import annotations

from msgspec import Struct

from mq9_mcp.domain.commands import TIERS, MailboxFetch
from mq9_mcp.domain.events import Mail
from mq9_mcp.domain.names import own_session, read_own_session


class Filter(Struct, frozen=True):
    """A reader's wish. All its conditions must hold together."""

    any_of: frozenset[str] = frozenset()
    all_of: frozenset[str] = frozenset()
    none_of: frozenset[str] = frozenset()
    lowest_tier: int = len(TIERS) - 1
    session: str | None = None
    own_message: int | None = None  # the message whose own session it is
    everything: bool = True  # no condition but the tier

    def accepts(self, mail: Mail) -> bool:
        """True if ``mail`` fits, its tier aside."""
        if self.everything:
            return True
        if self.session is not None and self.session != (mail.session or own_session(mail.id)):
            return False
        tags = mail.tags or ()
        if self.any_of and self.any_of.isdisjoint(tags):
            return False
        return self.all_of.issubset(tags) and self.none_of.isdisjoint(tags)


_TIER_FILTERS = {priority: Filter(lowest_tier=tier) for tier, priority in enumerate(TIERS)}


def filter_of(command: MailboxFetch) -> Filter:
    """The filter that a fetch asks for."""
    if not (command.tags_any or command.tags_all or command.tags_none or command.session):
        return _TIER_FILTERS[command.priority_min]
    return Filter(
        any_of=frozenset(command.tags_any),
        all_of=frozenset(command.tags_all),
        none_of=frozenset(command.tags_none),
        lowest_tier=TIERS.index(command.priority_min),
        session=command.session,
        own_message=read_own_session(command.session) if command.session else None,
        everything=False,
    )
