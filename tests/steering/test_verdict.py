"""Verdicts from effects written by hand."""

import json
from dataclasses import replace

from amygdala_tl.steering.records import DoseEffect, LayerSteering, SteeringPlan, SteeringReport
from amygdala_tl.steering.verdict import concept_verdict

PLAN = SteeringPlan(concepts=("joy",), layers=(3, 5), doses=(0.0, 0.1, 0.2))
GOOD = DoseEffect(
    dose=0.1, effect=1.0, low=0.5, high=1.5, wrong_way=0.0, t=5.0, p_value=0.02, random_mean=0.0, random_deviation=0.2,
    reads=None, reads_beyond=None, reads_random=None, kl=0.1, loss=0.1, random_kl=0.1, random_loss=0.1,
)  # fmt: skip


def at_layer(layer, *doses, breaks_at=None):
    return LayerSteering(layer=layer, doses=doses, spearman=1.0, slope=1.0, breaks_at=breaks_at)


def judged(*layers, reads=False):
    return concept_verdict(PLAN, "joy", layers, {"joy": ["happy"]}, {"joy": reads})


def test_the_largest_effect_that_passes_is_recommended():
    larger = replace(GOOD, dose=0.2, effect=2.0)
    insignificant = replace(GOOD, effect=9.0, p_value=0.06)
    found = judged(at_layer(3, GOOD, larger), at_layer(5, insignificant))
    assert (found.verdict, found.layer, found.dose) == ("steers", 3, 0.2)
    assert found.best == larger
    assert "2.00 nats" in found.reason


def test_a_dose_that_breaks_the_model_is_not_recommended():
    broken = replace(GOOD, dose=0.2, effect=2.0, loss=1.0)
    assert judged(at_layer(3, GOOD, broken, breaks_at=0.2)).dose == 0.1
    found = judged(at_layer(3, GOOD, broken, breaks_at=0.1))
    assert found.verdict == "neither"
    assert "breaks" in found.reason


def test_an_effect_that_prompts_disagree_on_does_not_steer():
    found = judged(at_layer(3, replace(GOOD, low=-0.1)), reads=True)
    assert found.verdict == "reads only"
    assert "Prompts disagree" in found.reason


def test_without_a_word_there_is_no_effect_and_the_report_is_still_json():
    nothing = replace(GOOD, effect=float("nan"), low=float("nan"), high=float("nan"), t=None, p_value=None)
    found = judged(at_layer(3, nothing))
    assert found.verdict == "neither"
    assert "token" in found.reason
    report = SteeringReport(PLAN, "model", {3: 1.0}, 11, {"random": 20}, (found,), ())
    text = json.dumps(report.as_json(), allow_nan=False)
    assert json.loads(text)["concepts"][0]["layers"][0]["doses"][0]["effect"] is None
