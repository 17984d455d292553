"""How long the arms of a causal check take, beside one arm at a time with whole forward passes.

    python benchmarks/steering.py                    # the embedded model, 16 concepts, 4 doses, 20 random directions of each kind

Both sides steer the same directions after the same prompts, and give every arm's shift of every concept's words; the loop
computes a sample of the arms and its time is scaled.
"""

import argparse
import time

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens, load_model
from amygdala_tl.steering.arms import LayerMaterial, make_arms
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.edits import NOT_FIRST, Add
from amygdala_tl.steering.hooks import intervene
from amygdala_tl.steering.norms import mean_norms
from amygdala_tl.steering.prompts import Tokens, open_prompts
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--layers", default="10,14,19,23")
    parser.add_argument("--doses", default="0.05,0.1,0.2,0.4")
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--sample", type=int, default=8, help="arms that the loop computes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    loaded = load_model(arguments.model)
    layers = [int(layer) for layer in arguments.layers.split(",")]
    doses = [float(dose) for dose in arguments.doses.split(",")]
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
