"""The page with its style sheets and scripts, as they are in `amygdala_tl/web/`. It is not private, and asks this server only."""

from collections.abc import Iterator
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from amygdala_tl.web.inline import asset

_FOLDERS = ("", "live/")
_KINDS = {".js": "text/javascript", ".css": "text/css"}
_POLICY = (
    # Tokens carry their colour in a style attribute, and a saved conversation is a blob.
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes(folder: str) -> list[Route]:
    """Return the routes of the page and of what it loads, below `folder`, such as `/`."""
    paths = {folder: ("live/index.html", "text/html")}
    paths |= {f"{folder}web/{name}": (name, kind) for name, kind in _assets()}
    return [_route(path, asset(name), kind) for path, (name, kind) in paths.items()]


def _assets() -> Iterator[tuple[str, str]]:
    root = files("amygdala_tl.web")
    for folder in _FOLDERS:
        for each in root.joinpath(folder).iterdir():
            kind = _KINDS.get("." + each.name.rpartition(".")[2])
            if kind is not None:
                yield folder + each.name, kind


def _route(path: str, text: str, kind: str) -> Route:
    async def answer(request: Request) -> Response:
        return Response(text, media_type=kind, headers=_HEADERS)

    return Route(path, answer, methods=["GET"])
