"""The lines of the live screen: the state as styled text that fits the given width.

Colours are the terminal's own sixteen, so that they suit dark and light themes, and characters carry the same information for
terminals without colours. Text from the model or a bundle is only shown: markup has no effect, and control characters are
replaced.
"""

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells, set_cell_size
from textual.content import Content

from amygdala_tl.live.feed import Waiting
from amygdala_tl.live.records import Served
from amygdala_tl.live.state import Bar, Chart, Piece, View

POSITIVE, NEGATIVE, QUIET, TROUBLE = "ansi_green", "ansi_magenta", "dim", "bold ansi_red"
_FULL, _PARTS, _NEGATIVE_BAR, _UNREAD_BAR, _MARK = "█", " ▏▎▍▌▋▊▉", "░", "·", "│"
_NUMBER = 7  # cells of a value with its sign and the space before it
_LONGEST_NAME = 24
_LONGEST_TROUBLE = 1000  # characters
_SHOWN = {"\n": "↵", "\t": "→", "\r": "␍"}
_UNSAFE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def visible(text: str) -> str:
    """Return `text` in one line, with `·` for control, format and unassigned characters."""
    return "".join(_SHOWN.get(one) or ("·" if unicodedata.category(one) in _UNSAFE else one) for one in text)


def fitted(text: str, width: int) -> str:
    """Return `text`, made visible, in exactly `width` cells, cut with an ellipsis."""
    shown = visible(text[: 4 * max(width, 1)])
    if cell_len(shown) > width > 1:
        return set_cell_size(shown, width - 1) + "…"
    return set_cell_size(shown, max(width, 0))


def header(
    served: Served | None, model: str, server: str, view: View, rate: float, tokens: int, width: int
) -> list[Content]:
    """Return two lines with the server and the view, in shorter words if the width is small.

    Before the server has answered, `served` is None; `rate` counts tokens per second, and `tokens` all of them so far.
    """
    name = visible(model[: max(width, 1)])
    room = max(0, width - cell_len(name) - 2)
    server = server if cell_len(server) <= room else server.partition("://")[2] or server
    first = Content.assemble((name, "bold"), "  " if name else "", (visible(server), QUIET))
    if served is None:
        return [first.truncate(width, ellipsis=True), Content("")]
    unit, when = _unit(served, view), "recent mean" if view.mean else "now"
    where = "all layers"
    if view.layer is not None:
        where = f"layer {served.layers[view.layer]} ({view.layer + 1}/{len(served.layers)})"
    short = f"{where}  {unit} {'mean' if view.mean else 'now'}  {rate:.0f} tok/s"
    middle = f"{where}  {unit}, {when}  {rate:.1f} tokens/s"
    second = Content(_longest((f"{middle}  {tokens:,} tokens", middle, short), width))
    return [first.truncate(width, ellipsis=True), second]


def trouble_lines(waiting: Waiting, width: int) -> list[Content]:
    """Return lines that say what is wrong and what to do."""
    said = {
        "unreachable": "server unreachable; trying again",
        "off": "readouts are off on this server; still asking",
        "key": "the server requires an API key; still asking",
    }[waiting.trouble]
    return [Content.styled(line, TROUBLE) for line in folded(said, width)] + [
        Content(line) for line in folded(f"{waiting.what[:_LONGEST_TROUBLE]}. To do: {waiting.remedy}.", width)
    ]


def folded(text: str, width: int) -> list[str]:
    """Return `text`, made visible, in lines of at most `width` cells, broken between words if possible."""
    lines = [""]
    for word in visible(text).split():
        joined = f"{lines[-1]} {word}".lstrip()
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines += chop_cells(word, max(width, 2))
    return lines if lines[0] else lines[1:] or lines


