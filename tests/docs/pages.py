"""The pages of the documentation, cut into their code blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("console", "python", "toml", "json", "text")

_BLOCK = re.compile(r"^(?:<!-- not run: (?P<why>.+?) -->\n)?```(?P<language>\S*)\n(?P<code>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: file that it is in.
        line: number of its first line in the file, from 1.
        language: what follows the fence.
        code: its lines.
        not_run: why it is not run, from the comment above it; None for a block that is run.
    """

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None

    @property
    def commands(self) -> list[str]:
        """What a console block types, without comments."""
        lines = re.findall(r"^\$ (.*)$", self.code, re.M)
        return [re.sub(r"\s{2,}# .*", "", line) for line in lines]

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """Path of a page below the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """Fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start("code")) + 1, found["language"], found["code"], found["why"])
        for found in _BLOCK.finditer(text)
    ]


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
