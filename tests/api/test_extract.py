"""One graph, three ways to read it, one corpus."""

import itertools
import re

import pytest

from amygdala_tl import extract
from amygdala_tl.demo import demo_graph_path
from amygdala_tl.demo.server import running_demo_server
from amygdala_tl.errors import InputError
from tests.servers import reference_memory_server


@pytest.fixture(scope="module")
def from_file():
    return extract(memory_file=demo_graph_path())


def test_the_demo_graph_has_what_a_demo_needs(from_file):
    nodes = sum(1 for _ in demo_graph_path().open())
    tagged = [text for text in from_file.texts if not text.neutral]
    assert len(tagged) >= 700
    assert len(from_file.texts) - len(tagged) >= 40
    assert nodes == len(from_file.texts)
    assert len(from_file.concepts) >= 24
    for concept in from_file.concepts:
        assert sum(text.scores.get(concept, 0) >= 8 for text in tagged) >= 20, concept
    assert sum(2 <= len(text.scores) <= 4 for text in tagged) > len(tagged) / 2
    name = re.compile(rf"\b({'|'.join(from_file.concepts)})\b")
    assert sum(bool(name.search(text.text.lower())) for text in tagged) < 0.02 * len(tagged)


def test_no_sentence_of_the_demo_graph_stands_there_twice(from_file):
    sentences = [
        sentence.strip() for text in from_file.texts for sentence in text.text.split(". ") if len(sentence.split()) > 4
    ]
    assert len(sentences) == len(set(sentences))


def test_no_tag_line_reaches_a_text(from_file):
    for text, concept in itertools.product(from_file.texts, from_file.concepts):
        assert f"{concept}:" not in text.text


def test_the_demo_server_gives_the_same_corpus_as_the_file(from_file):
    with running_demo_server() as url:
        assert extract(memory_mcp_url=url) == from_file


def test_the_reference_server_gives_the_same_corpus_as_the_file(from_file):
    with reference_memory_server(demo_graph_path()) as url:
        assert extract(memory_mcp_url=url) == from_file


def test_one_source_is_needed_and_not_two():
    for sources in ({}, {"memory_file": "a", "memory_mcp_url": "http://127.0.0.1:1"}):
        with pytest.raises(InputError, match="one source"):
            extract(**sources)