def chart_lines(chart: Chart, served: Served, view: View, width: int, height: int) -> list[Content]:
    """Return a title and as many of the strongest concepts as fit."""
    rows = chart.bars[: max(0, height - 1)]
    number = f"{len(rows)} of {len(chart.bars)}" if len(rows) < len(chart.bars) else f"all {len(rows)}"
    short = f"{number}, full bar {chart.scale:g} {_unit(served, view)}"
    lines = [rule(_longest((f"strongest concepts: {short}", short), width), width)]
    name, room = _columns([bar.concept for bar in chart.bars], width)
    return lines + [_bar_line(bar, name, room) for bar in rows]


def piece_lines(pieces: Sequence[Piece], concepts: Sequence[str], width: int, height: int) -> list[Content]:
    """Return a title and the last pieces of text, the newest last, each with its strongest concept."""
    name, room = _columns(concepts, width)
    shown = pieces[-(height - 1) :] if height > 1 else ()
    return [rule("last tokens", width)] + [_piece_line(piece, room, name) for piece in shown]


def _columns(concepts: Sequence[str], width: int) -> tuple[int, int]:
    """Return the widths of names and of what is beside them; all names count, shown or not, so that columns keep their place."""
    longest = max((cell_len(visible(concept[:_LONGEST_NAME])) for concept in concepts), default=0)
    name = max(4, min(longest, _LONGEST_NAME, width // 3))
    return name, max(0, width - name - 1 - _NUMBER)


def rule(title: str, width: int) -> Content:
    """Return a title followed by a line."""
    title = fitted(title, min(width, cell_len(title)))
    line = "─" * (width - cell_len(title) - 1)
    return Content.assemble((title, "bold"), (f" {line}" if line else "", QUIET))


def _bar_line(bar: Bar, name: int, width: int) -> Content:
    eighths = round(bar.length * width * 8)
    if not bar.read:
        drawn, style = _UNREAD_BAR * round(eighths / 8), QUIET
    elif bar.value < 0:
        drawn, style = _NEGATIVE_BAR * round(eighths / 8), NEGATIVE
    else:
        drawn, style = _FULL * (eighths // 8) + _PARTS[eighths % 8].strip(), POSITIVE
    drawn = set_cell_size(drawn, width)
    mark = width if bar.mark is None else min(round(bar.mark * width), width - 1)
    said = fitted(bar.concept, name), "" if bar.read else QUIET
    return Content.assemble(
        said, " ", (drawn[:mark], style), _MARK if 0 <= mark < width else "", (drawn[mark + 1 :], style),
        f"{number_of(bar.value):>{_NUMBER}}",
    )  # fmt: skip


def _piece_line(piece: Piece, text: int, name: int) -> Content:
    several = f"({piece.tokens} tokens) " if piece.tokens > 1 else ""
    tail = piece.text if not several else piece.text[-2 * max(text, 1) :]
    shown = fitted(several + tail, text)
    if piece.concept is None:
        return Content.assemble(shown, " ", (fitted("not computed", name + _NUMBER), QUIET))
    style = POSITIVE if piece.value >= 0 else NEGATIVE
    return Content.assemble(
        (shown, "bold" if piece.opens else ""), " ", (fitted(piece.concept, name), style),
        f"{number_of(piece.value):>{_NUMBER}}",
    )  # fmt: skip


def number_of(value: float) -> str:
    """Return a value with its sign in at most six characters; 0.0 has no sign."""
    if abs(value) < 999.95:
        said = f"{value:+.1f}"
        return said if said.strip("+-0.") else "0.0"
    return f"{value:+.0f}" if abs(value) < 99999.5 else f"{value:+.0e}".replace("e+0", "e").replace("e+", "e")


def _unit(served: Served, view: View) -> str:
    return "raw" if view.raw or not served.calibrated else "z"


def _longest(texts: Sequence[str], width: int) -> str:
    """Return the first of `texts` that fits, or the last one cut."""
    return next((text for text in texts if cell_len(text) <= width), fitted(texts[-1], width))
