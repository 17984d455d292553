"""Running the blocks of a check on the model.

One layer at a time: all directions in one dose are rows of one batch, over prompts that have run once up to that layer. The
journal keeps every block; what it has is not measured again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from amygdala_tl.directions.erasure import Erasure
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens
from amygdala_tl.steering.arms import LayerMaterial
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.blocks import AblationBlock, AdditionBlock, ProbeBlock, key_of
from amygdala_tl.steering.edits import NOT_FIRST, Add, Edit, Erase
from amygdala_tl.steering.journal import Journal
from amygdala_tl.steering.measured import (
    FoundAblations,
    FoundAdditions,
    FoundProbes,
    MeasuredAblation,
    MeasuredLayer,
    Measurements,
    from_rows,
    to_rows,
)
from amygdala_tl.steering.norms import mean_norms
from amygdala_tl.steering.plan import (
    NOTHING,
    Probed,
    SteeringCheck,
    ablation_blocks,
    addition_blocks,
    arms_of,
    norm_block,
    probe_blocks,
)
from amygdala_tl.steering.probing import Run, read_across, read_unseen
from amygdala_tl.steering.records import Refit
from amygdala_tl.steering.settings import EraseMethod

DAMAGED = 4
"""Maps of an ablation whose damage is measured: the concept's own and three controls."""


def measure(check: SteeringCheck, lens: Lens, journal: Journal, advance: Callable[[], None]) -> Measurements:
    """Measure what the journal lacks; `advance` is called after every block.

    Raises:
        StorageError: the journal cannot be written.
    """
    norms = journal.block(norm_block(check), tuple[float, ...], partial(_norms, check, lens))
    layers = [
        _layer(check, lens, material, norm, journal, advance)
        for material, norm in zip(check.material, norms, strict=True)
    ]
    return Measurements(layers, measure_ablations(check, lens, journal, advance))


def measure_ablations(
    check: SteeringCheck, lens: Lens, journal: Journal, advance: Callable[[], None]
) -> list[MeasuredAblation]:
    """Measure the ablations of a check alone; arguments as in `measure`."""
    measured, refits, ablations = [], _refits(check, journal, advance), _Ablations(lens)
    for block in ablation_blocks(check):
        found = journal.block(block, FoundAblations, partial(ablations.measure, block))
        reads = None if found.reads is None else from_rows(found.reads)
        loss = from_rows(found.loss or [])
        measured.append(
            MeasuredAblation(
                block.layers, block.concept, block.method, from_rows(found.words), reads, loss,
                refits.get((block.method, block.layers, block.concept), ()),
            )
        )  # fmt: skip
        advance()
    return measured


def count_blocks(check: SteeringCheck) -> int:
    """How many times `measure` advances."""
    additions = (addition_blocks(check, of, arms_of(check, of), 1.0) for of in check.material)
    return sum(len(list(blocks)) for blocks in additions) + len(ablation_blocks(check)) + len(probe_blocks(check))


def _norms(check: SteeringCheck, lens: Lens) -> tuple[float, ...]:
    return tuple(mean_norms(decoder_of(lens), check.plan.layers).values())


def _layer(
    check: SteeringCheck,
    lens: Lens,
    material: LayerMaterial,
    norm: float,
    journal: Journal,
    advance: Callable[[], None],
) -> MeasuredLayer:
    arms, readers, benches = arms_of(check, material), material.readers, _Benches(lens)
    n, doses, concepts = len(arms.kinds), len(check.plan.doses) - 1, len(check.plan.concepts)
    kl, loss = torch.full((n, doses), torch.nan), torch.full((n, doses), torch.nan)
    words, reads = torch.empty(0), None
    for rows, column, block in addition_blocks(check, material, arms, norm):
        found = journal.block(block, FoundAdditions, partial(benches.add, block))
        if not len(words):
            words = torch.full((n, doses, len(block.prompts), concepts), torch.nan)
            reads = None if readers is None else torch.full((n, doses, 2, concepts), torch.nan)
        words[rows, column] = from_rows(found.words)
        if reads is not None and found.reads is not None:
            reads[rows, column] = from_rows(found.reads)
        if found.kl is not None and found.loss is not None:
            kl[rows, column], loss[rows, column] = from_rows(found.kl), from_rows(found.loss)
        advance()
    return MeasuredLayer(arms=arms, norm=norm, words=words, reads=reads, kl=kl, loss=loss, readers=readers)


