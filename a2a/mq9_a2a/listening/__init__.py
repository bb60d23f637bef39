"""An ``AgentExecutor`` of the A2A SDK behind a mailbox: it is called for every task, and serves no HTTP.

This stands above the Python client, and the rest of the package does not know it.
"""

from mq9_a2a.listening.listener import Listener, listen, run

__all__ = ["Listener", "listen", "run"]
