"""``mq9-mcp``, the stdio process of an MCP host: thin, as every host starts its own, and none holds data."""

from mq9_mcp.bridge.main import main

__all__ = ["main"]
