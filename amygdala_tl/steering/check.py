"""The causal check: every concept's direction, and its controls, added to and taken out of a running model.

One layer at a time: all directions in all doses are rows of one batch over prompts whose lower part has run once. What is
measured goes to a journal block by block; statistics and verdicts are made of the journal's numbers (`judge`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.steering.ablating import ablation_places, measure_ablations
from amygdala_tl.steering.arms import DAMAGE_KINDS, Arms, Readers, make_arms
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.interventions import NOT_FIRST, Add, Intervention
from amygdala_tl.steering.journal import Journal, key_of
from amygdala_tl.steering.judge import judge
from amygdala_tl.steering.measured import MeasuredLayer, entry, from_rows
from amygdala_tl.steering.prompts import open_prompts, plain_tokens
from amygdala_tl.steering.records import SteeringPlan, SteeringReport
from amygdala_tl.steering.words import ConceptWords

ARMS_A_BLOCK = 128

SINK_RATIO = 10.0
"""A token whose norm is more than this many times its text's median is an attention sink, and no measure of the norm."""

Progress = Callable[[int, int], None]
"""(blocks done, blocks in all)."""


@dataclass(frozen=True, slots=True)
class LayerMaterial:
    """What is known of one layer.

    Attributes:
        layer: where directions are added.
        concepts: [concept, d_model] unit rows: what is checked.
        halves: the concepts' directions fitted on two halves of the groups; None without a corpus.
        shuffled: directions of the same estimator on shuffled labels; None without a corpus.
        readers: readouts of a later layer, fitted on the same two halves; None if there is none.
    """

    layer: int
    concepts: Float[Tensor, "concept d_model"]
    halves: Float[Tensor, "half concept d_model"] | None = None
    shuffled: Float[Tensor, "shuffled d_model"] | None = None
    readers: Readers | None = None


