"""MCP servers as agents: messages become calls of their tools, results become artifacts."""

from mq9_mcp.hosted.tools.agent import ToolServers

__all__ = ["ToolServers"]
