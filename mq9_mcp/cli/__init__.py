"""``mq9``: every command of the broker as noun and verb, and what people need beside them.

Words in, words out: nothing is decided here. What a command imports, it imports when it runs, so
that ``mq9 mailbox send`` starts fast.
"""

from mq9_mcp.cli.start import main

__all__ = ["main"]
