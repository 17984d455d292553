"""Tools of an MCP server: which it has, and what a call of one answers."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from amygdala_tl.errors import ServerRefused
from amygdala_tl.memory.jsonrpc import JsonObject
from amygdala_tl.memory.session import Session, header_value

Page = TypeVar("Page")
Cursor = str | int
_CURSOR_FIELDS = ("nextCursor", "next_cursor", "cursor")
_HEADER_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool that a server lists.

    Attributes:
        name: what it is called by.
        required: the arguments that its schema demands.
        mirrored: argument -> header that must repeat it (`x-mcp-header` in the schema, protocol 2026-07-28).
    """

    name: str
    required: frozenset[str]
    mirrored: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool answered.

    Attributes:
        value: the structured content, or else the text read as JSON, or else the text.
        text: the text blocks, joined by newlines.
        cursor: where the next page starts, None on the last one.
    """

    value: object
    text: str
    cursor: Cursor | None


def list_tools(session: Session) -> dict[str, Tool]:
    """Every tool of the server by name, all pages of `tools/list`.

    Raises:
        ServerRefused: the server has no tools, or its pages do not end.
        ServerUnreachable: see `Session.request`.
    """

    def fetch(cursor: Cursor | None) -> tuple[list[Tool], Cursor | None]:
        result = session.request("tools/list", {} if cursor is None else {"cursor": cursor})
        listed = result.get("tools")
        entries = listed if isinstance(listed, list) else []
        return [_tool(entry) for entry in entries if isinstance(entry, dict)], _cursor(result)

    return {tool.name: tool for page in pages(session, "tools/list", fetch) for tool in page}


def call_tool(session: Session, tool: Tool, arguments: Mapping[str, object]) -> ToolAnswer:
    """Call a tool.

    Raises:
        ServerRefused: the tool failed (`isError`, which comes with HTTP 200), with the text that it gave.
        ServerUnreachable: see `Session.request`.
    """
    headers = {
        header: header_value(_as_header(arguments[name]))
        for name, header in tool.mirrored.items()
        if arguments.get(name) is not None
    }
    result = session.request("tools/call", {"name": tool.name, "arguments": dict(arguments)}, headers)
    texts = _texts(result)
    if result.get("isError") is True:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise ServerRefused(
            f"the server's tool {tool.name}({given}) failed",
            label=session.wire.label,
            got=session.wire.quote(" ".join(texts) or "no reason given"),
            remedy="check the server's log and its data",
        )
    value = _value(result.get("structuredContent"), texts)
    cursor = (_cursor(value) if isinstance(value, dict) else None) or _cursor(result)
    return ToolAnswer(value, "\n".join(texts), cursor)


def pages(session: Session, what: str, fetch: Callable[[Cursor | None], tuple[Page, Cursor | None]]) -> Iterator[Page]:
    """Fetch page after page until one names no next cursor.

    Raises:
        ServerRefused: a cursor came a second time, so that the pages would never end.
    """
    seen: set[Cursor] = set()
    cursor: Cursor | None = None
    while True:
        page, cursor = fetch(cursor)
        yield page
        if cursor is None:
            return
        if cursor in seen:
            raise ServerRefused(
                f"the pages of {what} do not end: the same cursor came twice",
                label=session.wire.label,
                got=session.wire.quote(cursor),
                remedy="mend the server's paging",
            )
        seen.add(cursor)


def _tool(entry: JsonObject) -> Tool:
    schema = entry.get("inputSchema")
    schema = schema if isinstance(schema, dict) else {}
    required = schema.get("required")
    properties = schema.get("properties")
    mirrored = {
        name: f"Mcp-Param-{token}"
        for name, sub in (properties.items() if isinstance(properties, dict) else ())
        if isinstance(sub, dict)
        and isinstance(token := sub.get("x-mcp-header"), str)
        and _HEADER_TOKEN.fullmatch(token)
    }
    demanded = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    return Tool(str(entry.get("name", "")), frozenset(demanded), mirrored)


def _as_header(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _texts(result: JsonObject) -> list[str]:
    # A text block has its text, an embedded resource has it one level down.
    content = result.get("content")
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    found = [(block["resource"] if isinstance(block.get("resource"), dict) else block).get("text") for block in blocks]
    return [text for text in found if isinstance(text, str)]


def _value(structured: object, texts: list[str]) -> object:
    if isinstance(structured, dict) and structured.keys() == {"result"}:
        return structured["result"]  # the SDKs' wrapping of a value that is no object
    if structured is not None:
        return structured
    try:
        # Older SDKs answer a list with one block an item.
        read = [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        return "\n".join(texts)
    return read[0] if len(read) == 1 else read


def _cursor(holder: JsonObject) -> Cursor | None:
    for field in _CURSOR_FIELDS:
        value = holder.get(field)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return value
    return None
