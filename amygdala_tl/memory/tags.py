"""Tag lines: a note's own labels.

The agents that tend a memory graph end each note with one line such as `warmth:9 clarity:10`. The line is a label, not
prose. It is parsed and cut off, because it would show the model the answer.

The grammar: a line that consists only of `name:score` pairs with spaces or commas between them. A name consists of letters,
digits, `_` and `-` with at least one letter, so `10:30` is a time and not a tag. A score is a number 0-10.

People and models also write `Joy: 9`, `**joy:9**`, `joy 9/10`, `{"joy": 9}` or `| joy | 9 |`. `near` reads such a line if it
means one thing only. `doubtful` finds lines that may hold labels but can be read in two ways; `notes.py` leaves those notes
out. Both take the names that the graph uses elsewhere: `joy 9` is a tag line where `joy` is a tag, and `Room 9` is prose.
"""

import math
import re
import unicodedata
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from itertools import islice
from typing import Literal

from amygdala_tl.names import fold_name

LOWEST_SCORE = 0.0
HIGHEST_SCORE = 10.0
LONGEST_LINE = 1000
"""Characters of the longest line that is read as tags, so that no expression runs over a whole book."""

_SEPARATORS = re.compile(r"[\s,]+")
_URL = re.compile(r"\b[\w+.-]{1,20}://\S+|\bwww\.\S+")
_MARKUP = re.compile(
    r"<!--|-->|</?[a-zA-Z][a-zA-Z0-9]{0,9}(?:\s[^<>]{0,80})?>|\[[ xX]\]|(?<!\S)==+(?=[^\s=])|(?<=[^\s=])==+(?!\S)"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
_ARROW = re.compile(r"\s*(?:[-=~\u2014\u2013]+>|[\u2192\u21d2\u21a6\u27a1\u2794\u279c\u27f6\u27f9])\s*")
_BULLET = re.compile(r"\s*(?:(?:[-\u2013\u2014+\u2022\u00b7]+|\d{1,2}[.)])\s+)*")
_COLONS = dict.fromkeys(map(ord, "\u2236\ua789\u02d0\u05c3\u205a\u16ec"), ":")
_INVISIBLE = {"Cf", "Cc"}
_DECORATION = {"So", "Sk", "Ps", "Pe", "Pi", "Pf", "Cs", "Co", "Cn"}
_QUOTES = frozenset("*\"'#@$\\~<>{}\u00b7\u2022")
_KEYWORD = r"(?:tags?|labels?|emotions?|feelings?|moods?|scores?|ratings?|sentiments?)"
_KEYWORDS = re.compile(rf"\b{_KEYWORD}\b", re.IGNORECASE)
_ABOUT_SCORES = frozenset({"name", "value", "score", "rating", "level", "intensity", "strength"})
"""Words beside a tag's name and its score where each has a field of its own: `{"name": "joy", "score": 9}`."""
_RATINGS = re.compile(
    r"(?:no(?:ne)?|low|mild|slight(?:ly)?|weak|some|medium|moderate(?:ly)?|high|strong(?:ly)?|intense|very|extremely|max(?:imum)?|"
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|out|of|percent|points|stars)",
    re.IGNORECASE,
)
_NAMED_VALUE = r"([^\s:=,;|]+)\s*[:=]\s*[^\s:=,;|]+"
_NAMED_VALUES = re.compile(rf"{_NAMED_VALUE}(?:[\s,;|]+{_NAMED_VALUE})*[\s,;|]*")
_CLOCKS_AND_DATES = re.compile(r"\d{1,4}(?:[:.-]\d{2})+\b|\d{1,2}\s?(?:am|pm|h)\b", re.IGNORECASE)
_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", '."', '!"', '?"')
_OF_TEN = re.compile(r"\d\s?/\s?10\b|\bout\s+of\s+(?:10|ten)\b", re.IGNORECASE)
_NEAR = 2
"""Words from the name of a tag to its score in a sentence: `joy at 9`."""
_SENTENCE = 12
"""Words of the longest last line in which numbers near names of tags are taken for their scores."""
_PREFIX = re.compile(rf"{_KEYWORD}(?:\s*[:=\u2013\u2014-])?\s+|(?:[^\W\d]++[ _-]?){{1,4}}\s?[:=]\s*", re.IGNORECASE)
_PAIR = re.compile(
    r"(?P<name>[^\s,;:=|/&]{1,100})"
    r"(?P<sign>\s{0,9}[:=]+\s{0,9}|\s{1,9}[-\u2013\u2014]\s{1,9}|\s{1,9})"
    r"(?P<score>[+-]?(?:\d{1,20}(?:[.,]\d{1,20})?|[.,]\d{1,20}))"
    r"(?P<scale>\s?/\s?10(?:[.]0)?(?![\d.,]*\d)|\s+out\s+of\s+10)?"
    r"(?![^\s,;|/&.!])",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"(?:[\s,;|/&.!+]|[-\u2013\u2014](?=\s)|\b(?:and|und|et|y|e|en)\b(?=\s+\w))*", re.IGNORECASE)
