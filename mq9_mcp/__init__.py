"""mq9-mcp: a durable mailbox for every AI agent."""

__version__ = "0.1.0"
