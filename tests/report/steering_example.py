"""A seeded run of the causal check that looks like a real one, for tests of what shows it: odd names and NaNs included.

It is input of a page, not a result: nothing here says what any direction does.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from amygdala_tl.steering.records import (
    Ablation,
    CausalCrossTalk,
    ConceptSteering,
    DoseEffect,
    Heard,
    LayerSteering,
    Refit,
    Sample,
    SteeringPlan,
    SteeringReport,
)
from amygdala_tl.steering.results import About, RunModel, RunReadout, SteeringRun
from tests.report.example import SCRIPT, example_diagnosis

DOSES = (0.0, 0.05, 0.1, 0.2, 0.4)
PROMPTS = 11


@cache
def example_run(
    n_concepts: int = 16, *, layers: tuple[int, ...] = (14, 19, 23), seeds: tuple[int, ...] = (0,), samples: bool = True
) -> SteeringRun:
    """Every third concept steers; effects grow with the dose, and so does what they break.

    Args:
        n_concepts: from 1 to 200; their names are those of `example_diagnosis`.
        layers: indices.
        seeds: one report each.
        samples: whether the first two concepts have generations.
    """
    concepts = example_diagnosis(max(n_concepts, 4), layers=(7,), n_texts=0).concepts[:n_concepts]
    reports = tuple(_report(concepts, layers, seed) for seed in seeds)
    return SteeringRun(
        name="example",
        reports=reports,
        about=About(
            model=RunModel(id="embedded", fingerprint="7d6cbd88" * 8, engine="HookedTransformer", dtype="float32"),
            versions={"amygdala-tl": "0.1.0", "torch": "2.13.0+cpu"},
            readout=RunReadout("9a56daba" * 8, "whitened", "4e97ab1b" * 8),
            corpus_sha256="4e97ab1b" * 8,
            prompts_sha256="11223344" * 4,
            carriers_sha256="55667788" * 4,
        ),
        samples=tuple(_samples(concepts[:2], layers[0])) if samples else (),
    )


def _report(concepts: tuple[str, ...], layers: tuple[int, ...], seed: int) -> SteeringReport:
    # The concepts' own effects are the same with every seed; what they are held against is not.
    own, null = torch.Generator().manual_seed(7), torch.Generator().manual_seed(seed)
    found = tuple(_concept(concepts, place, layers, own, null) for place in range(len(concepts)))
    n = len(concepts)
    crosstalk = []
    for at, layer in enumerate(layers):
        for column, dose in enumerate(DOSES[1:]):
            effect = dose * 1.5 * torch.randn(n, n, generator=own)
            effect[range(n), range(n)] = torch.tensor([each.layers[at].doses[column].effect for each in found])
            p = torch.rand(n, n, generator=own)
            crosstalk.append(
                CausalCrossTalk(layer, dose, tuple(map(tuple, effect.tolist())), tuple(map(tuple, p.tolist())))
            )
    return SteeringReport(
        plan=SteeringPlan(concepts=concepts, layers=layers, doses=DOSES, random=40, seed=seed),
        model="embedded",
        norms={layer: 150.0 + layer for layer in layers},
        prompts=PROMPTS,
        controls={"half 0": n, "half 1": n, "random": 40, "orthogonal": 40, "shuffled": 80},
        concepts=found,
        crosstalk=tuple(crosstalk),
        heard=tuple(
            Heard(concept, dose, 4, 0.5 + dose, 0.3 + dose, 0.8) for concept in concepts[:2] for dose in DOSES[1:]
        ),
    )


def _concept(
    concepts: tuple[str, ...], place: int, layers: tuple[int, ...], own: torch.Generator, null: torch.Generator
) -> ConceptSteering:
    steers = place % 3 == 0
    strength = (4.0 if steers else 1.0) + float(torch.rand(1, generator=own))
    of_layers = tuple(_layer(layer, strength * (1 - 0.2 * at), own, null) for at, layer in enumerate(layers))
    verdict = "steers" if steers else "reads only" if place % 3 == 1 else "neither"
    together = _ablation(layers, own, null)
    return ConceptSteering(
        concept=concepts[place],
        verdict=verdict,
        reason=f"Random or shuffled directions do as well, whatever {SCRIPT} says." if not steers else "It does.",
        layer=layers[0] if steers else None,
        dose=0.2 if steers else None,
        words=("glad", "happy", "<i>joy</i>") if place % 4 else (),
        layers=of_layers,
        ablation_together=together,
        ablation_everywhere=replace(
            together, layers=tuple(range(30)), fall=2 * together.fall, refits=together.refits[-1:]
        ),
    )


def _layer(layer: int, strength: float, own: torch.Generator, null: torch.Generator) -> LayerSteering:
    doses = []
    for dose in DOSES[1:]:
        prompts = dose * (strength + torch.randn(PROMPTS, generator=own))
        effect, margin = float(prompts.mean()), float(prompts.std()) * 0.67
        loss = 4 * strength * dose**2
        doses.append(
            DoseEffect(
                dose=dose, effect=effect, low=effect - margin, high=effect + margin,
                wrong_way=float((prompts < 0).float().mean()), t=effect / dose, p_value=0.02 if strength > 3 else 0.6,
                random_mean=0.1 * dose, random_deviation=dose * (1 + 0.2 * float(torch.rand(1, generator=null))),
                reads=12 * dose, reads_beyond=3 * dose, reads_random=2 * dose, kl=loss, loss=loss, random_kl=loss / 2,
                random_loss=loss / 2, by_prompt=tuple(prompts.tolist()),
            )
        )  # fmt: skip
    return LayerSteering(
        layer, tuple(doses), 1.0, strength, 0.4 if strength > 4 else None, _ablation((layer,), own, null)
    )


def _ablation(layers: tuple[int, ...], own: torch.Generator, null: torch.Generator) -> Ablation:
    fall = float(torch.randn(1, generator=own)) * 0.2
    refits = tuple(
        Refit(
            layer,
            0.9 - 0.002 * layer,
            0.5 + 0.02 * (layer - layers[-1]) + 0.1 * fall,
            0.88 - 0.002 * layer,
            0.8,
            math.nan,
        )
        for layer in range(layers[-1], 30, 3)
    )
    return Ablation(
        layers=layers, texts=4, fall=fall, low=fall - 0.1, high=fall + 0.1, random_mean=0.01,
        random_deviation=0.05 + 0.01 * float(torch.rand(1, generator=null)), p_value=0.01 if fall > 0.2 else 0.7,
        reads_fall=0.5, reads_random=0.1, refits=refits,
    )  # fmt: skip


def _samples(concepts: Sequence[str], layer: int) -> list[Sample]:
    said = "very much like one who has <b>found</b> a trumpet,\nand plays it until everybody has gone home."
    return [
        Sample(
            concept=concept,
            layer=layer,
            dose=dose,
            prompt=prompt,
            seed=seed,
            text=SCRIPT if dose == 0.4 else f" {seed} {said}" if dose < 0.2 else "",
            repetition=dose,
        )
        for concept in concepts
        for prompt in ("I feel", "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n")
        for dose in DOSES
        for seed in (0, 1)
    ]
