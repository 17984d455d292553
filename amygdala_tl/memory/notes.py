"""Notes: what a node or an entity says, as texts with the tags of each.

A node usually is one note that ends in its tag line. But a page may hold several notes, each with a tag line of its own, and
an entity's observations may be the notes of a month. No tag line may reach the model, wherever it stands:

    text, tags                       one note
    text, tags, text, tags           two notes
    tags, text                       one note, as with front matter
    text, tags, text                 one note; the text behind the tags is left out, since its labels are unknown
    text with a line in tag form     the line goes; it ends a note only if it is surely a tag line (`tags.is_sure`)
    text with a doubtful line        left out: it may hold a label
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from amygdala_tl.memory.tags import (
    LONGEST_LINE,
    TagLine,
    announces_tags,
    doubtful,
    has_letters_or_digits,
    inline,
    is_heading,
    is_sure,
    near,
    strict,
)

_FENCES = ("```", "~~~", "<!--")


@dataclass(frozen=True, slots=True)
class Note:
    """One text and its tags.

    Attributes:
        text: what the model may see, stripped.
        tags: None for a note without a tag line.
        fault: why the note cannot be used: `unread` (a line may hold labels), `behind` (text behind the last tag line).
        example: the line that is at fault.
    """

    text: str
    tags: TagLine | None
    fault: Literal["", "unread", "behind"] = ""
    example: str = ""


def split_tag_line(content: str) -> tuple[str, TagLine | None]:
    """Split a note into the text that the model may see, without any tag line, and its tags or None.

    A content of several notes gives the text of all and the tags of the last. Where a line may hold labels but cannot be
    read with certainty, the tags have no scores and that line as `unread`.
    """
    notes = split_notes(content)
    tags = next((note.tags for note in reversed(notes) if note.tags is not None), None)
    unread = next((note.example for note in notes if note.fault == "unread"), "")
    text = "\n\n".join(note.text for note in notes if note.text)
    return text, TagLine({}, unread=unread) if unread else tags


def split_notes(content: str, known: Collection[str] = frozenset()) -> list[Note]:
    """Split the content of a node into its notes.

    Args:
        content: markdown with any line ends.
        known: folded names of the graph's tags, see `known_names`.
    """
    return list(_notes(content, frozenset(known)))


@lru_cache(maxsize=4096)  # a graph's notes are split when it is read, and again for its corpus
def _notes(content: str, known: frozenset[str]) -> tuple[Note, ...]:
    texts, runs = _segments(content, known)
    behind = texts.pop()
    if runs and behind and not texts[0] and all(texts[1:]):  # every tag line stands above its text
        texts, behind = [*texts[1:], behind], ""
    notes = [_checked(text, tags, known) for text, tags in zip(texts, runs, strict=True)]
    if behind:
        notes.append(Note(behind, None, "behind", behind) if runs else _checked(behind, None, known))
    return tuple(notes)


def known_names(contents: Iterable[str]) -> frozenset[str]:
    """Return the folded names of a graph's tags: those in lines that follow the grammar, or else in all tag lines."""
    exact: set[str] = set()
    loose: set[str] = set()
    for content in contents:
        for line in _ends(content):
            if tags := strict(line):
                exact |= tags.scores.keys()
            elif not exact and (tags := near(line)):
                loose |= tags.scores.keys()
    return frozenset(exact or loose)


