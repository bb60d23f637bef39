"""A2A in front of a broker: the door, and ``listen``, which lets an executor work behind a mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mq9_a2a.listening import Listener, listen, run

__all__ = ["Listener", "listen", "run"]


def __getattr__(name: str) -> Any:
    """``listen`` and ``run``, imported when somebody wants them: the SDK's server side takes a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mq9_a2a import listening

    return getattr(listening, name)
