"""How large the commits were since the start."""

from __future__ import annotations

from mq9_mcp.domain.spread import Spread

RECORDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000)
BYTES = (512, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216)


class Commits:
    """Records and bytes of each commit."""

    def __init__(self) -> None:
        self.records = Spread(RECORDS)
        self.bytes = Spread(BYTES)

    def add(self, records: int, size: int) -> None:
        """Count one commit."""
        self.records.add(records)
        self.bytes.add(size)
