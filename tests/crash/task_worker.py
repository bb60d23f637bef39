"""A worker in a process of its own that takes a task and tells how far it is: ``task_worker NAME``."""

from __future__ import annotations

import json
import sys

from tests.crash.line import Line


def main(name: str) -> None:
    """Print the lease once the checkpoint is acknowledged, then work on until killed."""
    line = Line(name)
    [message] = line.call("mailbox_fetch", mailbox="jobs", wait_s=50, lease_s=40)["messages"]
    work = {"task": message["task"], "lease": message["lease"]}
    line.call("task_update", **work, checkpoint={"page": 7}, progress={"done": 7}, lease_s=40)
    print(json.dumps(work), flush=True)
    sys.stdin.read()
    line.close()


if __name__ == "__main__":
    main(sys.argv[1])
