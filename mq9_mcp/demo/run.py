"""Run the demo: a data directory, the scenes, what held, and where to look."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from mq9_mcp.demo.processes import Gone
from mq9_mcp.demo.scenes import SCENES
from mq9_mcp.demo.story import Story

LONGEST_S = 240
OK, FAILED = 0, 1


def run_demo(keep: Path | None = None, say: Callable[[str], None] = print) -> int:
    """Tell the whole story; the exit code. An interrupt ends every process and removes what was made."""
    home = keep or Path(tempfile.mkdtemp(prefix="mq9-demo-"))
    story = Story(home / "data", say)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends us ends our programs
    try:
        return asyncio.run(_tell(story))
    except KeyboardInterrupt:
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


async def _tell(story: Story) -> int:
    story.say(
        f"Real programs, real kills, letters of real people; every promise is checked. Data: {story.home}"
    )
    started = time.monotonic()
    fault = ""
    try:
        story.folder.parent.mkdir(parents=True, exist_ok=True)
        async with asyncio.timeout(LONGEST_S):
            for scene in SCENES:
                await scene(story)
    except TimeoutError:
        fault = f"the story was not over after {LONGEST_S} s"
    except (Gone, OSError) as error:
        fault = f"the story ended early: {error}"
    except Exception as error:  # a fault, of the demo or of what it shows
        fault = f"the story ended early: {error!r}"
        traceback.print_exc()
    finally:
        await story.end()
    return _close(story, fault, time.monotonic() - started)


def _close(story: Story, fault: str, took_s: float) -> int:
    """What held, or what did not."""
    story.say("")
    broken = [*story.failed, *([fault] if fault else [])]
    if broken:
        story.say(f"{len(broken)} of {story.checked + bool(fault)} promises did not hold:")
        for one in broken:
            story.say(f"  {one}")
        story.say(f"What happened is in {story.home}; {_program()} doctor {story.shown} looks at the data.")
        return FAILED
    story.say(f"All {story.checked} promises held, in {took_s:.0f} s. Look for yourself:")
    for line in _ways_to_look(story):
        story.say(f"  {line}")
    story.say(f"Next: docs/tutorial/first-hour.md, examples/agents, {_program()} config claude-code.")
    return OK


def _ways_to_look(story: Story) -> tuple[str, ...]:
    data, mq9 = f"--data {story.shown}", _program()
    return (
        f"{mq9} daemon start {data}",
        f"{mq9} task get {story.task} --history 50 {data}",
        f"{mq9} mailbox query garage {data}",
        f"{mq9} mailbox query interpreter {data}",
        f"{mq9} journal {story.shown}",
        f"{mq9} daemon stop {data}",
        f"rm -r {story.shown_home}",
    )


def _program() -> str:
    """``mq9`` as the reader has called it."""
    called = sys.argv[0]
    if Path(called).name != "mq9" or shutil.which("mq9") == called:
        return "mq9"
    return shlex.quote(called)
