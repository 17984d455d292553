"""SVG files of the causal check, with marks and lines where the numbers put them."""

import pytest

from amygdala_tl.report.drawings import SCALE, auroc_ticks, ticks_around
from amygdala_tl.report.packing import mean_of_known
from amygdala_tl.report.steering_plots import steering_plots
from tests.report.steering_example import DOSES, example_run
from tests.report.test_plots import boxes, lines, marks

BLACK, BLUE, GREY, FAINT = "#1c1e22", "#1c5d9f", "#585e67", "#c3c7cc"


@pytest.fixture(scope="module")
def run():
    return example_run(6, layers=(14, 19))


@pytest.fixture(scope="module")
def sheets(run):
    return steering_plots(run)


def between(value, low, high, ticks):
    """Where a value lies on an axis of these ticks that reaches from pixel `low` to `high`."""
    first, last = ticks[0][1], ticks[-1][1]
    return low + (high - low) * (value - first) / (last - first)


def test_every_figure_of_the_page_has_a_file(sheets, run):
    names = {"steering-effects"} | {f"steering-cross-talk-{layer}-{dose:g}" for layer in (14, 19) for dose in DOSES[1:]}
    for layer in (14, 19):
        names |= {f"steering-{kind}-{layer}" for kind in ("doses", "damage")}
    for place in ("layer-14", "layer-19", "all-these-layers-together", "every-layer-of-the-model"):
        names |= {f"steering-ablation-{place}", f"steering-curve-{place}"}
    assert set(sheets) == names


def test_the_curve_is_the_results_by_layer_for_each_concept_and_their_means(sheets, run):
    found = [concept.layers[0].ablation.refits for concept in run.reports[0].concepts]
    sheet = sheets["steering-curve-layer-14"]
    ticks = auroc_ticks(each.after for one in found for each in one)
    drawn = {colour: lines(sheet, colour) for colour in (BLACK, BLUE, GREY, FAINT)}
    assert [len(drawn[colour]) for colour in (BLACK, BLUE, GREY, FAINT)] == [1, 1, 1, len(found)]
    for line, one in zip(drawn[FAINT], found, strict=True):
        assert [x for x, _ in line] == pytest.approx([60 + 560 * (each.layer - 14) / 15 for each in one], abs=0.06)
        assert [y for _, y in line] == pytest.approx([between(each.after, 330, 30, ticks) for each in one], abs=0.06)
    for colour, name in ((BLACK, "before"), (GREY, "random"), (BLUE, "after")):
        means = [mean_of_known([getattr(one[at], name) for one in found]) for at in range(len(found[0]))]
        assert [y for _, y in drawn[colour][0]] == pytest.approx(
            [between(each, 330, 30, ticks) for each in means], abs=0.06
        )


def test_effects_stand_on_their_intervals_the_largest_first(sheets, run):
    found = marks(sheets["steering-effects"], BLUE)
    assert len(found) == len(run.reports[0].concepts)
    assert [x for x, _ in found] == sorted((x for x, _ in found), reverse=True)
    intervals = lines(sheets["steering-effects"], BLUE)
    for (x, y), ((left, level), (right, _)) in zip(found, intervals, strict=True):
        assert left < x < right
        assert level == y


def test_damage_and_doses_share_their_heights(sheets, run):
    concept = run.reports[0].concepts[0].layers[1]
    by_dose, by_loss = (lines(sheets[f"steering-{kind}-19"], FAINT)[0] for kind in ("doses", "damage"))
    assert [y for _, y in by_dose] == [y for _, y in by_loss]
    assert [x for x, _ in by_dose] == pytest.approx([60 + 560 * dose / 0.4 for dose in DOSES], abs=0.06)
    losses = [0.0, *(at.loss for at in concept.doses)]
    shares = [(x - by_loss[0][0]) / (by_loss[-1][0] - by_loss[0][0]) for x, _ in by_loss]
    assert shares == pytest.approx([loss / losses[-1] for loss in losses], abs=1e-3)


def test_the_matrix_has_what_is_added_in_rows(sheets, run):
    found = run.reports[0].crosstalk[1]
    most = max(abs(value) for row in found.effect for value in row)
    for x, y, colour in boxes(sheets[f"steering-cross-talk-14-{found.dose:g}"]):
        value = found.effect[round((y - 250) / 16)][round((x - 250) / 16)]
        assert colour == SCALE[round(4 + 4 * value / most)]


@pytest.mark.parametrize("values", [(0.3, -0.12), (41.0,), (-0.004, -0.001), (0.0,), (float("nan"),), (1e-9, 2.5)])
def test_ticks_enclose_the_values_and_zero(values):
    places = [place for _, place in ticks_around(values)]
    known = [value for value in values if value == value]
    assert min(places) <= min(0, *known, 0) + 1e-12
    assert max(places) >= max(0, *known, 0) - 1e-12
    assert 2 <= len(places) <= 9
    assert any(abs(place) < 1e-12 for place in places)
