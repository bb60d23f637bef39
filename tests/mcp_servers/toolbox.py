"""A real MCP server: ``python toolbox.py FOLDER [PORT]``, on stdio or, with a port, over HTTP.

What its tools did stands in the folder, one line a call.
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel

FOLDER = Path(sys.argv[1])
READS = ToolAnnotations(read_only_hint=True)
PNG = base64.b64decode("iVBORw0KGgo=")
box = MCPServer("Hotel Desk", version="2.1", instructions="Books hotels and tells the weather.")


class Booking(BaseModel):
    """What was booked."""

    city: str
    nights: int
    price: float


def note(line: str) -> None:
    """Tell the test."""
    with (FOLDER / "calls").open("a") as calls:
        calls.write(line + "\n")


async def dry() -> None:
    """Painting takes for ever, unless the test has made a file before it began."""
    if not (FOLDER / "painted").exists():
        await anyio.Event().wait()


@box.tool(title="Weather report", annotations=READS)
def weather(city: str, unit: str = "C") -> str:
    """Tell the weather in a city."""
    note(f"weather {city} {unit}")
    return f"sunny in {city}, 21 {unit}"


@box.tool(structured_output=True)
def book(city: str, nights: int) -> Booking:
    """Book a hotel room in a city for some nights."""
    note(f"book {city} {nights}")
    return Booking(city=city, nights=nights, price=80.5 * nights)


@box.tool(structured_output=False)
def picture() -> list[Any]:
    """Show the hotel."""
    return ["the front", Image(data=PNG, format="png")]


@box.tool()
def cancel_booking(number: str) -> str:
    """Cancel a booking."""
    raise ToolError(f"there is no booking {number}")


async def _paint(context: Context, name: str) -> str:
    note(f"{name} began")
    try:
        await context.report_progress(1, 4, "scraped")
        await dry()
    except BaseException:
        note(f"{name} stopped")
        raise
    await context.report_progress(4, 4)
    note(f"{name} ended")
    return "painted"


@box.tool()
async def paint(wall: str, context: Context) -> str:
    """Paint a wall, which takes its time."""
    return await _paint(context, f"paint {wall}")


@box.tool(annotations=ToolAnnotations(idempotent_hint=True))
async def repaint(wall: str, context: Context) -> str:
    """Give a wall the colour that it should have."""
    return await _paint(context, f"repaint {wall}")


@box.tool(annotations=READS)
async def hire(name: str, context: Context) -> str:
    """Have one more tool from now on."""

    def greet() -> str:
        return f"{name} at your service"

    box.add_tool(greet, name=f"ask_{name}", description=f"Ask {name}, who knows the lake.")
    await context.notify_tools_changed()
    return "hired"


if __name__ == "__main__":
    (FOLDER / f"pid-{os.getpid()}").touch()
    (FOLDER / "environment").write_text("\n".join(sorted(os.environ)))
    print("the desk is open", file=sys.stderr)
    if len(sys.argv) > 2:
        box.run("streamable-http", port=int(sys.argv[2]))
    else:
        box.run("stdio")
