"""Runs summed up over seeds, and compared."""

import json
from dataclasses import replace

import pytest
import torch

from amygdala_tl.steering.comparing import compare_runs
from amygdala_tl.steering.summary import summarise
from tests.report.steering_example import example_run


def changed(run, **changes):
    """The run with changes of its first report's concepts: place -> function of it."""
    reports = list(run.reports)
    concepts = list(reports[0].concepts)
    for place, change in changes["concepts"].items():
        concepts[place] = change(concepts[place])
    reports[0] = replace(reports[0], concepts=tuple(concepts))
    return replace(run, reports=tuple(reports))


def test_a_concept_steers_where_every_seed_says_so_with_the_largest_p():
    run = example_run(4, seeds=(0, 1, 2))
    first = summarise(run.reports)[0]
    assert (first.verdict, first.steers_in, first.seeds, first.recommended) == ("steers", 3, 3, True)
    assert (first.layer, first.at.dose) == (14, 0.2)

    def fails(found):
        layers = tuple(replace(of, doses=tuple(replace(at, p_value=0.3) for at in of.doses)) for of in found.layers)
        return replace(found, verdict="reads only", layer=None, dose=None, layers=layers)

    found = summarise(changed(run, concepts={0: fails}).reports)[0]
    assert (found.verdict, found.steers_in) == ("reads only", 2)
    assert (found.layer, found.at.dose) == (14, 0.2)
    assert found.at.p_value == 0.3
    assert found.at.random_deviation == pytest.approx(first.at.random_deviation)
    deviations = [report.concepts[0].layers[0].doses[2].random_deviation for report in run.reports]
    assert found.at.random_deviation == pytest.approx(sum(deviations) / 3)


def test_a_run_beside_itself_differs_nowhere():
    found = compare_runs(example_run(5, seeds=(0, 1)), example_run(5, seeds=(0, 1)))
    assert found.differs == ()
    assert found.obstacles == found.notes == ()
    for each in found.concepts:
        assert each.first == each.second
        assert len(each.differences) == 3 * 4
        assert each.at is not None
        assert all((at.difference, at.low, at.high, at.paired) == (0, 0, 0, True) for at in each.differences)


def test_a_difference_has_the_interval_of_the_paired_differences():
    run = example_run(3)
    generator = torch.Generator().manual_seed(3)
    gains = (0.5 + 0.1 * torch.randn(11, generator=generator)).tolist()

    def more(found):
        of = found.layers[0]
        at = of.doses[2]
        by_prompt = tuple(value + gain for value, gain in zip(at.by_prompt, gains, strict=True))
        doses = (*of.doses[:2], replace(at, effect=sum(by_prompt) / 11, by_prompt=by_prompt), of.doses[3])
        return replace(found, layers=(replace(of, doses=doses), *found.layers[1:]))

    at = compare_runs(run, changed(run, concepts={0: more})).concepts[0].at
    assert (at.layer, at.dose) == (14, 0.2)
    assert at.difference == pytest.approx(sum(gains) / 11, abs=1e-6)
    # Student's 2.228 deviations of the mean of eleven paired differences.
    margin = 2.228 * float(torch.tensor(gains).std()) / 11**0.5
    assert (at.high - at.low) / 2 == pytest.approx(margin, rel=0.15)
    back = compare_runs(changed(run, concepts={0: more}), run).concepts[0].at
    assert back.difference == pytest.approx(-at.difference)


def test_other_prompts_make_the_interval_that_of_two_means():
    run = example_run(3)
    other = replace(run, about=replace(run.about, prompts_sha256="99" * 16))
    found = compare_runs(run, other)
    assert "Prompts differ" in found.notes[0]
    assert ("prompts", "112233441122", "999999999999") in found.differs
    at = found.concepts[0].at
    values = torch.tensor(run.reports[0].concepts[0].layers[0].doses[2].by_prompt)
    assert not at.paired
    assert at.high == pytest.approx(1.96 * float(values.var() * 2 / 11) ** 0.5)


def test_reports_without_effects_by_prompt_have_differences_without_intervals():
    run = example_run(2)

    def without(found):
        layers = (replace(of, doses=tuple(replace(at, by_prompt=()) for at in of.doses)) for of in found.layers)
        return replace(found, layers=tuple(layers))

    at = compare_runs(changed(run, concepts={0: without}), run).concepts[0].at
    assert (at.difference, at.low, at.high, at.paired) == (0, None, None, False)


def test_runs_of_other_models_words_or_concepts_are_not_held_against_each_other():
    run = example_run(4)
    model = replace(run, about=replace(run.about, model=replace(run.about.model, fingerprint="00" * 32)))
    words = changed(run, concepts={1: lambda found: replace(found, words=("other",))})
    for other, said in ((model, "models differ"), (words, "words differ"), (example_run(3), "concepts differ")):
        found = compare_runs(run, other)
        assert said in found.obstacles[0]
        assert all(each.differences == () and each.at is None for each in found.concepts)
        assert not found.as_json()["comparable"]
    assert compare_runs(run, example_run(3)).concepts[3].second is None


def test_what_is_set_otherwise_is_named():
    run = example_run(3)
    other = replace(run.about.readout, sha256="77" * 32)
    about = replace(run.about, readout=other, versions={"torch": "2.14.0"})
    plan = replace(run.reports[0].plan, random=20, seed=5)
    found = compare_runs(run, replace(run, about=about, reports=(replace(run.reports[0], plan=plan),)))
    assert set(found.differs) == {
        ("readout", "9a56daba9a56", "777777777777"),
        ("version of torch", "2.13.0+cpu", "2.14.0"),
        ("version of amygdala-tl", "0.1.0", "\u2013"),
        ("random", "40", "20"),
        ("seeds", "0", "5"),
    }
    assert found.obstacles == ()


def test_a_concept_checked_alone_is_compared_with_a_run_of_all(tmp_path):
    run = example_run(4)
    report = run.reports[0]
    about = replace(run.about, words={found.concept: found.words for found in report.concepts})
    alone = replace(report, plan=replace(report.plan, concepts=report.plan.concepts[:1]), concepts=report.concepts[:1])
    found = compare_runs(replace(run, about=about), replace(run, about=about, reports=(alone,)))
    assert found.obstacles == ()
    assert [each.at is not None for each in found.concepts] == [True, False, False, False]


def test_verdicts_that_are_worse_or_missing_in_the_second_run_are_named():
    run = example_run(4)
    verdicts = [found.verdict for found in run.reports[0].concepts]
    assert verdicts == ["steers", "reads only", "neither", "steers"]
    worse = changed(run, concepts={0: lambda found: replace(found, verdict="reads only", layer=None, dose=None)})
    names = run.plan.concepts
    assert compare_runs(run, run).worse == ()
    assert [each.concept for each in compare_runs(run, worse).worse] == [names[0]]
    assert compare_runs(worse, run).worse == ()
    assert [each.concept for each in compare_runs(run, example_run(3)).worse] == [names[3]]
    assert compare_runs(run, worse).as_json()["worse"] == [names[0]]


def test_a_comparison_is_json():
    text = json.dumps(compare_runs(example_run(2), example_run(2)).as_json())
    assert json.loads(text)["comparable"]
