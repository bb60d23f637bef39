"""Property tests draw the same examples in every run; ``MQ9_EXAMPLES`` asks for so many new ones each."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same", derandomize=True, database=None, deadline=None, max_examples=100, print_blob=True
)
settings.register_profile(
    "many",
    database=None,
    deadline=None,
    max_examples=int(os.environ.get("MQ9_EXAMPLES", "100")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("many" if "MQ9_EXAMPLES" in os.environ else "same")

# A job in the background of a shell ignores Ctrl-C, and so would every program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
