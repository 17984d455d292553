"""Figures that Python draws, against the records that they show."""

import json
from dataclasses import replace

import msgspec
import pytest

from amygdala_tl.report.figures import BAND, ablation_figures, held_out_figure
from tests.report.example import example_diagnosis
from tests.report.steering_example import example_run


@pytest.mark.parametrize("n_concepts", [16, 200])
def test_held_out_rows_go_from_best_to_worst_with_unknown_last(n_concepts):
    diagnosis = example_diagnosis(n_concepts)
    order = held_out_figure(diagnosis)["order"]
    assert sorted(order) == list(range(n_concepts))
    values = diagnosis.evaluation.auroc.value[order].tolist()
    known = [value for value in values if value == value]
    assert values[: len(known)] == sorted(known, reverse=True)
    assert len(known) == n_concepts - 1


def test_each_concept_has_one_dot_in_the_group_of_its_verdict_with_its_interval():
    diagnosis = example_diagnosis(16)
    bars, random, words, *dots = held_out_figure(diagnosis)["data"]
    scores = diagnosis.evaluation
    for index, quality in enumerate(diagnosis.quality[:-1]):
        (own,) = [trace for trace in dots if trace["x"][index] is not None]
        assert own["marker"]["color"] == f"var(--{quality.verdict.replace(' ', '-')})"
        value, low, high = (float(part[index]) for part in (scores.auroc.value, scores.auroc.low, scores.auroc.high))
        assert own["x"][index] == pytest.approx(value, abs=1e-4)
        assert own["x"][index] + own["error_x"]["array"][index] == pytest.approx(high, abs=2e-4)
        assert own["x"][index] - own["error_x"]["arrayminus"][index] == pytest.approx(low, abs=2e-4)
        assert bars["base"][index] + bars["x"][index] == pytest.approx(float(scores.permutation_null[index]), abs=2e-4)
        assert random["x"][index] == pytest.approx(float(scores.random_null[index]), abs=1e-4)
        assert words["x"][index] == pytest.approx(float(scores.bag_of_words[index]), abs=1e-4)
    assert all(trace["x"][-1] is None for trace in dots)


def test_a_fall_stands_beside_the_band_of_random_directions_and_is_filled_if_significant():
    report = example_run(16).reports[0]
    places = {each["name"]: each["figure"] for each in ablation_figures(report)}
    assert list(places) == ["layer 14", "layer 19", "layer 23", "all these layers together", "every layer of the model"]
    bars, dots = places["layer 19"]["data"]
    for index, concept in enumerate(report.concepts):
        found = concept.layers[1].ablation
        assert dots["x"][index] == pytest.approx(found.fall, abs=1e-4)
        assert bars["base"][index] == pytest.approx(found.random_mean - BAND * found.random_deviation, abs=1e-4)
        assert bars["x"][index] == pytest.approx(2 * BAND * found.random_deviation, abs=1e-4)
        assert dots["marker"]["symbol"][index] == ("circle" if found.p_value <= report.plan.level else "circle-open")
    falls = [dots["x"][index] for index in places["layer 19"]["order"]]
    assert falls == sorted(falls, reverse=True)


def test_the_curve_of_refitted_probes_has_the_numbers_of_the_results_file_layer_by_layer():
    report = example_run(5).reports[0]
    saved = msgspec.json.decode(msgspec.json.encode(report.as_json()))
    curves = {each["name"]: each["curves"] for each in ablation_figures(report)}
    for place, name in enumerate(("layer 14", "layer 19", "layer 23")):
        for concept, curve in zip(saved["concepts"], curves[name], strict=True):
            ablation = concept["layers"][place]["ablation"]
            assert curve["erased"] == ablation["layers"]
            for shown, named in {"layers": "layer", "after": "after", "unseenBefore": "unseen_before"}.items():
                assert curve[shown] == pytest.approx([each[named] for each in ablation["refits"]], abs=1e-6)
            assert [curve[line][0] for line in ("before", "random")] == pytest.approx(
                [ablation["refits"][0][line] for line in ("before", "random")], abs=1e-6
            )
            assert set(curve["unseen"]) == {None}  # NaN in the example


def test_without_probes_there_is_no_curve():
    report = example_run(1, layers=(7,)).reports[0]
    (concept,) = report.concepts
    bare = tuple(replace(each, ablation=replace(each.ablation, refits=())) for each in concept.layers)
    without = replace(report, concepts=(replace(concept, layers=bare),))
    assert ablation_figures(without)[0]["curves"] == [None]


def test_figures_are_json_without_nan_and_every_colour_is_the_style_sheets():
    for figure in (
        held_out_figure(example_diagnosis(16)),
        *(each["figure"] for each in ablation_figures(example_run(5).reports[0])),
    ):
        text = json.dumps(figure, allow_nan=False)
        assert "#" not in text
        assert "template" not in figure["layout"]