class _Benches:
    """Prompts and plain texts of one layer, run up to it when the first block needs them."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.prompts: Bench | None = None
        self.plain: Bench | None = None

    def add(self, block: AdditionBlock) -> FoundAdditions:
        """Measure a block."""

        def edits(some: slice) -> dict[int, list[Edit]]:
            return {block.layer: [Add(block.directions[some], amount=block.amount, where=NOT_FIRST)]}

        arms = len(block.directions)
        self.prompts = self.prompts or Bench(self.lens, block.layer, block.prompts, readers=block.readers)
        shift, read = self.prompts.word_shift(block.words, arms, edits)
        if not block.plain:
            return FoundAdditions(to_rows(shift), to_rows(read))
        self.plain = self.plain or Bench(self.lens, block.layer, block.plain)
        harm = self.plain.damage(arms, edits)
        return FoundAdditions(to_rows(shift), to_rows(read), to_rows(harm.kl), to_rows(harm.loss))


class _Ablations:
    """Ablations, with what several of them share: plain texts up to a layer, and the damage of controls."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.plain: Bench | None = None
        self.controls: dict[str, Tensor] = {}

    def measure(self, block: AblationBlock) -> FoundAblations:
        """Measure a block."""
        arms, lowest = len(block.erasures[0].read), min(block.layers)
        bench = Bench(self.lens, lowest, block.prompts, readers=block.readers)
        shift, read = bench.word_shift(block.words, arms, partial(_edits, block.layers, block.erasures))
        reads = None if read is None else read[:, :, block.concept].mean(dim=1)
        own = self._loss(block, slice(0, 1))
        controls = slice(1, min(arms, DAMAGED))
        key = key_of(block.layers, block.plain, tuple(each.rows(controls) for each in block.erasures))
        if key not in self.controls:
            self.controls[key] = self._loss(block, controls)
        loss = torch.cat([own, self.controls[key]])
        return FoundAblations(to_rows(shift[:, :, block.concept]), to_rows(reads), to_rows(loss))

    def _loss(self, block: AblationBlock, some: slice) -> Tensor:
        """What plain texts lose by some of the maps."""
        lowest = min(block.layers)
        if self.plain is None or self.plain.layer != lowest:
            self.plain = Bench(self.lens, lowest, block.plain)
        erasures = tuple(each.rows(some) for each in block.erasures)
        return self.plain.damage(some.stop - some.start, partial(_edits, block.layers, erasures)).loss


def _edits(layers: Sequence[int], erasures: Sequence[Erasure], some: slice) -> dict[int, list[Edit]]:
    """Edits that take out what some rows of the erasures do, one erasure a layer."""
    return {layer: [Erase(each.rows(some), where=NOT_FIRST)] for layer, each in zip(layers, erasures, strict=True)}


def _refits(
    check: SteeringCheck, journal: Journal, advance: Callable[[], None]
) -> dict[tuple[EraseMethod, tuple[int, ...], int], tuple[Refit, ...]]:
    """(method, layers, number of the concept) -> what refitted probes read at each layer from there on."""
    if check.probed is None:
        return {}
    found: dict[Probed, dict[tuple[int, int], tuple[float, float]]] = {}  # (concept, layer) -> (across, unseen)
    for key, block in probe_blocks(check).items():
        rows = journal.block(block, FoundProbes, partial(_probe, check.probed.run, block))
        across, unseen = from_rows(rows.across).flatten(), from_rows(rows.unseen).flatten()
        cells = product(block.concepts, block.read)
        found[key] = dict(zip(cells, zip(across.tolist(), unseen.tolist(), strict=True), strict=True))
        advance()
    return {
        (method, place, concept): tuple(
            _refit(layer, found[NOTHING][concept, layer], after, found[method, place, None][concept, layer])
            for (_, layer), after in own.items()
        )
        for (method, place, concept), own in found.items()
        if concept is not None
    }


def _refit(layer: int, before: tuple[float, float], after: tuple[float, float], control: tuple[float, float]) -> Refit:
    return Refit(layer, before[0], after[0], control[0], before[1], after[1])


def _probe(run: Run, block: ProbeBlock) -> FoundProbes:
    def values(erasures: Sequence[Erasure]) -> torch.Tensor:
        edits = {layer: [Erase(each, where=NOT_FIRST)] for layer, each in zip(block.layers, erasures, strict=True)}
        return run(block.texts, edits, block.read)

    edited = [values(each) for each in block.erasures] or [values(())] * 2
    labels = block.positive, block.negative
    across, unseen = read_across(edited, *labels, block.half), read_unseen(edited, *labels, block.groups, block.half)
    return FoundProbes(to_rows(across), to_rows(unseen))
