"""From a graph whose entities hold several notes, in many spellings, to texts with the right labels and groups."""

import json
from pathlib import Path

import pytest

from amygdala_tl import extract
from amygdala_tl.corpus import LabelRules
from amygdala_tl.corpus.record import Corpus
from amygdala_tl.errors import CorpusError, GraphFileError
from amygdala_tl.memory import read_graph_file
from tests.corpus.places import PLACES
from tests.memory.test_tags import SPELLINGS

EIGHT = ["joy", "grief", "calm", "awe", "shame", "pride", "fear", "warmth"]
ALL = LabelRules(min_examples=1, min_content_chars=1, heldout_fraction=0.0)


def entity(name: str, *observations: str, **more: str) -> dict[str, object]:
    return {"type": "entity", "name": name, "entityType": "journal", "observations": observations, **more}


def written(folder: Path, *entities: dict[str, object]) -> Path:
    file = folder / "graph.jsonl"
    file.write_text("\n".join(json.dumps(each, ensure_ascii=False) for each in entities), encoding="utf-8")
    return file


def said(n: int) -> str:
    """A sentence about another thing for every number."""
    one, other = PLACES[n % 12], PLACES[(n // 12 + n + 1) % 12]
    return f"What the {one} and the {other} had to do with each other, {'so ' * (n % 7)}nobody could say."


def by_text(corpus: Corpus) -> dict[str, dict[str, float]]:
    return {text.text: dict(text.scores) for text in corpus.texts}


def test_every_observation_with_its_own_tags_is_a_text_and_no_tag_line_reaches_one(tmp_path):
    days = [
        entity(f"2031-01-{n + 1:02}", f"Morning, {said(n)}\nanxiety:9 calm:1", f"Evening, {said(n)}\nwarmth:9 calm:8")
        for n in range(28)
    ]
    corpus = extract(memory_file=written(tmp_path, *days), rules=LabelRules(heldout_fraction=0.2))
    assert len(corpus.texts) == 56
    for text in corpus.texts:
        assert set(text.scores) == ({"anxiety", "calm"} if text.text.startswith("Morning") else {"warmth", "calm"})
        assert ":" not in text.text


def test_tags_that_are_observations_of_their_own_belong_to_the_text_before_them_also_when_they_come_twice(tmp_path):
    twice = entity(
        "2031-04-01", "The boat came.", "joy:9", "The letter came,", "and we read it.", "joy:9", "A last word."
    )
    other = entity("2031-04-02", "Nothing.", "grief:9")
    assert by_text(extract(memory_file=written(tmp_path, twice, other), rules=ALL)) == {
        "Nothing.": {"grief": 9.0},
        "The boat came.": {"joy": 9.0},
        "The letter came,\nand we read it.": {"joy": 9.0},
        "A last word.": {},
    }


@pytest.mark.parametrize("where", ["in the observation", "in the entity's name"])
def test_one_diary_of_150_observations_gives_its_eight_concepts_grouped_by_day(tmp_path, where):
    tags = [f"{EIGHT[n % 8]}:9" if n < 96 else "" for n in range(150)]
    days = [f"2031-03-{n % 28 + 1:02}: " if where == "in the observation" else "" for n in range(150)]
    notes = [
        f"{day}{said(n)} Number {chr(97 + n % 26)}{chr(97 + n // 26)}.\n{tag}"
        for n, (day, tag) in enumerate(zip(days, tags, strict=True))
    ]
    names = ["Diary"] if where == "in the observation" else [f"2031-03-{day:02}" for day in range(1, 29)]
    entities = [entity(name, *(notes if len(names) == 1 else notes[day::28])) for day, name in enumerate(names)]
    corpus = extract(memory_file=written(tmp_path, *entities), rules=LabelRules(min_examples=3, min_content_chars=10))
    assert set(corpus.concepts) == set(EIGHT)
    assert len(corpus.texts) + sum(corpus.dropped.values()) == 150
    assert sum(bool(text.scores) for text in corpus.texts) == 96
    groups = {text.group for text in corpus.texts}
    assert all(group.startswith("2031-03-") or group.startswith("near") for group in groups)
    assert len(groups) > 10


def test_a_diary_without_days_has_a_group_for_each_note(tmp_path):
    notes = [f"{said(n)}\n{EIGHT[n % 8]}:9" for n in range(48)]
    corpus = extract(memory_file=written(tmp_path, entity("Diary", *notes)), rules=ALL)
    assert len({text.group for text in corpus.texts}) > 24


def test_a_corpus_of_one_day_is_all_for_training_and_says_so(tmp_path):
    for day in range(1, 20):
        notes = [f"{said(n)} Number {n}.\n{EIGHT[n % 2]}:9" for n in range(24)]
        rules = LabelRules(min_content_chars=1, heldout_fraction=0.2)
        corpus = extract(memory_file=written(tmp_path, entity(f"2031-03-{day:02}", *notes)), rules=rules)
        assert {text.split for text in corpus.texts} == {"train"}
        assert any("none is held out" in notice for notice in corpus.notices)


def test_near_tag_lines_of_a_whole_graph_leave_no_neutral_text(tmp_path):
    days = [
        entity(f"d{n}", f"{said(n)}\n\n{spelling.format(a='joy', b='calm', x=9, y=8)}")
        for n, spelling in enumerate(SPELLINGS)
    ]
    corpus = extract(memory_file=written(tmp_path, *days, entity("other", "Nothing at all.\ngrief:9")), rules=ALL)
    assert not any(text.neutral for text in corpus.texts)
    assert {frozenset(text.scores.items()) for text in corpus.texts} == {
        frozenset({("joy", 9.0), ("calm", 8.0)}),
        frozenset({("grief", 9.0)}),
    }


def test_notes_that_may_hold_a_label_are_left_out_counted_and_shown_once(tmp_path):
    days = [entity(f"d{n}", f"{said(n)}\n{('joy:9', 'grief:8')[n % 2]}") for n in range(10)]
    days += [
        entity(f"x{n}", f"Unread {said(n)}\n{line}")
        for n, line in enumerate(["joy:9 (strong)", "#grief #joy", "joy: high, grief: low"])
    ]
    days += [entity("y", f"Behind {said(5)}\njoy:9\nAnd a word behind the tags.")]
    corpus = extract(memory_file=written(tmp_path, *days), rules=ALL)
    assert not any(text.neutral for text in corpus.texts)
    assert corpus.dropped == {"may hold a label that cannot be read": 3, "text behind the last tag line": 1}
    assert corpus.examples["may hold a label that cannot be read"] == "x0: joy:9 (strong)"


def test_what_was_left_out_is_said_too_where_no_corpus_remains(tmp_path):
    days = [entity(f"d{n}", f"{said(n)}\njoy:9") for n in range(3)] + [entity("x", f"Unread {said(7)}\njoy:9 (strong)")]
    with pytest.raises(
        CorpusError, match=r"no concept has enough.*left out: may hold a label that cannot be read: 1 .such as x: joy:9"
    ):
        extract(memory_file=written(tmp_path, *days))


def test_facts_in_the_form_of_tags_label_no_other_fact(tmp_path):
    notes = [entity(f"d{n}", f"{said(n)}\n{('joy:9', 'grief:8')[n % 2]}") for n in range(4)]
    corpus = extract(
        memory_file=written(tmp_path, *notes, entity("Tomas", "He is a fisherman.", "siblings: 3")), rules=ALL
    )
    assert by_text(corpus)["He is a fisherman."] == {}


@pytest.mark.parametrize("form", ["answer", "envelope", "pretty", "list", "no type", "one line"])
def test_other_forms_of_the_same_graph_are_read(tmp_path, form):
    entities = [entity(f"2031-03-{n:02}", said(n), "grief:9" if n % 2 else "joy:9") for n in range(1, 20)]
    plain = [{name: value for name, value in each.items() if name != "type"} for each in entities]
    answer = {"entities": plain, "relations": [{"from": "a", "to": "b", "relationType": "c"}]}
    contents = {
        "answer": json.dumps(answer),
        "envelope": json.dumps({"result": {"content": [], "structuredContent": answer}}),
        "pretty": json.dumps(answer, indent=2),
        "list": json.dumps(entities),
        "no type": "\n".join(map(json.dumps, plain)),
        "one line": json.dumps(entities[0]),
    }
    (tmp_path / "graph.json").write_text(contents[form])
    expected = entities[:1] if form == "one line" else entities
    nodes = read_graph_file(tmp_path / "graph.json")
    assert [(node.key, node.content) for node in nodes] == [
        (each["name"], "\n".join(each["observations"])) for each in expected
    ]


def test_a_file_of_other_records_is_named_for_what_it_is(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "One.", "label": "joy"}\n{"text": "Two."}\n')
    with pytest.raises(GraphFileError, match=r"not a memory graph .got: records of text, label; need: "):
        read_graph_file(tmp_path / "a.jsonl")


def test_a_graph_without_tags_shows_how_a_note_ends(tmp_path):
    with pytest.raises(CorpusError, match=r"no tags found .*; one ends in: All well"):
        extract(memory_file=written(tmp_path, entity("a", "The boat came.\nAll well")))


@pytest.mark.parametrize(
    "bad",
    ["[" * 100_000, '{"type": "entity", "name": "' + "x" * 100_000 + '", "observations": 3}', "9" * 10_000, '{"a":\0}'],
)
def test_damage_of_any_kind_is_one_graph_file_error(tmp_path, bad):
    (tmp_path / "graph.jsonl").write_text(bad)
    with pytest.raises(GraphFileError, match="graph"):
        read_graph_file(tmp_path / "graph.jsonl")