@dataclass(frozen=True)
class SteeringCheck:
    """A check, ready to run.

    Attributes:
        loaded: the model.
        plan: what is checked.
        material: one a layer of the plan, in its order.
        words: of the plan's concepts.
        readable: concept -> whether its readout was found to know it on held-out texts.
        carriers: number of a concept -> token ids of texts that carry it, for ablation.
        journal: where blocks are kept.
    """

    loaded: Lens
    plan: SteeringPlan
    material: Sequence[LayerMaterial]
    words: ConceptWords
    readable: Mapping[str, bool] = field(default_factory=dict)
    carriers: Mapping[int, Sequence[Sequence[int]]] = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal)

    @cached_property
    def norms(self) -> dict[int, float]:
        """Layer -> mean norm of resid_post over the plain texts' tokens without sinks: the unit of dose."""
        layers = self.plan.layers

        def compute() -> Mapping[str, object]:
            return {"norms": list(mean_norms(self.loaded, layers).values())}

        key = key_of("norms", *self._of_model, layers, plain_tokens(self.loaded.tokenizer))
        return dict(zip(layers, self.journal.block(key, {"layers": layers}, compute)["norms"], strict=True))

    @property
    def _of_model(self) -> tuple[str, str, str]:
        """What of the model a number depends on."""
        info = self.loaded.info
        return info.fingerprint, info.engine, info.dtype

    def arms(self, material: LayerMaterial) -> Arms:
        """All directions of one layer; random ones depend on the plan's seed and the layer."""
        generator = torch.Generator().manual_seed(self.plan.seed * 1000 + material.layer)
        return make_arms(
            material.layer,
            material.concepts,
            self.plan.random,
            generator,
            halves=material.halves,
            shuffled=material.shuffled,
        )

    def run(self, progress: Progress = lambda _done, _total: None) -> SteeringReport:
        """Measure what the journal lacks, and judge.

        Raises:
            StorageError: the journal cannot be written.
        """
        arms = [self.arms(material) for material in self.material]
        total = sum(len(list(self._blocks(of))) for of in arms)
        total += len(self.carriers) * len(ablation_places(self.plan, self.loaded.info.n_layers))
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        measured = [self._layer(material, of, advance) for material, of in zip(self.material, arms, strict=True)]
        ablations = measure_ablations(self, advance) if self.carriers else []
        return judge(self.plan, self.loaded.info.id, measured, self.words.words, self.readable, ablations)

    def _blocks(self, arms: Arms) -> Iterator[tuple[int, float, list[int]]]:
        """(number of the dose, dose, rows): arms with the same measures."""
        with_damage = set(arms.rows(*DAMAGE_KINDS))
        for rows in (sorted(with_damage), [row for row in range(len(arms.kinds)) if row not in with_damage]):
            for column, dose in enumerate(self.plan.doses[1:]):
                for start in range(0, len(rows), ARMS_A_BLOCK):
                    yield column, dose, rows[start : start + ARMS_A_BLOCK]

    def _layer(self, material: LayerMaterial, arms: Arms, advance: Callable[[], None]) -> MeasuredLayer:
        layer, norm, readers = material.layer, self.norms[material.layer], material.readers
        prompts, plain = open_prompts(self.loaded.tokenizer), plain_tokens(self.loaded.tokenizer)
        benches: dict[str, Bench] = {}  # made when the first block is not in the journal
        depends_on = (
            "arms", *self._of_model, layer, prompts, plain,
            self.words.tokens, self.words.share, None if readers is None else readers.layer,
            None if readers is None else readers.vectors, None if readers is None else readers.deviation,
        )  # fmt: skip
        n, doses, concepts = len(arms.kinds), len(self.plan.doses) - 1, len(self.plan.concepts)
        words = torch.full((n, doses, len(prompts), concepts), torch.nan)
        reads = None if readers is None else torch.full((n, doses, 2, concepts), torch.nan)
        kl, loss = torch.full((n, doses), torch.nan), torch.full((n, doses), torch.nan)
        with_damage = set(arms.rows(*DAMAGE_KINDS))
        for column, dose, rows in self._blocks(arms):
            directions = arms.directions[rows]
            damaging = rows[0] in with_damage

            def compute(
                directions: Tensor = directions, amount: float = dose * norm, damaging: bool = damaging
            ) -> Mapping[str, object]:
                if "prompts" not in benches:
                    benches["prompts"] = Bench(self.loaded, layer, prompts, readers=readers)
                    benches["plain"] = Bench(self.loaded, layer, plain)

                def edits(some: slice) -> dict[int, list[Intervention]]:
                    return {layer: [Add(directions[some], torch.tensor([amount]), NOT_FIRST)]}

                shift, read = benches["prompts"].word_shift(self.words, len(directions), edits)
                harm = benches["plain"].damage(len(directions), edits) if damaging else None
                return entry(
                    words=shift, reads=read,
                    kl=None if harm is None else harm.kl, loss=None if harm is None else harm.loss,
                )  # fmt: skip

            row = self.journal.block(
                key_of(*depends_on, directions, round(dose * norm, 9), damaging),
                {"layer": layer, "dose": dose, "kinds": [arms.kinds[row] for row in rows]},
                compute,
            )
            words[rows, column] = from_rows(row["words"])
            if reads is not None:
                reads[rows, column] = from_rows(row["reads"])
            if row["kl"] is not None:
                kl[rows, column], loss[rows, column] = from_rows(row["kl"]), from_rows(row["loss"])
            advance()
        return MeasuredLayer(arms=arms, norm=norm, words=words, reads=reads, kl=kl, loss=loss, readers=readers)


def mean_norms(loaded: Lens, layers: Sequence[int]) -> dict[int, float]:
    """Layer -> mean norm of resid_post over the tokens of the plain texts, without the first of each and other sinks."""
    kept = []
    for tokens in plain_tokens(loaded.tokenizer):
        norms = run_resid_post(loaded.model, torch.tensor([tokens]), layers)[0, 1:].float().norm(dim=-1).cpu()
        kept.append(norms.masked_fill(norms > SINK_RATIO * norms.median(dim=0).values, torch.nan))
    means = torch.cat(kept).double().nanmean(dim=0)
    # Five digits: the last ones depend on which other layers were asked for, and the journal would not find its blocks.
    return {layer: float(f"{mean:.5g}") for layer, mean in zip(layers, means.tolist(), strict=True)}
