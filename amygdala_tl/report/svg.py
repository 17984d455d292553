"""A sheet of SVG: lines, boxes, marks and text in pixels, for figures that need no browser."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from amygdala_tl.files import Kind, atomic_write_text
from amygdala_tl.kinds import text_with
from amygdala_tl.show import safe

Number = int | float
FIGURE = Kind("a figure of a report", text_with(r'\A<svg [^>]*class="amygdala-tl"'))
INK, MUTED, GRID, NULL, ACCENT, OTHER = "#1c1e22", "#585e67", "#e8e9ea", "#d9dbde", "#1c5d9f", "#c3c7cc"

LONGEST = 36
"""Characters of a name."""

_MARKS = {
    "circle": "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",
    "diamond": "M0,-5.5L5.5,0L0,5.5L-5.5,0z",
    "square": "M-4.2,-4.2h8.4v8.4h-8.4z",
    "triangle": "M0,-5L5,4H-5z",
    "cross": "M-3.5,-3.5L3.5,3.5M-3.5,3.5L3.5,-3.5",
}


@dataclass
class Sheet:
    """A drawing.

    Attributes:
        title: what it shows, for readers that do not see it.
        width, height: pixels.
        drawn: elements, the lowest first.
    """

    title: str
    width: int
    height: int
    drawn: list[str] = field(default_factory=list)

    def line(self, points: Sequence[tuple[Number, Number]], colour: str, width: Number = 1.0) -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def box(self, x: Number, y: Number, width: Number, height: Number, colour: str) -> None:
        """Fill a box with its upper left corner at x, y."""
        self.drawn.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{colour}"/>'
        )

    def mark(self, x: Number, y: Number, shape: str, colour: str, *, filled: bool = True) -> None:
        """Draw a mark of a shape: circle, diamond, square, triangle or cross."""
        look = f'fill="{colour if filled else "white"}" stroke="{colour}" stroke-width="1.5"'
        self.drawn.append(f'<path d="{_MARKS[shape]}" transform="translate({x:.1f} {y:.1f})" {look}/>')

    def text(self, x: Number, y: Number, said: str, colour: str = INK, anchor: str = "start", turn: int = 0) -> None:
        """Write a text in one line, turned by `turn` degrees, with its anchor at x, y."""
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.drawn.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{turned}>{escape(safe(said))}</text>'
        )

    def write(self, path: Path) -> None:
        """Write the drawing to a file; raises StorageError if another kind of file is in the way, or the disk refuses."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        look = 'font-family="system-ui, sans-serif" font-size="12"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="amygdala-tl" role="img" {size} {look}>'
        paper = '<rect width="100%" height="100%" fill="white"/>'
        lines = [head, f"<title>{escape(self.title)}</title>", paper, *self.drawn, "</svg>", ""]
        atomic_write_text(path, "\n".join(lines), FIGURE)


def short(name: str) -> str:
    """Return a name in one line of at most `LONGEST` characters."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}\u2026"
