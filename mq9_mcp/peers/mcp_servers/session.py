"""One connection to one server, held by a task of its own: its tools, calls of them, its end.

The SDK's streams end well only in the task that opened them, and not by its cancellation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from mq9_mcp import __version__
from mq9_mcp.domain.limits import limit
from mq9_mcp.peers.pinned import OutOfReach
from mq9_mcp.peers.transport import Ourselves

START_S = limit("mcp_start_s")
TOOLS_MAX = limit("card_skills_max")
CLOSE_S = 5.0  # a server gets so long to say good-bye
AGAIN_S = 5.0  # before a lost stream of changes is opened anew
_BROKEN = ("Server returned an error response", "Session terminated")  # the SDK's words for HTTP's
log = logging.getLogger("mq9.mcp_servers")
Streams = AbstractAsyncContextManager[Any]


class Lost(Exception):
    """The server cannot be asked, or gave no answer. ``sent``: it may have got the call."""

    def __init__(self, why: str, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class Refusal(Exception):
    """The server answered that it will not; the text is its own."""


class Session:
    """A connection. ``tools`` by name; ``changed`` is set when the server says that they are others now."""

    def __init__(self, streams: Callable[[Callable[[], None]], Streams], mode: str) -> None:
        self.tools: dict[str, types.Tool] = {}
        self.info: types.Implementation | None = None
        self.instructions = ""
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.why = "it ended"
        self._client = Client(
            _Transport(streams, self._gone),
            mode=mode,
            message_handler=self._heard,
            client_info=types.Implementation(name="mq9-mcp", version=__version__),
            cache=None,
        )
        self.refused = False  # it was there, and would not begin
        self._end_it = asyncio.Event()
        self._scope = anyio.CancelScope()
        self._ready = asyncio.Event()
        self._run = asyncio.create_task(self._hold(), name="mq9-mcp-server")

    async def ready(self) -> None:
        """Return once it has told its tools; raises ``Lost`` if it does not in time."""
        ready, ended = (asyncio.ensure_future(one.wait()) for one in (self._ready, self.ended))
        try:
            await asyncio.wait({ready, ended}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
            if not self._ready.is_set():
                why = self.why if self.ended.is_set() else f"it told no tools within mcp_start_s, {START_S} s"
                self._end()
                raise Lost(why, sent=False)
        except asyncio.CancelledError:
            self._end()
            raise
        finally:
            ready.cancel()
            ended.cancel()

    async def close(self) -> None:
        """End the connection, and a program that stands behind it."""
        self._end()
        await asyncio.wait({self._run}, timeout=CLOSE_S)
        self._scope.cancel()
        await asyncio.wait({self._run})

    async def list(self) -> None:
        """Learn the tools anew."""
        self.changed.clear()
        found: dict[str, types.Tool] = {}
        cursor: str | None = None
        try:
            while True:
                page = await self._client.list_tools(cursor=cursor)
                found |= {tool.name: tool for tool in page.tools}
                cursor = page.next_cursor
                if cursor is None or len(found) > TOOLS_MAX or not page.tools:
                    break
        except (MCPError, ValidationError) as error:
            raise Lost(f"it does not list its tools: {_words(error)}", sent=False) from error
        self.tools = found

    async def call(self, tool: str, arguments: dict[str, Any], progress: ProgressFnT) -> types.CallToolResult:
        """Call a tool. Whoever cancels this has the server told. Raises ``Lost`` and ``Refusal``."""
        if self._end_it.is_set():
            raise Lost(self.why, sent=False)
        try:
            return await self._client.call_tool(tool, arguments, progress_callback=progress)
        except MCPError as error:
            if error.code == types.CONNECTION_CLOSED or error.message in _BROKEN:
                self._end()
                raise Lost("the connection broke", sent=error.message != _BROKEN[1]) from error
            raise Refusal(error.message) from error
        except (ValidationError, RuntimeError) as error:
            raise Refusal(f"its answer is none that can be read: {type(error).__name__}") from error

    # -- the task that holds it

    async def _hold(self) -> None:
        try:
            with self._scope:
                await self._talk()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # what the SDK's groups of tasks hold, whatever it is
            cause = _inner(error)
            self.why, self.refused = _words(cause), isinstance(cause, MCPError)
            log.debug("an MCP server: %s", self.why, exc_info=error)
        finally:
            self._end_it.set()
            self.ended.set()

    async def _talk(self) -> None:
        async with self._client as client:
            self.info, self.instructions = client.server_info, client.instructions or ""
            await self.list()
            self._ready.set()
            listening = asyncio.create_task(self._listen(client), name="mq9-mcp-listen")
            try:
                await self._end_it.wait()
            finally:
                listening.cancel()
                await asyncio.wait({listening})

    async def _listen(self, client: Client) -> None:
        """Hear of changes on connections of today; older ones tell them unasked."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        while True:
            try:
                async with client.listen(tools_list_changed=True) as events:
                    async for _ in events:
                        self.changed.set()
            except SubscriptionLost:
                pass
            except Exception:  # it has no such stream; or the connection ends, which others notice
                return
            await asyncio.sleep(AGAIN_S)
            self.changed.set()  # what was said meanwhile was not heard

    async def _heard(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.changed.set()

    def _gone(self) -> None:
        """The server says nothing more."""
        self.why, self.refused = "the program ended", not self._ready.is_set()
        self._end()

    def _end(self) -> None:
        self._end_it.set()
        if not self._ready.is_set():
            self._scope.cancel()


class _Transport:
    """The streams as the SDK's client takes them; ``ended`` is told when they say no more."""

    def __init__(self, streams: Callable[[Callable[[], None]], Streams], ended: Callable[[], None]) -> None:
        self._streams = streams(ended)

    async def __aenter__(self) -> Any:
        return await self._streams.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._streams.__aexit__(*error)


def _inner(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _words(error: BaseException) -> str:
    """Why, in words that quote nothing that the server wrote but its JSON-RPC error."""
    if isinstance(error, Lost):
        return str(error)
    if isinstance(error, Ourselves):
        return "its address is this broker's own"
    if isinstance(error, OutOfReach):
        return (
            "its address is private, loopback or link-local; "
            "the operator can allow its network with the setting card_networks"
        )
    if isinstance(error, FileNotFoundError | PermissionError):
        return "the program cannot be started: there is none of that name that may be run"
    if isinstance(error, MCPError):
        return f"it refuses: {error.message[:200]}"
    return f"it cannot be reached: {type(error).__name__}"
