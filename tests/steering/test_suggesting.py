"""Words for concepts that no word list has."""

import torch

from amygdala_tl.steering.suggesting import near_names, told_apart_by
from amygdala_tl.steering.words import concept_words, read_words, write_words


def test_words_near_a_name_are_whole_words_of_the_same_feeling_and_of_one_concept_each(embedded, tmp_path):
    names = ("grief", "loneliness", "kinship", "sense_of_duty")
    found = dict(zip(names, near_names(embedded, names), strict=True))
    assert found["grief"][0] == "grief"
    assert {"mourning", "sorrow"} <= set(found["grief"])
    assert "lonely" in found["loneliness"]
    assert "familial" in found["kinship"]
    assert "mour" not in found["grief"], "a part of a word"
    every = [word for words in found.values() for word in words]
    assert len(set(every)) == len(every)
    write_words(tmp_path / "words.json", found)
    counted = concept_words(embedded.tokenizer, names, read_words(tmp_path / "words.json"))
    assert counted.by_name == ()
    assert counted.words == found, "each is a token of its own"


def test_names_of_a_model_that_knows_no_words_give_a_list_that_can_be_read(tiny, tmp_path):
    names = ("joy", "a name of several tokens")
    write_words(tmp_path / "words.json", dict(zip(names, near_names(tiny, names), strict=True)))
    assert set(read_words(tmp_path / "words.json")) <= set(names)


def test_words_of_the_corpus_stand_in_more_texts_of_their_concept_than_elsewhere():
    texts = [f"The lantern went out on day {number}." for number in range(8)]
    texts += [f"We laughed at the harbour on day {number}, laughed and laughed." for number in range(8)]
    texts += [f"Nothing happened on day {number}." for number in range(40)]
    positive = torch.zeros(len(texts), 3, dtype=torch.bool)
    positive[:8, 0] = positive[8:16, 1] = True
    found = told_apart_by(texts, positive)
    assert set(found[0]) == {"lantern", "out", "went"}
    assert {"harbour", "laughed"} <= set(found[1]), "however often one text says it"
    assert found[2] == ()
    assert not {"day", "the"} & {word for words in found for word in words}, "in too many texts"
    assert told_apart_by(["", "1 2"], torch.tensor([[True], [False]])) == [()]
