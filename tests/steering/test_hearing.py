"""The bag of words that judges what a steered model says."""

import math

import pytest
import torch

from amygdala_tl.steering.hearing import hear
from amygdala_tl.steering.records import Sample

CONCEPTS = ("joy", "grief", "awe")
WORDS = {"joy": "laughed danced", "grief": "wept mourned", "awe": "sky mountain"}
TEXTS = [f"We {WORDS[concept]} on day {day}." for concept in CONCEPTS for day in range(10)]
POSITIVE = torch.tensor([[concept == own for own in CONCEPTS] for concept in CONCEPTS for _ in range(10)])


def samples(says, *, concepts=CONCEPTS, doses=(0.0, 0.1, 0.2), seeds=6):
    """Generations, `says(concept, dose)` beside words that tell nothing."""
    return [
        Sample(concept, 14, dose, "I feel", seed, f"and then {seed} {says(concept, dose)}", 0.0)
        for concept in concepts for dose in doses for seed in range(seeds)
    ]  # fmt: skip


def test_a_concept_that_changes_what_is_said_is_heard_from_the_dose_on_where_it_does():
    found = hear(
        samples(lambda concept, dose: WORDS[concept] if dose == 0.2 else ""), CONCEPTS, TEXTS, POSITIVE, ~POSITIVE, 0
    )
    assert [(each.concept, each.dose, each.texts) for each in found] == [
        (concept, dose, 6) for concept in CONCEPTS for dose in (0.1, 0.2)
    ]
    for each in found:
        assert each.auroc == (1.0 if each.dose == 0.2 else 0.5)
        assert each.low <= each.auroc <= each.high
        assert (each.low > 0.5) == (each.dose == 0.2)


def test_a_direction_that_says_another_concepts_words_is_not_heard_as_its_own():
    swapped = {"joy": "grief", "grief": "joy", "awe": "awe"}
    found = hear(samples(lambda concept, _: WORDS[swapped[concept]]), CONCEPTS, TEXTS, POSITIVE, ~POSITIVE, 0)
    assert {each.concept: each.auroc > 0.9 for each in found} == {"joy": False, "grief": False, "awe": True}


def test_one_concept_is_held_against_the_model_as_it_is():
    said = samples(lambda _, dose: WORDS["joy"] if dose else "", concepts=("joy",))
    found = hear(said, ("joy",), TEXTS, POSITIVE[:, :1], ~POSITIVE[:, :1], 0)
    assert [each.auroc for each in found] == [1.0, 1.0]


def test_a_concept_without_examples_is_not_judged():
    positive = POSITIVE.clone()
    positive[:, 2] = False
    found = hear(samples(lambda concept, _: WORDS[concept]), CONCEPTS, TEXTS, positive, ~positive, 0)
    assert [math.isnan(each.auroc) for each in found] == [False, False, False, False, True, True]
    assert hear([], CONCEPTS, TEXTS, POSITIVE, ~POSITIVE, 0) == ()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_labels_of_the_corpus_decide_and_not_the_order_of_concepts(concept):
    order = (concept, *(name for name in CONCEPTS if name != concept))
    columns = [CONCEPTS.index(name) for name in order]
    positive = POSITIVE[:, columns]
    found = hear(samples(lambda name, _: WORDS[name]), order, TEXTS, positive, ~positive, 0)
    assert found[0].concept == concept
    assert all(each.auroc == 1.0 for each in found)
