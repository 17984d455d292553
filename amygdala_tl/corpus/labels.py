"""The rules that make a text a positive or a negative example of a concept.

A text is a *positive* of a concept if its tag gives the concept a high score. It is a *negative* if the tag line does not
name the concept (or scores it at most `max_negative_score`) and the text does not mention it: a note that says "no warmth
today" is not a negative of warmth, since its words alone would teach the wrong thing. Scores in between make neither. A
text without a tag line is *neutral* and never a negative, since its concepts are unknown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from amygdala_tl.errors import InputError
from amygdala_tl.memory.tags import HIGHEST_SCORE, strict
from amygdala_tl.names import fold_name
from amygdala_tl.records import Split

# Scripts that do not separate words, or that attach particles to them: Thai to Tibetan, Myanmar, Khmer, kana, Han, Hangul.
_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"
)

Polarity = Literal["positive", "negative"]
POLARITIES: tuple[Polarity, ...] = ("positive", "negative")
SPLITS: tuple[Split, ...] = ("train", "heldout")


@dataclass(frozen=True, slots=True)
class LabelRules:
    """Rules that turn nodes into labelled texts.

    Attributes:
        min_positive_score: the lowest score of a positive.
        max_negative_score: the highest score that counts as absent.
        max_negative_mentions: a negative names the concept at most this many times.
        min_content_chars: shorter texts are dropped.
        max_examples_per_emotion: cap for each concept, polarity and split.
        min_examples: concepts with fewer positive or negative training texts are left out.
        heldout_fraction: expected share of groups that nothing is fitted on, 0 <= f < 1. Verdicts need none.
        seed: seed of the split and of the choice of examples.
        top_emotions: take this many of the most common tags; None takes all, unless `emotions` is given.
        emotions: names of further concepts, in any case.
        node_types: node types to read, as the graph names them or `journal`, `digest` and `pattern`; None reads all.

    Raises:
        InputError: a value is out of its range.
    """

    min_positive_score: float = 8.0
    max_negative_score: float = 0.0
    max_negative_mentions: int = 0
    min_content_chars: int = 40
    max_examples_per_emotion: int = 500
    min_examples: int = 5
    heldout_fraction: float = 0.0
    seed: int = 0
    top_emotions: int | None = None
    emotions: tuple[str, ...] | None = None
    node_types: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_split_rules(self.min_examples, self.heldout_fraction)
        high, low, most = self.min_positive_score, self.max_negative_score, self.max_examples_per_emotion
        _check("min_positive_score", high, 0 < high <= HIGHEST_SCORE, f"above 0, up to {HIGHEST_SCORE:g}")
        _check("max_negative_score", low, 0 <= low < high, f"from 0 to below min_positive_score ({high:g})")
        _check("max_negative_mentions", self.max_negative_mentions, self.max_negative_mentions >= 0, "0 or more")
        _check("min_content_chars", self.min_content_chars, self.min_content_chars >= 0, "0 or more")
        least = self.min_examples
        _check("max_examples_per_emotion", most, most >= least, f"at least min_examples ({least})")
        if self.top_emotions is not None:
            _check("top_emotions", self.top_emotions, self.top_emotions >= 1, "1 or more")
        if self.emotions is not None:
            _check("emotions", "no names", len(self.emotions) > 0, "at least one name")
            for name in self.emotions:
                _check("emotions", repr(name), _is_tag_name(name), "names of letters, digits, `_` and `-`")
        if self.node_types is not None:
            _check("node_types", "no types", len(self.node_types) > 0, "types such as journal,digest")


def check_split_rules(min_examples: int, heldout_fraction: float) -> None:
    """Check the rules that apply to every source of texts; raises InputError for a value out of its range."""
    _check("min_examples", min_examples, min_examples >= 1, "1 or more")
    _check("heldout_fraction", heldout_fraction, 0 <= heldout_fraction < 1, "from 0 to below 1")


def polarity(concept: str, text: str, scores: Mapping[str, float], rules: LabelRules) -> Polarity | None:
    """Return whether a text without its tag line is a positive or a negative example of a folded concept, or neither.

    The scores are those of its tag line, folded concept -> 0-10; a neutral text has none and is never an example.
    """
    if not scores:
        return None
    score = scores.get(concept)
    if score is not None and score >= rules.min_positive_score:
        return "positive"
    absent = score is None or score <= rules.max_negative_score
    return "negative" if absent and count_mentions(text, concept) <= rules.max_negative_mentions else None


def count_mentions(text: str, concept: str) -> int:
    """Count the mentions of a concept in a text: whole words in any case; `-` and `_` in the name also match spaces.

    A name in a script without spaces between words counts anywhere in the text.
    """
    first, pattern = _mention_pattern(concept)
    folded = _fold(text)
    # A plain substring search rules out nearly every pair, ten times faster than the expression.
    return len(pattern.findall(folded)) if first and first in folded else 0


@lru_cache(maxsize=4096)
def _mention_pattern(concept: str) -> tuple[str, re.Pattern[str]]:
    words = [word for word in re.split(r"[-_]+", fold_name(concept)) if word]
    body = r"[\s_-]+".join(re.escape(word) for word in words)
    # \b treats `_` as a letter and would miss the emphasis of markdown, _joy_.
    edge = rf"[^\W_{_UNSPACED}]"
    before = "" if re.match(f"[{_UNSPACED}]", body) else f"(?<!{edge})"
    after = "" if re.search(f"[{_UNSPACED}]$", body) else f"(?!{edge})"
    return (words[0] if words else ""), re.compile(before + body + after)


@lru_cache(maxsize=4)
def _fold(text: str) -> str:
    """Fold a text once for all concepts."""
    return fold_name(text)


def _is_tag_name(name: str) -> bool:
    """Say whether a name could be a tag; `quiet joy` could not, and would never match."""
    tag_line = strict(f"{name}:0")
    return tag_line is not None and list(tag_line.scores) == [fold_name(name)]


def _check(flag: str, got: object, holds: bool, need: str) -> None:
    if not holds:
        raise InputError("cannot be used", label=flag, got=got, need=need)
