"""Scores of texts as tables, and of tokens as coloured text."""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from amygdala_tl.report.grid import grid
from amygdala_tl.show import FULL_Z, shortened

if TYPE_CHECKING:
    import torch

    from amygdala_tl.readout.windows import Window

BAR_WIDTH = 12

_SHOWN = 36
"""Characters of a window that a table shows."""

_LONGEST = 600
"""Characters of a text that a table shows."""


def reading_table(
    texts: Sequence[str],
    scores: "torch.Tensor",
    concepts: Sequence[str],
    *,
    strongest: int,
    title: str,
    unread: Mapping[str, str] = {},
    windows: "Sequence[Sequence[Window] | None]" = (),
) -> RenderableType:
    """Show the strongest concepts of each text with bars, and the strongest windows of a long one.

    Args:
        texts: the texts that were read.
        scores: [text, concept], z; NaN for a text without readable tokens.
        concepts: names of the concept axis.
        strongest: number of concepts for each text.
        title: line above the table.
        unread: concept -> verdict, of concepts that nothing shows to be read; dimmed, with the verdict.
        windows: each concept's strongest window, for each text; None for a short one. A concept of a long text is
            as strong as its mean or its window, whichever is stronger.
    """
    width = max(map(len, concepts))

    def line(concept: str, value: float, window: "Window | None") -> Text:
        said = [] if window is None else [(f"\n  window {window.z:+.1f}: {_beginning(window.text)}", "dim")]
        if concept in unread:
            return Text.assemble((f"{concept:<{width}} {value:+.1f} ({unread[concept]})", "dim"), *said)
        return Text.assemble(f"{concept:<{width}} ", *_bar(value), f" {value:+.1f}", *said)

    table = grid(title=title, title_justify="left", show_header=False, padding=(0, 2, 0, 0))
    table.add_column("text", ratio=3, overflow="fold")
    table.add_column("concepts", no_wrap=True)
    for text, row, own in zip(texts, scores, windows or [None] * len(texts), strict=True):
        if row.isnan().any():
            bars = Text("nothing to read: give a longer text", style="dim")
        else:
            values = row.tolist()
            ranked = (
                values if own is None else [max(window.z, value) for window, value in zip(own, values, strict=True)]
            )
            order = sorted(range(len(concepts)), key=ranked.__getitem__, reverse=True)[:strongest]
            lines = (line(concepts[index], values[index], None if own is None else own[index]) for index in order)
            bars = Text("\n").join(lines)
        table.add_row(Text(shortened(text, _LONGEST)), bars)
        table.add_row("", "")
    return table


def coloured_tokens(
    pieces: Sequence[str],
    scores: "torch.Tensor",
    readable: "torch.Tensor",
    *,
    concept: str,
    where: str,
    unread: Mapping[str, str] = {},
) -> RenderableType:
    """Colour the background of each token by the z of one concept: red above the mean, blue below.

    Args:
        pieces: characters of each token.
        scores: [token] z.
        readable: [token], False for sinks, which get no colour.
        concept: of the scores.
        where: the layers of the scores, in words.
        unread: as in `reading_table`.
    """
    line = Text()
    for piece, score, fine in zip(pieces, scores.tolist(), readable.tolist(), strict=True):
        line.append(piece, style=_shade(score) if fine else "dim")
    shown = scores[readable]
    mean = f"mean z {float(shown.mean()):+.2f}" if len(shown) else "no readable token"
    named = f"{concept} ({unread[concept]})" if concept in unread else concept
    return Group(line, Text(f"{named}, {where}, {mean}", style="dim"))


def _beginning(text: str) -> str:
    """Return the first words of a window, in one line."""
    return shorten(text, _SHOWN, placeholder=" ...")


def _bar(value: float) -> list[tuple[str, str]]:
    filled = round(BAR_WIDTH * min(max(value, 0.0), FULL_Z) / FULL_Z)
    return [("\u2588" * filled, "green" if value >= 1.0 else "yellow"), ("\u00b7" * (BAR_WIDTH - filled), "dim")]


def _shade(score: float) -> str:
    strength = min(abs(score), FULL_Z) / FULL_Z
    if strength < 0.1:
        return ""
    low = round(255 * (1.0 - strength))
    colour = f"#ff{low:02x}{low:02x}" if score > 0 else f"#{low:02x}{low:02x}ff"
    return f"black on {colour}"
