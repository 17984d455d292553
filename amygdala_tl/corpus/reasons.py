"""Why texts are left out of a corpus, as a summary counts them, each with an example."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

OTHER_TYPE = "other type"
NO_VALID_SCORE = "no valid score"
SCORE_IGNORED = "score outside 0-10 (ignored)"
UNREAD_TAGS = "may hold a label that cannot be read"
BEHIND_TAGS = "text behind the last tag line"
NO_TEXT = "tag line without a text"
NO_EXAMPLE = "no example of any concept"
TOO_SHORT = "too short"
DUPLICATE = "duplicate text"
NOT_UNICODE = "not valid Unicode"

LONGEST_EXAMPLE = 60


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of what was left out, by reason, with the first example of each.

    Attributes:
        counts: reason -> number.
        examples: reason -> where, and what stood there.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, example: str = "", *, count: int = 1) -> None:
        """Count something that was left out."""
        self.counts[reason] += count
        if count and example:
            self.examples.setdefault(reason, shortened(example))

    def lines(self) -> Iterator[str]:
        """Yield `reason: count (such as ...)` for each reason that dropped something."""
        return tally_lines(self.counts, self.examples)


def tally_lines(counts: Mapping[str, int], examples: Mapping[str, str]) -> Iterator[str]:
    """Yield `reason: count (such as ...)` for each reason that dropped something."""
    for reason, count in counts.items():
        if count:
            yield f"{reason}: {count}" + (f" (such as {examples[reason]})" if reason in examples else "")


def shortened(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * LONGEST_EXAMPLE].split())
    return line if len(line) <= LONGEST_EXAMPLE else line[: LONGEST_EXAMPLE - 3] + "..."


def unusable(text: str, *, key: str = "", min_chars: int = 1, scoreless: bool = False) -> str | None:
    """Return the reason to drop a stripped text, if there is one: its length, its invalid tag line, or lone surrogates."""
    if len(text) < max(1, min_chars):  # an empty text has no token
        return TOO_SHORT
    if scoreless:
        return NO_VALID_SCORE
    try:
        (key + text).encode()  # a program may pass lone surrogates, which no file and no tokenizer accepts
    except UnicodeEncodeError:
        return NOT_UNICODE
    return None
