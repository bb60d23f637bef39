"""The settings of ``mq9 serve``, each once: flags, ``MQ9_*``, the TOML file and the docs read this table."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct
from platformdirs import user_data_path


class Settings(Struct, kw_only=True, frozen=True):
    """What one server process is told."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 9009


def default_data() -> Path:
    """The platform's user data directory (contract, section 11)."""
    return user_data_path("mq9", appauthor=False)
