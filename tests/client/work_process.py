"""A worker in a process of its own: stores a checkpoint, says so, and works on until it is killed."""

from __future__ import annotations

import asyncio
import sys

from mq9_mcp.client import Job, Mq9Client


async def main(url: str) -> None:
    """Work on ``jobs``; the first line printed is the lease."""

    async def handle(job: Job) -> None:
        await job.checkpoint({"weighed": ["Tom"]})
        print(job.message["lease"], flush=True)
        await asyncio.Event().wait()

    async with Mq9Client(url, agent="anna") as client:
        await client.work("jobs", handle, lease_s=1).wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
