"""Tag lines: a note's own labels.

The agents that tend a memory graph end each note with one line such as `warmth:9 clarity:10`. The line is a label, not
prose. It is parsed and cut off, because it would show the model the answer.

The grammar: the last non-blank line, if it consists only of `name:score` pairs with spaces or commas between them. A name
consists of letters, digits, `_` and `-` with at least one letter, so `10:30` is a time and not a tag. A score is a number
0-10. A single word that is not a pair makes the whole line prose.
"""

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from amygdala_tl.names import fold_name

LOWEST_SCORE = 0.0
HIGHEST_SCORE = 10.0

_SEPARATORS = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class TagLine:
    """The tags of one note.

    Attributes:
        scores: case-folded name -> score in 0..10, in the order of the line. A name given twice keeps its last
            usable score, as a correction.
        ignored: the pairs, as written, with a score outside 0..10 or `nan`.
    """

    scores: Mapping[str, float]
    ignored: tuple[str, ...] = ()


def split_tag_line(content: str) -> tuple[str, TagLine | None]:
    """Split a note, with any line ends, into its text without the tag line, right-stripped, and the tag line or None.

    Only one line is a tag line: a second line of pairs above it stays in the text.
    """
    body = content.rstrip()
    start = max(body.rfind("\n"), body.rfind("\r")) + 1
    tags = _parse(body[start:])
    return (body, None) if tags is None else (body[:start].rstrip(), tags)


def _parse(line: str) -> TagLine | None:
    tokens = [token for token in _SEPARATORS.split(line) if token]
    scores: dict[str, float] = {}
    ignored: list[str] = []
    for token in tokens:
        name, _, written = token.partition(":")
        score = _number(written)
        if score is None or not _is_name(name):
            return None
        if LOWEST_SCORE <= score <= HIGHEST_SCORE:
            scores[fold_name(name)] = score
        else:  # also nan, which compares false to everything
            ignored.append(token)
    return TagLine(scores, tuple(ignored)) if tokens else None


def _number(written: str) -> float | None:
    # float() also accepts `1_0` and digits of other scripts.
    if not written.isascii() or "_" in written:
        return None
    try:
        score = float(written)
    except ValueError:
        return None
    return math.fabs(score) if score == 0 else score  # -0 is 0


def _is_name(name: str) -> bool:
    # Marks (M*) belong to the letters before them: Hindi and decomposed Vietnamese need them.
    kinds = [unicodedata.category(character)[0] for character in name if character not in "_-"]
    return "L" in kinds and set(kinds) <= {"L", "M", "N"}
