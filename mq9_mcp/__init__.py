"""mq9-mcp: a durable mailbox for every AI agent."""

import logging

__version__ = "0.1.0"

# A program that holds the broker itself decides what becomes of its log; without a word nothing is printed.
# The client logs as "mq9_mcp.client": a handler that fails is seen in any program, unless it says otherwise.
logging.getLogger("mq9").addHandler(logging.NullHandler())
