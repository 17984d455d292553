"""How long the arms of a causal check take, and how often it finds something where there is nothing.

    python benchmarks/steering.py                    # the embedded model, 16 concepts, 4 doses, 20 random directions of each kind
    python benchmarks/steering.py --families 200     # checks of random directions in the place of concepts
    # write vectors of shuffled labels in the place of concepts:
    python benchmarks/steering.py --families 800 --shuffles 40 --data demo-out --layers 14 --doses 0.1,0.2,0.4

Time stands beside one arm at a time with whole forward passes: both sides steer the same directions after the same prompts, and
give every arm's shift of every concept's words; the loop computes a sample of the arms and its time is scaled.

A family of nulls is a whole check whose concepts have random directions: the share of families with any finding is the
family-wise error. Each is tested as `steer` does, by one test a concept. Beside it stands the power: a direction is planted in
each family, a multiple of what random directions do to its words, at all layers.

With `--data`, a folder of `demo`, concepts have write vectors of shuffled labels instead: what the estimator gives where there is
nothing to find. Each family takes one shuffle for its concepts, and is judged as `steer` judges, against random directions and
against the vectors of other shuffles. Intervals and broken doses, which only lower the number of findings, are left out.
"""

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from einops import rearrange
from rich.console import Console
from rich.table import Table
from torch import Tensor

from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.api.labelled import judged_texts
from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions.method import apply_method, read_method
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.readout.record import Readout, load_readout
from amygdala_tl.steering.arms import LayerMaterial, make_arms, random_directions
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.edits import NOT_FIRST, Add
from amygdala_tl.steering.hooks import intervene
from amygdala_tl.steering.norms import mean_norms
from amygdala_tl.steering.prompts import Tokens, open_prompts
from amygdala_tl.steering.significance import holm_over_cells, pooled_p_values
from amygdala_tl.steering.words import ConceptWords, concept_words

CONCEPTS = (
    "amusement", "anxiety", "awe", "boredom", "calm", "clarity", "curiosity", "determination", "frustration", "gratitude",
    "grief", "joy", "loneliness", "pride", "shame", "warmth",
)  # fmt: skip


def batched(
    loaded: Lens, layer: int, directions: Tensor, amounts: Tensor, prompts: Tokens, words: ConceptWords
) -> Tensor:
    """All arms on the batch axis, above the layer only."""

    def edits(rows: slice) -> dict[int, list[Add]]:
        return {layer: [Add(directions[rows], amount=amounts[rows], where=NOT_FIRST)]}

    return Bench(loaded, layer, prompts).word_shift(words, len(directions), edits)[0]


@torch.no_grad()
def naive(
    loaded: Lens, layer: int, directions: Tensor, amounts: Tensor, prompts: Tokens, words: ConceptWords
) -> Tensor:
    """One arm and one prompt at a time, from the tokens to all logits; the unsteered pass is made once a prompt."""
    tokens = [torch.tensor([prompt]) for prompt in prompts]
    plain = [loaded.model(some)[0, -1].log_softmax(dim=-1)[words.tokens] for some in tokens]
    rows = []
    for direction, amount in zip(directions, amounts, strict=True):
        with intervene(loaded, {layer: Add(direction, amount=float(amount), where=NOT_FIRST)}):
            said = [loaded.model(some)[0, -1].log_softmax(dim=-1)[words.tokens] for some in tokens]
        rows.append(torch.stack([words.contrast(now - before) for now, before in zip(said, plain, strict=True)]))
    return torch.stack(rows)


@torch.no_grad()
def pool_of_effects(
    loaded: Lens, layers: list[int], doses: list[float], pool: Tensor, concepts: Sequence[str]
) -> Tensor:
    """Mean effect of directions [layer, direction, d_model] on every concept's words, [layer, dose, direction, concept]."""
    words, prompts = concept_words(loaded.tokenizer, concepts), open_prompts(loaded.tokenizer)
    norms = mean_norms(decoder_of(loaded), layers)
    found = []
    for layer, directions in zip(layers, pool, strict=True):
        bench = Bench(loaded, layer, prompts)

        def effects(amount: float, bench: Bench = bench, layer: int = layer, directions: Tensor = directions) -> Tensor:
            def edits(rows: slice) -> dict[int, list[Add]]:
                return {layer: [Add(directions[rows], amount=amount, where=NOT_FIRST)]}

            return bench.word_shift(words, len(directions), edits)[0].mean(dim=1)

        found.append(torch.stack([effects(dose * norms[layer]) for dose in doses]))
    return torch.stack(found)


