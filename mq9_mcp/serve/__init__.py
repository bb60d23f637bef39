"""The server process: one broker, every door, one port."""

from mq9_mcp.serve.server import make_app, run, serve

__all__ = ["make_app", "run", "serve"]