_INLINE = re.compile(r"(?<=[.!?\u2026\"')\u00bb\u201d])\s+(?=\S)|(?<=[\u3002\uff01\uff1f])\s*(?=\S)|(?=[\[({`<*])")


@dataclass(frozen=True, slots=True)
class TagLine:
    """The tags of one note.

    Attributes:
        scores: case-folded name -> score in 0..10, in the order of the lines. A name given twice keeps its last
            usable score, as a correction.
        ignored: the pairs, as written, with a score outside 0..10 or `nan`.
        unread: a line that may hold labels but cannot be read with certainty, else empty.
    """

    scores: Mapping[str, float]
    ignored: tuple[str, ...] = ()
    unread: str = ""

    def __add__(self, other: "TagLine") -> "TagLine":
        """Join two lines of one note; later scores win."""
        return TagLine({**self.scores, **other.scores}, self.ignored + other.ignored, self.unread or other.unread)


def strict(line: str) -> TagLine | None:
    """Read a line that follows the grammar exactly, else return None."""
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


def near(line: str, known: Container[str] = ()) -> TagLine | None:
    """Read a line that is nearly a tag line and means one thing only, else return None.

    Args:
        line: one line of a note.
        known: folded names of tags that the graph uses elsewhere; they decide `joy 9`, which could be `Room 9`.
    """
    if len(line) > LONGEST_LINE or not _has_digit(line):
        return None
    text = _without_cells(_plain(line.strip()))
    text = text[_end(_BULLET, text) :]
    prefix = _PREFIX.match(text)
    if (tags := _pairs(text, known)) is not None or prefix is None:
        return tags
    if fold_name(prefix[0].strip(" :=")) in known:  # `joy: calm: 8` has two readings
        return None
    return _pairs(text[prefix.end() :], known)


def inline(line: str, known: Container[str]) -> tuple[str, TagLine] | None:
    """Split a line that ends in tags behind a sentence or in brackets: `It was good. joy:9 calm:8`.

    The tags count if they follow the grammar, if the graph knows their names, or if there are at least two of them.
    """
    start = max(0, len(line) - LONGEST_LINE)
    if not _has_digit(line[start:]):
        return None
    for place in _INLINE.finditer(line, start):
        head, tail = line[: place.end()], line[place.end() :]
        tags = near(tail, known) if head.strip(" \t-*_`([{<") else None
        if tags is not None and is_sure(tail, tags, known):
            return head, tags
    return None


def is_sure(line: str, tags: TagLine, known: Container[str]) -> bool:
    """Say whether a line is a tag line beyond doubt, wherever it stands: `Attendees: 5` in a note need not be one."""
    names = [*tags.scores, *tags.ignored]
    return (
        len(names) > 1 or all(name in known for name in tags.scores) or strict(line.strip(" \t.[](){}`*")) is not None
    )


