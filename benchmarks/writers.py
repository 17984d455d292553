"""Which vectors steer best: powers of the activations' covariance between the difference of means and the whitened one.

    python benchmarks/writers.py demo-out                # the demo's results, layers 10, 14 and 19, dose .2
    python benchmarks/writers.py demo-out --layers 14 --tried       # also directions that gradients give

With the covariance S of the training texts' activations (a tenth shrunk to its diagonal) and d the difference of means, S^-a d is
added at one layer after open prompts, as `steer` does. `t` is a concept's effect on its own words in deviations of shuffled-label
directions of the same power, and p that of one test a concept. `loss` is what plain texts lose.

`--tried` also takes the gradient of each text's likelihood for its activation: F^-a g, with the difference g of the gradients'
means over texts and their covariance F, is the step of natural gradient ascent that makes a concept's texts likelier and the
others' less likely. And it pulls readers of the next captured layer back through the model. Both are also added to S^-.5 d.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from amygdala_tl import load_model, load_readout
from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.api.labelled import judged_texts
from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.statistics import gather
from amygdala_tl.directions.whitening import shrink
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import on_resid_post
from amygdala_tl.readout.dose import plain_tokens
from amygdala_tl.report.grid import grid
from amygdala_tl.steering.bench import Bench
from amygdala_tl.steering.edits import NOT_FIRST, Add
from amygdala_tl.steering.norms import mean_norms
from amygdala_tl.steering.prompts import open_prompts
from amygdala_tl.steering.significance import holm_over_cells, pooled_p_values
from amygdala_tl.steering.words import concept_words

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHRINKAGE = 0.1
SHUFFLES = 3
TOKENS = 64
"""Of a text, for gradients."""


def differences(data: LabelledActivations) -> Tensor:
    """Difference of means of every concept at the only layer, [concept, d_model]."""
    return gather([data], second_moments=False).difference[:, 0].double()


def shuffled(data: LabelledActivations) -> list[LabelledActivations]:
    """The texts with their own labels, and with shuffled ones."""
    sources = permuted_texts(data.groups, torch.Generator().manual_seed(0), SHUFFLES).long()
    return [data, *(replace(data, positive=data.positive[each], negative=data.negative[each]) for each in sources)]


def metric(data: LabelledActivations, power: float) -> Tensor:
    """A power of the covariance, [d_model, d_model]."""
    covariance = gather([data], second_moments=True).covariance
    assert covariance is not None
    values, axes = torch.linalg.eigh(shrink(covariance[0].double(), SHRINKAGE))
    return axes @ torch.diag(values.clamp_min(1e-12) ** power) @ axes.T


def writers(data: LabelledActivations, power: float) -> Tensor:
    """S^-power d of the concepts, then of each shuffle's, [direction, d_model], unit norm."""
    return units(torch.cat([differences(each) for each in shuffled(data)]) @ metric(data, -power))