def family(pool: Tensor, random: int, planted: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Effects of one check, [layer, concept, dose], and those of its random directions, [layer, concept, dose, random].

    `planted` deviations of what random directions do are added to the first concept's effects.
    """
    effects, nulls = [], []
    for of_layer in pool:
        concepts = of_layer.shape[2]
        drawn = torch.randperm(of_layer.shape[1], generator=generator)
        own = of_layer[:, drawn[:concepts]].diagonal(dim1=1, dim2=2)  # each direction on its own concept's words
        own[:, 0] += planted * of_layer[:, :, 0].std(dim=1)
        effects.append(rearrange(own, "dose concept -> concept dose"))
        others = of_layer[:, drawn[concepts : concepts + 2 * random]]
        nulls.append(rearrange(others, "dose random concept -> concept dose random"))
    return torch.stack(effects), torch.stack(nulls)


def one_test_a_concept(effect: Tensor, null: Tensor) -> Tensor:
    """Corrected p of each concept, as `steer` computes it."""
    looks = rearrange(effect, "layer concept dose -> concept (layer dose)")
    nulls = rearrange(null, "layer concept dose random -> concept (layer dose) random")
    return holm_over_cells(pooled_p_values(looks, nulls)[1]).amin(dim=1)


def nulls(loaded: Lens, layers: list[int], doses: list[float], random: int, families: int) -> Table:
    """Family-wise error and power."""
    generator = torch.Generator().manual_seed(0)
    many = max(400, 10 * random)  # families share few of them
    drawn = torch.stack([random_directions(many, loaded.info.d_model, generator) for _ in layers])
    pool = pool_of_effects(loaded, layers, doses, drawn, CONCEPTS)
    table = Table(
        title=f"{families} families of {len(CONCEPTS)} concepts at {len(layers)} layers in {len(doses)} doses, "
        f"2 x {random} random directions of {many}"
    )
    for column in ("planted, deviations", "families with a false finding", "planted direction found"):
        table.add_column(column, justify="right")
    for planted in (0.0, 3.0, 4.0, 5.0, 6.0):
        found = torch.stack(
            [one_test_a_concept(*family(pool, random, planted, generator)) <= 0.05 for _ in range(families)]
        )
        false, true = found[:, 1:] if planted else found, found[:, 0]
        power = f"{true.double().mean():.1%}" if planted else ""
        table.add_row(f"{planted:g}", f"{false.any(dim=1).double().mean():.1%}", power)
    return table


def shuffled_vectors(readout: Readout, data: Path, layers: list[int], shuffles: int) -> Tensor:
    """Write vectors of labels shuffled over groups, [layer, shuffle, concept, d_model]."""
    corpus, store = corpus_of(readout, data / "corpus"), store_of(readout, data / "activations")
    texts = judged_texts(readout, corpus, store, "train", layers=layers).data.whole()
    sources = permuted_texts(texts.groups, torch.Generator().manual_seed(0), shuffles).long()
    method, names = read_method(str(readout.provenance.writer)), list(readout.concepts)
    found = []
    for source in sources:
        some = replace(texts, positive=texts.positive[source], negative=texts.negative[source], grades=None)
        found.append(apply_method(method, some, some.activations[:0], names).directions)
    return rearrange(torch.stack(found), "shuffle concept layer d_model -> layer shuffle concept d_model")


def shuffled_nulls(
    loaded: Lens, data: Path, layers: list[int], doses: list[float], random: int, families: int, shuffles: int
) -> Table:
    """Share of null concepts that pass, and of families with any, against each family of controls and against both."""
    generator, readout = torch.Generator().manual_seed(0), load_readout(data / "readout.safetensors")
    drawn = torch.stack([random_directions(3 * random, loaded.info.d_model, generator) for _ in layers])
    vectors, concepts = shuffled_vectors(readout, data, layers, shuffles), len(readout.concepts)
    both = torch.cat([rearrange(vectors, "layer shuffle concept d -> layer (shuffle concept) d"), drawn], dim=1)
    pool = pool_of_effects(loaded, layers, doses, both, readout.concepts)
    of_shuffles, of_random = pool[:, :, : shuffles * concepts], pool[:, :, shuffles * concepts :]
    of_shuffles = rearrange(
        of_shuffles, "layer dose (shuffle arm) concept -> shuffle arm concept (layer dose)", arm=concepts
    )
    of_random = rearrange(of_random, "layer dose arm concept -> concept (layer dose) arm")
    controls = math.ceil(2 * random / concepts)
    found: dict[str, list[Tensor]] = {"random": [], "shuffled": [], "both, as `steer`": []}
    for number in range(families):
        mine = number % shuffles
        effect = of_shuffles[mine].diagonal(dim1=0, dim2=1).T  # each vector on its own concept's words
        others = [other for other in torch.randperm(shuffles, generator=generator).tolist() if other != mine][:controls]
        null = rearrange(of_shuffles[others], "shuffle arm concept look -> concept look (shuffle arm)")
        some = of_random[..., torch.randperm(3 * random, generator=generator)[: 2 * random]]
        p = [pooled_p_values(effect, each)[1] for each in (some, null)]
        for name, each in zip(found, (*p, torch.maximum(*p)), strict=True):
            found[name].append(holm_over_cells(each).amin(dim=1) <= 0.05)
    table = Table(
        title=f"{families} checks of {concepts} concepts with write vectors of shuffled labels ({shuffles} shuffles), "
        f"2 x {random} random directions of {3 * random}, {controls} shuffles as controls"
    )
    for column in ("against", "null concepts that pass", "checks with one or more"):
        table.add_column(column, justify="right")
    for name, passed in found.items():
        rows = torch.stack(passed).double()
        table.add_row(name, f"{rows.mean():.2%}", f"{rows.amax(dim=1).mean():.1%}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--layers", default="10,14,19,23")
    parser.add_argument("--doses", default="0.05,0.1,0.2,0.4")
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--sample", type=int, default=8, help="arms that the loop computes")
    parser.add_argument("--families", type=int, help="checks of random directions, instead of times")
    parser.add_argument("--data", type=Path, help="folder of `demo`: families of shuffled labels instead")
    parser.add_argument("--shuffles", type=int, default=12, help="of labels, with --data")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    loaded = load_model(arguments.model)
    layers = [int(layer) for layer in arguments.layers.split(",")]
    doses = [float(dose) for dose in arguments.doses.split(",")]
    if arguments.families and arguments.data:
        sizes = arguments.random, arguments.families, arguments.shuffles
        Console().print(shuffled_nulls(loaded, arguments.data, layers, doses, *sizes))
        return
    if arguments.families:
        Console().print(nulls(loaded, layers, doses, arguments.random, arguments.families))
        return
    words = concept_words(loaded.tokenizer, CONCEPTS)
    prompts = open_prompts(loaded.tokenizer)
    norms = mean_norms(decoder_of(loaded), layers)
    generator = torch.Generator().manual_seed(0)
    table = Table(
        title=f"{len(CONCEPTS)} concepts + 2 x {arguments.random} random directions in {len(doses)} doses, "
        f"{len(prompts)} prompts, {loaded.info.id} on {loaded.info.engine}, {arguments.threads} threads"
    )
    for column in (
        "layer",
        "arms",
        "batched, s",
        "one at a time, s (scaled)",
        "times faster",
        "largest difference, nats",
    ):
        table.add_column(column, justify="right")
    total_ours = total_theirs = 0.0
    for layer in layers:
        drawn = torch.randn(len(CONCEPTS), loaded.info.d_model, generator=generator)
        material = LayerMaterial(layer, drawn / drawn.norm(dim=-1, keepdim=True))
        arms = make_arms(material, arguments.random, generator)
        directions = arms.directions.repeat(len(doses), 1)
        amounts = torch.tensor(doses).repeat_interleave(len(arms.directions)) * norms[layer]
        some = torch.linspace(0, len(directions) - 1, arguments.sample).long()
        started = time.perf_counter()
        expected = naive(loaded, layer, directions[some], amounts[some], prompts, words)
        theirs = (time.perf_counter() - started) / len(some) * len(directions)
        started = time.perf_counter()
        found = batched(loaded, layer, directions, amounts, prompts, words)
        ours = time.perf_counter() - started
        worst = float((found[some] - expected).abs().max())
        total_ours, total_theirs = total_ours + ours, total_theirs + theirs
        table.add_row(
            str(layer), str(len(directions)), f"{ours:.0f}", f"{theirs:.0f}", f"{theirs / ours:.1f}", f"{worst:.0e}"
        )
    table.add_row("all", "", f"{total_ours:.0f}", f"{total_theirs:.0f}", f"{total_theirs / total_ours:.1f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