def notes_of_observations(observations: Sequence[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the contents of an entity's notes, and its observations without tags.

    An observation with a tag line of its own is a note. One that is nothing but tags belongs to the observations before it.
    """
    contents: list[str] = []
    plain: list[str] = []
    pending: list[str] = []
    for observation in observations:
        notes = split_notes(observation, known)
        tagged = [note for note in notes if note.tags is not None]
        if not tagged:
            pending.append(observation)
        elif any(note.text for note in tagged):
            plain += pending
            pending = []
            contents.append(observation)
        elif pending and _all_sure(observation, known):
            contents.append("\n".join([*pending, observation]))
            pending = []
        else:
            plain.append(observation)
    return contents, plain + pending


def _segments(content: str, known: Collection[str]) -> tuple[list[str], list[TagLine]]:
    """Return the texts before, between and behind the tags, one more than there are runs of tags."""
    front, rest = _front_matter(content, known)
    lines: list[str] = []
    above: list[list[str]] = [[]] if front else []
    runs: list[TagLine] = [front] if front else []
    found = [*_classified(rest, known)]
    last = max((place for place, (line, _) in enumerate(found) if not _is_decoration(line)), default=-1)
    inside = False
    for place, (line, tags) in enumerate(found):
        if tags is None:
            if inside and _is_decoration(line):
                continue  # a rule or a fence around the tags
            inside = False
            lines.append(line)
        elif inside:
            runs[-1] = runs[-1] + tags
        elif _ends_a_note(found, place, last, known):
            above.append(lines)
            runs.append(tags)
            lines, inside = [], True
    del found  # in a book of short lines larger than its text, which is now copied
    return [*map(_closed, above), "".join(lines).strip()], runs


def _classified(content: str, known: Collection[str]) -> Iterator[tuple[str, TagLine | None]]:
    """Yield every line with its tags; a line that ends in tags comes as two."""
    for line in content.splitlines(keepends=True):
        tags = strict(line) if len(line) <= LONGEST_LINE else None
        tags = tags or near(line, known)
        if tags is None and (split := inline(line, known)):
            yield split[0], None
            yield line[len(split[0]) :], split[1]
        else:
            yield line, tags


def _ends_a_note(found: Sequence[tuple[str, TagLine | None]], place: int, last: int, known: Collection[str]) -> bool:
    """Say whether the run of tags that starts here closes a note: at the end of the content, or where a line is surely tags."""
    for offset, (line, tags) in enumerate(found[place:]):
        if tags is not None:
            if place + offset == last or is_sure(line, tags, known):
                return True
        elif not _is_decoration(line):
            return False
    return False


def _front_matter(content: str, known: Collection[str]) -> tuple[TagLine | None, str]:
    """Take YAML front matter with tags off a note, unless another of its lines may hold a label."""
    front = _front_lines(start := content.lstrip("\ufeff\n\r "))
    rest = "".join(start.splitlines(keepends=True)[len(front) :]) if front else ""
    read = [strict(line) or near(line) for line in front[1:-1]]
    found = [tags for tags in read if tags]
    others = (line for line, tags in zip(front[1:-1], read, strict=True) if not tags)
    if not found or not rest.strip() or any(doubtful(line, known, "first") for line in others):
        return None, content
    return sum(found[1:], found[0]), rest


def _front_lines(content: str) -> list[str]:
    """Return the lines of YAML front matter, its fences included; none if there is none."""
    lines = content.splitlines() if content.startswith("---") else []
    if not lines or lines[0].strip() != "---":
        return []
    end = next((place for place, line in enumerate(lines[1:50], start=1) if line.strip() in ("---", "...")), None)
    return [] if end is None else lines[: end + 1]


def _closed(lines: list[str]) -> str:
    """Return the text above tags, without the rules and the heading that belong to them."""
    while lines and _is_decoration(lines[-1]):
        lines = lines[:-1]
    if lines and is_heading(lines[-1]):
        return _closed(lines[:-1])
    return "".join(lines).strip()


def _checked(text: str, tags: TagLine | None, known: Collection[str]) -> Note:
    """Return the note, marked if one of its lines may hold a label."""
    front = len(_front_lines(text))
    lines = [(place, line) for place, line in enumerate(text.splitlines()) if not _is_decoration(line)]
    for order, (place, line) in enumerate(lines):
        headed = order > 0 and announces_tags(lines[order - 1][1])
        edge: Literal["", "first", "last"] = "last" if order == len(lines) - 1 else ""
        edge = edge or ("first" if headed or order == 0 or place < front else "")
        if doubtful(line, known, edge, headed=headed, tagged=tags is not None):
            return Note(text, tags, "unread", line.strip())
    return Note(text, tags)


def _all_sure(observation: str, known: Collection[str]) -> bool:
    return all(tags is None or is_sure(line, tags, known) for line, tags in _classified(observation, known))


def _ends(content: str) -> Iterator[str]:
    """Yield the lines of tags at the end of a content, from the last."""
    for line in reversed(content.splitlines()):
        if _is_decoration(line):
            continue
        if len(line) > LONGEST_LINE or not (strict(line) or near(line)):
            return
        yield line


def _is_decoration(line: str) -> bool:
    bare = line.strip()
    return not has_letters_or_digits(bare) or (bare.startswith(_FENCES) and len(bare.split()) <= 2 and ":" not in bare)