def units(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def gradients(lens: Lens, layer: int, texts: Sequence[str]) -> Tensor:
    """How each text's mean log-likelihood changes with a vector added at all tokens but the first, [text, 1, d_model]."""
    found = []
    for text in texts:
        tokens, kept = torch.tensor([lens.tokenizer(text).input_ids[:TOKENS]]), []
        with torch.enable_grad(), on_resid_post(lens.model, layer, partial(_start, kept)):
            logits = lens.model(tokens)
            logits[0, :-1].log_softmax(dim=-1).gather(1, tokens[0, 1:, None]).mean().backward()
        found.append(kept[0].grad[0, 1:].sum(dim=0))
    return torch.stack(found)[:, None]


def pulled_back(lens: Lens, layer: int, above: int, readers: Tensor, prompts: Sequence[Sequence[int]]) -> Tensor:
    """How the scores of readers at a layer above change with what is added at `layer`, mean over tokens, [reader, d_model]."""
    total = torch.zeros_like(readers)
    for prompt in prompts:
        kept: list[Tensor] = []
        with torch.enable_grad(), on_resid_post(lens.model, layer, partial(_start, kept)):
            streams: list[Tensor] = []
            with on_resid_post(lens.model, above, streams.append):
                lens.model(torch.tensor([list(prompt)]))
            scores = (streams[0][0, 1:] @ readers.T).sum(dim=0)
            for row, score in enumerate(scores):
                (change,) = torch.autograd.grad(score, kept[0], retain_graph=row + 1 < len(scores))
                total[row] += change[0, 1:].sum(dim=0)
    return total


def _start(kept: list[Tensor], stream: Tensor) -> Tensor:
    kept.append(stream.detach().requires_grad_())
    return kept[0]


def row(lens: Lens, layer: int, dose: float, name: str, directions: Tensor, concepts: list[str]) -> list[str]:
    """What some directions do at one layer; those of the concepts first, then those of shuffled labels."""
    directions, many = directions.float(), len(concepts)
    amount = dose * mean_norms(decoder_of(lens), [layer])[layer]

    def edits(rows: slice) -> dict[int, list[Add]]:
        return {layer: [Add(directions[rows], amount=amount, where=NOT_FIRST)]}

    words = concept_words(lens.tokenizer, concepts)
    effects = Bench(lens, layer, open_prompts(lens.tokenizer)).word_shift(words, len(directions), edits)[0].mean(dim=1)
    loss = Bench(lens, layer, plain_tokens(lens.tokenizer)).damage(many, edits).loss
    own, null = effects[:many].diagonal(), effects[many:].T
    t, p = pooled_p_values(own[:, None], null[:, None])
    steer = int((holm_over_cells(p) <= 0.05).sum())
    return [
        str(layer), name, f"{own.mean():.3f}", f"{null.std(dim=1).mean():.3f}", f"{t.mean():.2f}",
        str(int((t > 3).sum())), str(steer), f"{loss.mean():.3f}",
    ]  # fmt: skip


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of `amygdala-tl demo`")
    parser.add_argument("--layers", default="10,14,19")
    parser.add_argument("--dose", type=float, default=0.2)
    parser.add_argument("--tried", action="store_true")
    arguments = parser.parse_args()
    readout = load_readout(arguments.results / "readout.safetensors")
    corpus = corpus_of(readout, arguments.results / "corpus")
    store = store_of(readout, arguments.results / "activations")
    lens = load_model()
    texts = {text.id: text.text for text in corpus.texts}

    def at(layer: int) -> LabelledActivations:
        return judged_texts(readout, corpus, store, "train", layers=(layer,)).data.whole()

    def tried(layer: int) -> Iterator[tuple[str, Tensor]]:
        data, half = at(layer), writers(at(layer), 0.5)
        for parameter in lens.model.parameters():
            parameter.requires_grad_(False)
        ids = judged_texts(readout, corpus, store, "train", layers=(layer,)).ids
        likelier = replace(data, activations=gradients(lens, layer, [texts[each] for each in ids]))
        yield "gradient", writers(likelier, 0.0)
        yield "F^-.5 gradient", writers(likelier, 0.5)
        yield "S^.5 gradient", units(writers(likelier, 0.0) @ metric(data, 0.5))
        yield "S^-.5 d + F^-.5 gradient / 4", units(half + writers(likelier, 0.5) / 4)
        above = min(each for each in readout.layers if each > layer)
        prompts = [*plain_tokens(lens.tokenizer), *open_prompts(lens.tokenizer)]
        for power in (0.5, 1.0):
            back = pulled_back(lens, layer, above, writers(at(above), power).float(), prompts).double()
            yield f"S^-{power:g} d of {above}, pulled back", units(back)
            yield "S^.5 of that", units(back @ metric(data, 0.5))
            yield "S^-.5 d + half of that", units(half + units(back @ metric(data, 0.5)) / 2)

    headings = ["mean effect, nats", "deviation of shuffled", "mean t", "t > 3", "steer", "loss, nats a token"]
    table = grid(["layer", "direction"], headings, title=f"{len(readout.concepts)} concepts, dose {arguments.dose:g}")
    for layer in map(int, arguments.layers.split(",")):
        arms = [(f"S^-{power:g} d", writers(at(layer), power)) for power in POWERS]
        for name, directions in [*arms, *(tried(layer) if arguments.tried else ())]:
            table.add_row(*row(lens, layer, arguments.dose, name, directions, list(readout.concepts)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
