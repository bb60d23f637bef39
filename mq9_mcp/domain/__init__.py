"""The rules of the broker: pure functions from state and command to events, true with the power off.

Nothing here awaits, reads a clock, draws a random number or touches a file; time and fresh
identifiers come in with ``Ask``, so any run replays from its journal.
"""
