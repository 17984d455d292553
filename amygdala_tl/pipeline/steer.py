"""A bundle, and the corpus it was trained on, to a causal check that is ready to run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.api.labelled import judged_texts, neutral_activations
from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions import LabelledActivations
from amygdala_tl.directions.folds import group_folds
from amygdala_tl.directions.method import apply_method, read_method
from amygdala_tl.errors import InputError
from amygdala_tl.lens.hooks import parse_layers
from amygdala_tl.lens.model import Lens
from amygdala_tl.names import named_concepts
from amygdala_tl.readout.record import Readout
from amygdala_tl.records import Corpus, CorpusText
from amygdala_tl.steering.ablating import TEXTS, carrier_tokens
from amygdala_tl.steering.arms import Readers
from amygdala_tl.steering.check import LayerMaterial, SteeringCheck
from amygdala_tl.steering.journal import Journal, key_of
from amygdala_tl.steering.records import ABLATION_PLACES, AblationPlace, Sample, SteeringPlan, SteeringReport
from amygdala_tl.steering.samples import NEW_TOKENS, TEMPERATURE, sample_doses
from amygdala_tl.steering.words import concept_words

DOSES = (0.0, 0.05, 0.1, 0.2, 0.4)

RANDOM = 20


def prepare_check(
    fit: Readout,
    loaded: Lens,
    *,
    corpus: Corpus | None = None,
    store: ActivationStore | None = None,
    concepts: Sequence[str] = (),
    layers: str | Sequence[int] | None = None,
    doses: Sequence[float] = DOSES,
    random: int = RANDOM,
    ablate: Sequence[AblationPlace] = ABLATION_PLACES,
    words: Mapping[str, Sequence[str]] | None = None,
    journal: Journal | None = None,
    seed: int = 0,
) -> SteeringCheck:
    """The causal check of a readout.

    With corpus and store the check also has: directions and readouts of two halves of the groups, directions of shuffled labels,
    and texts to take directions out of. Without them its only controls are random directions.

    Args:
        fit: of the bundle (`fit_of`).
        loaded: the bundle's model.
        corpus: that the bundle was trained on.
        store: activations of the corpus.
        concepts: names; all of the bundle if empty.
        layers: see `parse_layers`; all of the bundle if None.
        doses: in units of the mean residual norm; 0 is added if it is missing.
        random: random directions of each of two kinds.
        ablate: where directions are taken out of texts that carry their concept; needs the corpus.
        words: concept -> words, before those of the list in the package.
        journal: where finished blocks are kept.
        seed: of random and shuffled directions, halves and bootstrap.

    Raises:
        InputError: no such concept or layer in the bundle, or doses or controls that make no check.
        FitError: the corpus's texts cannot be fitted.
        ActivationStoreError: texts have not been captured.
    """
    plan = make_plan(fit, concepts=concepts, layers=layers, doses=doses, random=random, ablate=ablate, seed=seed)
    names, columns = plan.concepts, [fit.concepts.index(name) for name in plan.concepts]
    halves = _Halves(fit, corpus, store, seed) if corpus is not None and store is not None else None
    shuffled = None if halves is None else halves.shuffled(2 * random)
    return SteeringCheck(
        loaded=loaded,
        plan=plan,
        material=[_material(fit, layer, columns, halves, shuffled) for layer in plan.layers],
        words=concept_words(loaded.tokenizer, names, words),
        readable={name: name in fit.verdicts and fit.verdicts[name].readable for name in names},
        carriers={} if corpus is None or not plan.ablate else _carriers(corpus, names, loaded),
        journal=journal or Journal(),
    )


def make_plan(
    fit: Readout,
    *,
    concepts: Sequence[str] = (),
    layers: str | Sequence[int] | None = None,
    doses: Sequence[float] = DOSES,
    random: int = RANDOM,
    ablate: Sequence[AblationPlace] = ABLATION_PLACES,
    seed: int = 0,
) -> SteeringPlan:
    """What `prepare_check` would check, with the same arguments; needs no model, so that mistakes are found without one.

    Raises:
        InputError: no such concept or layer in the bundle, or doses or controls that make no check.
    """
    return SteeringPlan(
        concepts=named_concepts(concepts, fit.concepts) or fit.concepts,
        layers=_layers(layers, fit),
        doses=_doses(doses),
        random=_enough(random),
        seed=seed,
        ablate=tuple(ablate),
    )


class _Halves:
    """Directions of the fit's method on two halves of the training groups, and on shuffled labels, at the store's layers."""

    def __init__(self, fit: Readout, corpus: Corpus, store: ActivationStore, seed: int) -> None:
        self.method = read_method(fit.provenance.method or "")
        self.seed = seed
        train = [text for text in corpus.texts if text.split == "train"]
        self.layers = tuple(sorted({*fit.layers, *store.layers_of([text.id for text in train])}))
        self.data = judged_texts(fit, corpus, store, "train", layers=self.layers).data
        self.neutral = neutral_activations(fit, corpus, store, layers=self.layers)
        half = group_folds(self.data.groups, 2, seed)
        self.directions = torch.stack([self._fit(self.data.take(half == number)) for number in (0, 1)])
        scores = einsum(
            self.data.activations.float(),
            self.directions,
            "text layer d_model, half concept layer d_model -> half concept layer text",
        )
        self.deviation = scores.std(dim=-1)

    def shuffled(self, count: int) -> Float[Tensor, "shuffled layer d_model"]:
        """At least `count` directions of labels shuffled over groups: all concepts of each shuffle."""
        times = math.ceil(count / self.data.positive.shape[1])
        sources = permuted_texts(self.data.groups, torch.Generator().manual_seed(self.seed), times).long()
        found = [
            self._fit(
                LabelledActivations(
                    activations=self.data.activations,
                    positive=self.data.positive[source],
                    negative=self.data.negative[source],
                    groups=self.data.groups,
                    grades=None if self.data.grades is None else self.data.grades[source],
                    spread=self.data.spread,
                )
            )
            for source in sources
        ]
        return torch.cat(found)

    def _fit(self, data: LabelledActivations) -> Float[Tensor, "concept layer d_model"]:
        """Unit directions; NaN for a concept that lacks a class."""
        usable = data.positive.any(dim=0) & data.negative.any(dim=0)
        names = [str(place) for place in usable.nonzero()[:, 0].tolist()]
        layers, width = data.activations.shape[1:]
        result = torch.full((len(usable), layers, width), torch.nan)
        result[usable] = apply_method(self.method, data.of_concepts(usable), self.neutral, names).directions
        return result


def _material(
    fit: Readout, layer: int, columns: list[int], halves: _Halves | None, shuffled: Tensor | None
) -> LayerMaterial:
    own = fit.vectors[fit.column(layer), columns]
    if halves is None or shuffled is None:
        return LayerMaterial(layer, own)
    here = halves.layers.index(layer)
    above = here + 1 if here + 1 < len(halves.layers) else None
    return LayerMaterial(
        layer=layer,
        concepts=own,
        halves=halves.directions[:, columns, here],
        shuffled=shuffled[:, here],
        readers=None
        if above is None
        else Readers(halves.layers[above], halves.directions[:, columns, above], halves.deviation[:, columns, above]),
    )


def _carriers(corpus: Corpus, names: Sequence[str], loaded: Lens) -> dict[int, list[list[int]]]:
    """A few texts of every concept, held-out ones first."""

    def rank(text: CorpusText) -> tuple[bool, str]:
        return text.split != "heldout", text.id

    found = {}
    for place, name in enumerate(names):
        texts = sorted((text for text in corpus.texts if name in text.positive), key=rank)[:TEXTS]
        if texts:
            found[place] = [carrier_tokens(loaded.tokenizer, text.text) for text in texts]
    return found


def _layers(layers: str | Sequence[int] | None, fit: Readout) -> tuple[int, ...]:
    if layers is None:
        return fit.layers
    wanted = parse_layers(
        layers, max(fit.layers) + 1 if fit.provenance.model is None else fit.provenance.model.n_layers
    )
    if missing := [layer for layer in wanted if layer not in fit.layers]:
        raise InputError(
            "the bundle does not have the layer",
            got=", ".join(map(str, missing)),
            need=", ".join(map(str, fit.layers)),
            remedy="change --layers, or train with other --target-layers",
        )
    return wanted


def _doses(doses: Sequence[float]) -> tuple[float, ...]:
    found = tuple(sorted({0.0, *doses}))
    if len(found) < 2 or found[0] < 0 or not all(math.isfinite(dose) for dose in found):
        raise InputError(
            "no doses to check", got=", ".join(map(str, doses)), need="numbers above 0", remedy="change --doses"
        )
    return found


def _enough(random: int) -> int:
    if random < 3:
        raise InputError(
            "too few random directions",
            got=random,
            need="3 or more; 20 to be significant at 5%",
            remedy="change --random",
        )
    return random


def sample_report(check: SteeringCheck, report: SteeringReport, samples: int) -> list[Sample]:
    """Generations of every concept at its recommended layer, or else the first, in all doses; the journal keeps them.

    Args:
        check: that the report is of.
        report: its result.
        samples: how many a prompt and dose.
    """
    rows: list[Sample] = []
    for place, found in enumerate(report.concepts):
        layer = found.layer if found.layer is not None else check.plan.layers[0]
        material = next(of for of in check.material if of.layer == layer)
        direction, norm = material.concepts[place], check.norms[layer]

        def compute(
            concept: str = found.concept, layer: int = layer, direction: Tensor = direction, norm: float = norm
        ) -> Mapping[str, object]:
            said = sample_doses(
                check.loaded, concept, layer, direction, norm, check.plan.doses, samples, check.plan.seed
            )
            return {"samples": [asdict(sample) for sample in said]}

        key = key_of("samples", check.loaded.info.fingerprint, check.loaded.info.engine, check.loaded.info.dtype, layer,
                     direction, norm, check.plan.doses, samples, check.plan.seed, NEW_TOKENS, TEMPERATURE)  # fmt: skip
        block = check.journal.block(key, {"sampled": found.concept, "layer": layer}, compute)
        rows += [Sample(**sample) for sample in block["samples"]]
    return rows
