"""Spread about directions, mislabelled texts, nearest concepts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from amygdala_tl.diagnostics.cross_fit import cross_fitted_scores
from amygdala_tl.diagnostics.quality import first_words, nearest_concepts, outliers, spread_about_directions
from amygdala_tl.directions import mean
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.estimators import unit_directions
from tests.diagnostics.worlds import planted


@pytest.mark.parametrize("d_model", [5, 200])
def test_shares_and_dimensions_are_those_of_scikit_learns_pca(d_model):
    data, directions = planted(0, texts=300, concepts=3, d_model=d_model)
    found = spread_about_directions(data, [0] * 3, directions[:, 0])
    for concept in range(3):
        own = data.activations[data.positive[:, concept], 0].double().numpy()
        values = PCA().fit(own).explained_variance_
        assert float(found.first_pc_share[concept]) == pytest.approx(values[0] / values.sum(), rel=1e-6)
        expected = values.sum() ** 2 / (values**2).sum()
        assert float(found.effective_dimension[concept]) == pytest.approx(expected, rel=1e-6)
        centred = own - data.activations[:, 0].double().mean(dim=0).numpy()
        direction = directions[concept, 0].double().numpy()
        cosines = centred @ direction / np.linalg.norm(centred, axis=1)
        assert float(found.agreement[concept]) == pytest.approx(cosines.mean(), abs=1e-6)


def test_texts_on_one_line_agree_and_have_one_dimension():
    direction = torch.nn.functional.normalize(torch.randn(1, 9, generator=torch.Generator().manual_seed(0)))
    activations = torch.cat([torch.linspace(1, 5, 20), -torch.linspace(1, 5, 20)]).unsqueeze(1) * direction
    positive = (torch.arange(40) < 20).unsqueeze(1)
    texts = LabelledActivations(activations[:, None], positive, ~positive, torch.arange(40))
    found = spread_about_directions(texts, [0], direction)
    for tensor in (found.agreement, found.first_pc_share, found.effective_dimension):
        assert float(tensor[0]) == pytest.approx(1.0, abs=1e-6)


def test_a_concept_with_one_positive_text_has_no_spread():
    data, directions = planted(0, texts=60, concepts=2)
    positive = data.positive.clone()
    positive[:, 1] = torch.arange(60) == 3
    found = spread_about_directions(replace(data, positive=positive), [0, 0], directions[:, 0])
    assert found.agreement.isnan().tolist() == [False, True]


@pytest.mark.parametrize("seed", range(5))
def test_three_swapped_labels_come_out_first(seed):
    data, _ = planted(seed, strength=8.0, concepts=3, texts=300)
    rows, wrong = data.positive[:, 1].nonzero()[:, 0], data.negative[:, 1].nonzero()[:, 0]
    swapped = {int(rows[4]), int(rows[11]), int(wrong[20])}
    positive = data.positive.clone()
    for text in swapped:
        positive[text, 1] = ~positive[text, 1]
    labelled = LabelledActivations(data.activations, positive, ~positive, data.groups)
    scores = cross_fitted_scores(labelled, lambda some: unit_directions(mean(some).vectors, ["a", "b", "c"]))
    ids = [f"id{number}" for number in range(300)]
    found = outliers(scores[0, :, 1], positive[:, 1], ~positive[:, 1], ids, ["a text"] * 300)
    assert {outlier.text for outlier in found[:3]} == {f"id{text}" for text in swapped}
    for outlier in found[:3]:
        assert outlier.labelled == ("positive" if positive[int(outlier.text[2:]), 1] else "negative")
        assert outlier.z > found[3].z


def test_surprise_is_in_deviations_of_the_other_class():
    scores = torch.tensor([0.0, 2.0, 4.0, 10.0, 12.0, 17.0])
    positive = torch.tensor([False, False, False, True, True, True])
    found = outliers(scores, positive, ~positive, list("abcdef"), ["w"] * 6, most=6)
    by_id = {outlier.text: outlier for outlier in found}
    assert by_id["d"].z == pytest.approx(-(10 - 2) / 2)
    assert by_id["c"].z == pytest.approx((4 - 13) / 13**0.5)
    assert [outlier.z for outlier in found] == sorted((outlier.z for outlier in found), reverse=True)


def test_a_much_larger_class_does_not_crowd_the_other_one_out():
    generator = torch.Generator().manual_seed(0)
    positive = torch.arange(500) < 20
    scores = torch.randn(500, generator=generator) + 3.0 * positive
    scores[3] = (
        0.0  # no more than an average negative text, and every negative list has some beyond an average positive
    )
    ids = [str(place) for place in range(500)]
    found = outliers(scores, positive, ~positive, ids, ["w"] * 500)
    assert [outlier.labelled for outlier in found].count("positive") == 5
    assert [outlier.labelled for outlier in found].count("negative") == 5
    assert next(outlier.text for outlier in found if outlier.labelled == "positive") == "3"


def test_texts_without_a_score_or_a_label_are_no_outliers():
    scores = torch.tensor([0.0, 1.0, torch.nan, 5.0, 6.0, 100.0])
    positive = torch.tensor([False, False, False, True, True, False])
    negative = torch.tensor([True, True, True, False, False, False])
    found = outliers(scores, positive, negative, list("abcdef"), ["w"] * 6, most=9)
    assert {outlier.text for outlier in found} == set("abde")
    assert outliers(scores, positive & (scores > 5), negative, list("abcdef"), ["w"] * 6) == ()


def test_first_words_are_one_line():
    assert first_words("one\n two\tthree", 3) == "one two three"
    assert first_words("one two three four", 3) == "one two three ..."
    assert first_words("") == ""


def test_nearest_concepts_are_others_by_falling_cosine():
    angle = torch.tensor([0.0, 0.3, 1.5, 3.0])
    directions = torch.stack([angle.cos(), angle.sin()], dim=1)
    found = nearest_concepts(directions, ("a", "b", "c", "d"), most=2)
    assert [name for name, _ in found[0]] == ["b", "c"]
    assert found[0][0][1] == pytest.approx(float(torch.tensor(0.3).cos()))
    assert [name for name, _ in found[3]] == ["c", "b"]
