"""MCP servers: which may be reached, one connection to one, and the card of what it offers.

The SDK is imported with the first server, in a thread: a broker without one never pays for it.
"""