def doubtful(
    line: str,
    known: Container[str],
    edge: Literal["", "first", "last"] = "",
    *,
    headed: bool = False,
    tagged: bool = False,
) -> bool:
    """Say whether a line that is not a tag line may hold labels.

    In any line that is a known name with a score. At the edges of a note also a line of known names with words that announce or
    rate tags (`Tags: joy`, `mood: joy`). In the last line, too, known names with numbers and signs (`#joy #calm`, `joy 90%`,
    `joy: very high`), a pair at its end, and pairs that make up a third of it. In the last line of a note without tags, names
    alone (`joy, calm`), and ratings in a sentence (`I would say joy 9/10.`).

    Args:
        line: one line of a note.
        known: folded names of the graph's tags.
        edge: where the line stands in its note.
        headed: whether the line above announces tags, so that a name alone is one.
        tagged: whether the note has a tag line.
    """
    bare = "" if not edge else _URL.sub(" ", line[-LONGEST_LINE:])
    found = [] if not _has_digit(line) else list(_signed_pairs(_plain(_URL.sub(" ", line))))
    if any(fold_name(pair["name"]) in known for pair in found):
        return True
    if not edge or len(line) > LONGEST_LINE:
        return False
    end = _plain(bare)
    plain = end.strip(" .,;!|-")
    if _only_known(bare, plain, known, first=edge == "first", headed=headed, tagged=tagged):
        return True
    if edge == "first":
        return False
    tight = [
        pair for pair in found if pair["sign"].strip() and not pair["sign"].startswith(" ") and pair["sign"] in ":="
    ]
    words, length = len(plain.split()), len(end.rstrip(" .,;!|-"))
    if tight and (tight[-1].end() >= length or 3 * len(tight) >= words):
        return True
    if found and words <= 3 and found[-1].end() >= length:  # `quiet joy: 9`
        return True
    return _is_rating(plain) or (not tagged and _is_rated(bare, known))


def has_letters_or_digits(line: str) -> bool:
    """Say whether a line is more than a rule, a fence or another decoration."""
    return any(character.isalnum() for character in line)


def announces_tags(line: str) -> bool:
    """Say whether a line is a heading that names tags, moods or scores."""
    return is_heading(line) and _KEYWORDS.search(line) is not None


def is_heading(line: str) -> bool:
    """Say whether a line only announces tags: `Tags:`, `## Emotions`, `| emotion | score |`."""
    words = sum(1 for _ in islice(re.finditer(r"[^\W\d_]+", line), 5))  # the line may be a book
    if not 1 <= words <= 4 or _has_digit(line):
        return False
    plain = _plain(line).strip()
    return plain.endswith(":") or (bool(_KEYWORDS.search(line)) and not plain.endswith((".", "!", "?")))


def _pairs(text: str, known: Container[str]) -> TagLine | None:
    """Read a cleaned text that consists of pairs only."""
    scores: dict[str, float] = {}
    ignored: list[str] = []
    bare, rated, count, place = [], 0, 0, _end(_BETWEEN, text)
    while place < len(text):
        pair = _PAIR.match(text, place)
        name = pair["name"].strip("_-") if pair else ""
        if pair is None or not _is_name(name):
            return None
        score, folded = float(pair["score"].replace(",", ".")), fold_name(name)
        if not pair["sign"].strip():
            bare.append(folded)
            rated += pair["scale"] is not None
        if LOWEST_SCORE <= score <= HIGHEST_SCORE:
            scores[folded] = math.fabs(score) if score == 0 else score
        else:
            ignored.append(pair[0].strip())
        count, place = count + 1, pair.end() + _end(_BETWEEN, text[pair.end() :])
    certain = all(name in known for name in bare) or (count > 1 and rated == len(bare))
    return TagLine(scores, tuple(ignored)) if scores and certain else None


def _signed_pairs(plain: str) -> Iterator[re.Match[str]]:
    for pair in _PAIR.finditer(plain):
        score = float(pair["score"].replace(",", "."))
        if pair["sign"].strip() and _is_name(pair["name"]) and LOWEST_SCORE <= score <= HIGHEST_SCORE:
            yield pair


def _is_rating(plain: str) -> bool:
    """Say whether a text is one name with a score out of ten, which may be a page: `joy 9/10`, `page 9/10`."""
    pair = _PAIR.fullmatch(plain)
    return pair is not None and pair["scale"] is not None and _is_name(pair["name"])


