"""mq9-mcp: a durable mailbox for every AI agent."""

import logging

__version__ = "0.1.0"

# A program that holds the broker itself decides what becomes of its log; without a word nothing is printed.
for _name in ("mq9", "mq9_mcp"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
