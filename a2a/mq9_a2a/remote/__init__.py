"""Agents of A2A that are elsewhere: their mail is delivered to them, and what becomes of it is mirrored here.

This stands above the Python client's worker, and the door does not know it.
"""

from mq9_a2a.remote.agent import RemoteAgents

__all__ = ["RemoteAgents"]