def _only_known(line: str, plain: str, known: Container[str], *, first: bool, headed: bool, tagged: bool) -> bool:
    """Say whether a line has known names, and beside them numbers, signs and words of ratings only, and is no prose.

    Prose and titles may do with such words as well: `No joy.`, `Low energy`, `Pride 2024`, `Love, Joy`.
    """
    if _NAMED_VALUES.fullmatch(plain) and all(fold_name(name) in known for name in re.findall(_NAMED_VALUE, plain)):
        return True
    names = announced = numbers = ratings = called = 0
    for word in _words(line):
        if fold_name(word) in known:
            names += 1
        elif _KEYWORDS.fullmatch(word) or word.casefold() in _ABOUT_SCORES - {"name"}:
            announced += 1
        elif _has_digit(word):
            numbers += 1
        elif _RATINGS.fullmatch(word):
            ratings += 1
        elif word.casefold() == "name":
            called += 1
        else:
            return False
    if not names:
        return False
    if announced or headed:
        return True
    if first:
        return False
    symbols = any(unicodedata.category(character) == "So" for character in line)  # stars and faces
    if numbers or called or "#" in line or symbols or (ratings and any(sign in line for sign in ":=")):
        return True
    return names > 1 and not line.rstrip().endswith(_ENDS) and (ratings > 0 or not tagged)


def _is_rated(line: str, known: Container[str]) -> bool:
    """Say whether a short sentence rates a known name out of ten, or has a number from 0 to 10 behind two of them."""
    words = [fold_name(word) for word in _words(_CLOCKS_AND_DATES.sub(" ", line))]
    names = [place for place, word in enumerate(words) if word in known]
    if len(words) > _SENTENCE or not names:
        return False
    scores = [
        place for place, word in enumerate(words) if word.isdecimal() and len(word) < 3 and int(word) <= HIGHEST_SCORE
    ]
    rated = {name for name in names for score in scores if 0 < score - name <= _NEAR}
    return len(rated) > 1 or _OF_TEN.search(line) is not None


def _words(line: str) -> list[str]:
    """Return the words and numbers of a line, those inside markup too; `joy9`, `joy_9` and `joy-9` are a word and a number."""
    text = unicodedata.normalize("NFKC", _decoded(line))
    blanks = {ord(each): " " for each in set(text) if unicodedata.category(each)[0] in "PSZC" and each not in "-_'"}
    parts = text.translate(blanks).split()
    words = (re.sub(r"(?<=\D)(?=\d+$)", " ", part.strip("-_'")).split() for part in parts)
    return [bare for each in words for word in each if (bare := word.strip("-_'"))]


def _decoded(line: str) -> str:
    """Return a line with the characters that its entities stand for; `&reg=3` is none."""
    return _ENTITY.sub(lambda entity: unescape(entity[0]), line) if "&" in line else line


def _plain(line: str) -> str:
    """Return a line without markup, emoji and invisible characters, with ASCII forms of full-width characters."""
    text = _ARROW.sub(":", _MARKUP.sub(" ", unicodedata.normalize("NFKC", _decoded(line.replace("\t", " ")))))
    text = text.translate(_COLONS | {0xFE0F: "", 0xFE0E: "", 0x20E3: "", 0x3001: ",", 0x3002: "."})
    if not text.isascii() or not _QUOTES.isdisjoint(text) or any(each in text for each in "`^[]()"):
        text = text.translate(_PLAIN)
    return re.sub(r"(?<![^\W_])_+|_+(?![^\W_])", " ", text)


class _Plain(dict[int, str]):
    """Character -> what `_plain` leaves of it. A graph has millions of characters, and a few hundred different ones."""

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        left = "" if kind in _INVISIBLE else " " if chr(code) in _QUOTES or kind in _DECORATION else chr(code)
        self[code] = left
        return left


_PLAIN = _Plain()


def _without_cells(text: str) -> str:
    """Turn a row of a table, name beside score, into pairs; any other line stays as it is."""
    cells = [cell.strip() for cell in text.strip(" |").split("|")]
    if len(cells) < 2 or len(cells) % 2 or not all(_PAIR.fullmatch(f"x:{score}") for score in cells[1::2]):
        return text
    return ", ".join(f"{name}:{score}" for name, score in zip(cells[::2], cells[1::2], strict=True))


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return 0 if found is None else found.end()


def _has_digit(text: str) -> bool:
    return re.search(r"\d", text) is not None


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
