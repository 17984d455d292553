"""The tools of an MCP server: the list of them, and what a call answers."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

import msgspec

from amygdala_tl.decode import decode
from amygdala_tl.errors import ServerRefused
from amygdala_tl.memory.session import Session, header_value

Page = TypeVar("Page")
Cursor = str | int
_CURSOR_FIELDS = ("nextCursor", "next_cursor", "cursor")
_HEADER_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Schema(msgspec.Struct, frozen=True):
    """The JSON schema of a tool's arguments."""

    required: tuple[str, ...] = ()
    properties: dict[str, Any] = {}


class Tool(msgspec.Struct, frozen=True, rename="camel"):
    """A tool that a server lists."""

    name: str
    input_schema: Schema = Schema()

    def mirrored(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers that must repeat arguments (`x-mcp-header` in the schema, protocol 2026-07-28)."""
        headers = {}
        for name, value in arguments.items():
            schema = self.input_schema.properties.get(name)
            token = schema.get("x-mcp-header") if isinstance(schema, dict) else None
            if value is not None and isinstance(token, str) and _HEADER_TOKEN.fullmatch(token):
                headers[f"Mcp-Param-{token}"] = header_value(str(value))
        return headers


class _ToolList(msgspec.Struct, rename="camel"):
    tools: list[Tool] = []
    next_cursor: Cursor | None = None


class _Block(msgspec.Struct):
    text: str | None = None
    resource: Optional["_Block"] = None  # an embedded resource has its text one level down


class _Result(msgspec.Struct, rename="camel"):
    content: list[_Block] = []
    structured_content: Any = None
    is_error: bool = False
    next_cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool answered: a value (the structured content, else the text read as JSON, else the text), the text blocks
    joined by newlines, and where the next page begins, if there is one.
    """

    value: Any
    text: str
    cursor: Cursor | None


def list_tools(session: Session) -> dict[str, Tool]:
    """List all tools of the server by name; raises as `pages` and `Session.request`."""

    def fetch(cursor: Cursor | None) -> tuple[list[Tool], Cursor | None]:
        listed = session.request("tools/list", {} if cursor is None else {"cursor": cursor}, _ToolList)
        return listed.tools, listed.next_cursor

    return {tool.name: tool for page in pages(session, "tools/list", fetch) for tool in page}


def call_tool(session: Session, tool: Tool, arguments: Mapping[str, Any]) -> ToolAnswer:
    """Call a tool.

    Raises:
        ServerRefused: the tool failed (`isError`, which comes with HTTP 200); the message quotes its text.
        MemoryGraphError: as `Session.request`.
    """
    params = {"name": tool.name, "arguments": arguments}
    result = session.request("tools/call", params, _Result, tool.mirrored(arguments))
    texts = [text for block in result.content if (text := (block.resource or block).text) is not None]
    if result.is_error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        what, said = f"the server's tool {tool.name}({given}) failed", " ".join(texts) or "no reason given"
        raise session.wire.refused(session.wire.quote(what), said, "check the server's log and its data")
    value = _value(result.structured_content, texts)
    fields = [value.get(field) for field in _CURSOR_FIELDS] if isinstance(value, dict) else []
    cursors = [one for one in (*fields, result.next_cursor) if isinstance(one, Cursor) and not isinstance(one, bool)]
    return ToolAnswer(value, "\n".join(texts), next((one for one in cursors if one != ""), None))


def pages(session: Session, what: str, fetch: Callable[[Cursor | None], tuple[Page, Cursor | None]]) -> Iterator[Page]:
    """Fetch page after page until one names no next cursor.

    Raises:
        ServerRefused: a cursor came a second time, or there are too many pages, so that they would never end.
    """
    limits = session.wire.limits
    until = time.monotonic() + limits.listing_seconds
    seen: set[Cursor] = set()
    cursor: Cursor | None = None
    number = 0
    while True:
        page, cursor = fetch(cursor)
        yield page
        if cursor is None or cursor == "":
            return
        seen.add(cursor)
        number += 1
        if len(seen) < number:
            why = "the same cursor came twice"
        elif number >= limits.pages:
            why = f"there are more than {limits.pages:,}"
        elif time.monotonic() > until:
            why = f"they have taken {limits.listing_seconds:g} s"
        else:
            continue
        problem = f"the pages of {session.wire.quote(what)} do not end: {why}"
        raise session.wire.refused(problem, cursor, "correct the server's paging")


def _value(structured: Any, texts: list[str]) -> Any:
    if structured is not None:  # the SDKs wrap a value that is not an object
        wrapped = isinstance(structured, dict) and structured.keys() == {"result"}
        return structured["result"] if wrapped else structured
    try:
        # Older SDKs answer a list with one block an item.
        read = [decode(text, object, label="", remedy="", error=ServerRefused) for text in texts]
    except ServerRefused:
        return "\n".join(texts)
    return read[0] if len(read) == 1 else read
