"""What taking concepts out does, as a table and in the figures of the page."""

import io
from dataclasses import replace

from rich.console import Console

from amygdala_tl.report.erasures import erasure_table, place_of, read_again
from amygdala_tl.report.figures import ablation_figures
from amygdala_tl.steering.records import Refit
from tests.report.steering_example import example_run


def refits(*after):
    """A curve from layer 14 on."""
    return tuple(Refit(14 + place, 0.88, value, 0.87, 0.84, 0.78) for place, value in enumerate(after))


def report_of_two_methods():
    """A report in which the first concept is taken out at layer 14 by two methods."""
    report = example_run(3).reports[0]
    first = report.concepts[0]
    known = replace(first.layers[0].ablation, method="leace", loss=0.0113, random_loss=0.002)
    leace = replace(known, refits=refits(0.51, 0.55, 0.61, 0.58))
    mean = replace(known, method="mean", loss=0.0961, refits=refits(0.5, 0.52, 0.53, 0.54))
    layers = (replace(first.layers[0], ablation=leace), *first.layers[1:])
    changed = replace(first, layers=layers, ablations=(leace, mean))
    plan = replace(report.plan, erase=("leace", "mean"))
    return replace(report, plan=plan, concepts=(changed, *report.concepts[1:]))


def text_of(renderable):
    console = Console(width=200, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def test_methods_stand_side_by_side_with_loss_probes_and_curve():
    text = text_of(erasure_table(report_of_two_methods()))
    (leace,) = (line for line in text.splitlines() if " leace " in line)
    (mean,) = (line for line in text.splitlines() if " mean " in line)
    assert "+0.011" in leace
    assert leace.split()[-10:-5] == ["0.51", "0.88", "0.87", "0.78", "0.84"]
    assert "17:0.58, from 16" in leace
    assert "17:0.54, never" in mean


def test_without_ablations_there_is_no_table():
    assert erasure_table(example_run(3).reports[0]) is None


def test_a_concept_is_read_again_above_the_layers_where_it_is_taken_out():
    first = report_of_two_methods().concepts[0].ablations[0]
    assert read_again(first) == 16
    assert read_again(replace(first, layers=(14, 16))) is None
    assert read_again(replace(first, refits=())) is None


def test_layers_are_named_shortly():
    assert [place_of(layers) for layers in ((14,), (14, 19), (14, 15), tuple(range(30)))] == [
        "14",
        "14,19",
        "14,15",
        "0-29",
    ]


def test_the_page_has_a_figure_for_every_method_and_its_dots_say_what_a_new_probe_reads():
    report = report_of_two_methods()
    found = {each["name"]: each["figure"] for each in ablation_figures(report)}
    assert "layer 14" in found
    assert "every captured layer" in found
    hover = found["layer 14, by mean"]["data"][-1]["hovertext"]
    assert "AUROC 0.50, before 0.88; at no later layer" in hover[0]
    assert "+0.096 nats a token" in hover[0]
    assert hover[1] == ""
    assert "again from layer 16" in found["layer 14"]["data"][-1]["hovertext"][0]
