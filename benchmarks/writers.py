"""Which vectors steer best: powers of the activations' covariance between the difference of means and the whitened one.

    python benchmarks/writers.py demo-out                # the demo's results, layers 10, 14 and 19, dose .2
    python benchmarks/writers.py demo-out --layers 14 --tried       # also directions that gradients and training give
    python benchmarks/writers.py demo-out --layers 14 --loss 0.17   # each in the dose at which plain texts lose .17

With the covariance S of the training texts' activations (a tenth shrunk to its diagonal) and d the difference of means, S^-a d is
added at one layer after open prompts, as `steer` does. `t` is a concept's effect on its own words in deviations of shuffled-label
directions of the same power, and p that of one test a concept. `loss` is what plain texts lose, by the concepts' directions and
by those of shuffled labels.

`--tried` also takes the gradient of each text's likelihood for its activation: F^-a g, with the difference g of the gradients'
means over texts and their covariance F, is the step of natural gradient ascent that makes a concept's texts likelier and the
others' less likely. And it pulls readers of the next captured layer back through the model. Both are also added to S^-.5 d.

Last, it trains S^-.5 d further, by reference-free preference pairs as RePS does (https://arxiv.org/abs/2505.20809), with a price
on what neutral texts lose. Shuffled labels are trained in the same way, on the same half of the groups.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from inspect import unwrap
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.nn.functional import logsigmoid

from amygdala_tl import load_model, load_readout
from amygdala_tl.api.inputs import corpus_of, store_of
from amygdala_tl.api.labelled import judged_texts
from amygdala_tl.diagnostics.nulls import permuted_texts
from amygdala_tl.directions.data import LabelledActivations
from amygdala_tl.directions.statistics import gather
from amygdala_tl.directions.whitening import shrink
from amygdala_tl.lens.decoder import decoder_of
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import on_resid_post, run_resid_post
from amygdala_tl.lens.upper import head, run_above
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

PAIR_TOKENS, STEPS, RATE, SHARPNESS, PRICE = 18, 16, 0.004, 10.0, 5.0
"""Of training: tokens of a text, steps of Adam and their size, sharpness of the preference, and price of neutral texts' loss."""


def differences(data: LabelledActivations) -> Tensor:
    """Difference of means of every concept at the only layer, [concept, d_model]."""
    return gather([data], second_moments=False).difference[:, 0].double()


def shuffled(data: LabelledActivations, shuffles: int = SHUFFLES) -> list[LabelledActivations]:
    """The texts with their own labels, and with shuffled ones."""
    sources = permuted_texts(data.groups, torch.Generator().manual_seed(0), shuffles).long()
    return [data, *(replace(data, positive=data.positive[each], negative=data.negative[each]) for each in sources)]


def metric(data: LabelledActivations, power: float) -> Tensor:
    """A power of the covariance, [d_model, d_model]."""
    covariance = gather([data], second_moments=True).covariance
    assert covariance is not None
    values, axes = torch.linalg.eigh(shrink(covariance[0].double(), SHRINKAGE))
    return axes @ torch.diag(values.clamp_min(1e-12) ** power) @ axes.T


def writers(data: LabelledActivations, power: float, shuffles: int = SHUFFLES) -> Tensor:
    """S^-power d of the concepts, then of each shuffle's, [direction, d_model], unit norm."""
    return units(torch.cat([differences(each) for each in shuffled(data, shuffles)]) @ metric(data, -power))


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


class Training:
    """Texts on which vectors at one layer are trained: the streams of their beginnings, and which of them may be drawn."""

    def __init__(self, lens: Lens, layer: int, texts: Sequence[str], neutral: Sequence[str], groups: Tensor) -> None:
        self.lens, self.layer = lens, layer
        ids = [lens.tokenizer(text).input_ids[:PAIR_TOKENS] for text in (*texts, *neutral)]
        self.tokens = torch.tensor([each + [0] * (PAIR_TOKENS - len(each)) for each in ids])
        whole = torch.tensor([len(each) == PAIR_TOKENS for each in ids])
        half = torch.randperm(int(groups.max()) + 1, generator=torch.Generator().manual_seed(5))[groups] % 2 == 0
        self.drawn = half & whole[: len(texts)]
        self.neutral = whole.nonzero()[:, 0][whole.nonzero()[:, 0] >= len(texts)]
        self.streams = torch.cat([run_resid_post(lens.model, some, [layer])[:, :, 0] for some in self.tokens.split(32)])
        self.vocabulary, places = torch.unique(self.tokens, return_inverse=True)
        self.places = places.reshape(self.tokens.shape)

    def likelihood(self, rows: Tensor, added: Tensor) -> Tensor:
        """Mean log-likelihood of texts with a vector added to each, among the tokens of all texts, [text]."""
        stream = torch.cat([self.streams[rows, :1], self.streams[rows, 1:] + added[:, None]], dim=1)
        last = unwrap(run_above)(self.lens, stream, self.layer, [self.lens.info.n_layers - 1])[:, 1:-1, 0]
        logits = unwrap(head)(self.lens, last, self.vocabulary)  # both forbid gradients where they are wrapped
        return logits.log_softmax(dim=-1).gather(2, self.places[rows, 2:, None]).mean(dim=(1, 2))

    def trained(self, data: LabelledActivations, start: Tensor, amount: float) -> Tensor:
        """Vectors of the concepts of `data`, from `start` on, [concept, d_model]."""
        chance = torch.Generator().manual_seed(0)
        vectors = start.float().clone().requires_grad_()
        optimiser = torch.optim.Adam([vectors], lr=RATE)
        classes = [
            [(of[:, c] & self.drawn).nonzero()[:, 0] for c in range(len(start))]
            for of in (data.positive, data.negative)
        ]
        for _ in range(STEPS):
            plus, minus, neutral = (
                torch.stack([rows[torch.randint(len(rows), (), generator=chance)] for rows in each])
                for each in (*classes, [self.neutral] * len(start))
            )
            with torch.no_grad():
                before = self.likelihood(neutral, torch.zeros_like(vectors))
            with torch.enable_grad():
                add = amount * vectors / vectors.norm(dim=-1, keepdim=True)
                up, other_up = self.likelihood(plus, add), self.likelihood(minus, add)
                down, other_down = self.likelihood(plus, -add), self.likelihood(minus, -add)
                preferred = logsigmoid(SHARPNESS * (up - other_up)) + logsigmoid(SHARPNESS * (other_down - down))
                optimiser.zero_grad()
                (PRICE * (before - self.likelihood(neutral, add)) - preferred).sum().backward()
            optimiser.step()
        return units(vectors.detach().double())


HEADINGS = [
    "dose", "mean effect, nats", "deviation of shuffled", "mean t", "t > 3", "steer", "loss, nats a token", "of shuffled",
]  # fmt: skip
"""Of what `row` gives behind layer and direction."""


def row(
    lens: Lens, layer: int, dose: float, at_loss: float | None, name: str, directions: Tensor, concepts: list[str]
) -> list[str]:
    """What some directions do at one layer; those of the concepts first, then those of shuffled labels."""
    directions, many = directions.float(), len(concepts)
    norm, plain = mean_norms(decoder_of(lens), [layer])[layer], Bench(lens, layer, plain_tokens(lens.tokenizer))

    def edits(rows: slice) -> dict[int, list[Add]]:
        return {layer: [Add(directions[rows], amount=dose * norm, where=NOT_FIRST)]}

    loss = plain.damage(many, edits).loss
    for _ in range(0 if at_loss is None else 3):  # the loss grows with the square of the dose or a little faster
        dose *= (at_loss / float(loss.mean())) ** 0.4
        loss = plain.damage(many, edits).loss
    of_shuffled = plain.damage(
        len(directions) - many, lambda rows: edits(slice(rows.start + many, rows.stop + many))
    ).loss
    words = concept_words(lens.tokenizer, concepts)
    effects = Bench(lens, layer, open_prompts(lens.tokenizer)).word_shift(words, len(directions), edits)[0].mean(dim=1)
    own, null = effects[:many].diagonal(), effects[many:].T
    t, p = pooled_p_values(own[:, None], null[:, None])
    steer = int((holm_over_cells(p) <= 0.05).sum())
    return [
        str(layer), name, f"{dose:.3f}", f"{own.mean():.3f}", f"{null.std(dim=1).mean():.3f}", f"{t.mean():.2f}",
        str(int((t > 3).sum())), str(steer), f"{loss.mean():.3f}", f"{of_shuffled.mean():.3f}",
    ]  # fmt: skip


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of `amygdala-tl demo`")
    parser.add_argument("--layers", default="10,14,19")
    parser.add_argument("--dose", type=float, default=0.2)
    parser.add_argument("--loss", type=float, help="take each row's dose at which plain texts lose this on average")
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
        neutral = [text.text for text in corpus.texts if text.split == "train" and text.neutral]
        training = Training(lens, layer, [texts[each] for each in ids], neutral, data.groups)
        starts, amount = half.split(len(readout.concepts)), 0.2 * mean_norms(decoder_of(lens), [layer])[layer]
        pairs = zip(shuffled(data), starts, strict=True)
        yield "S^-.5 d, trained", torch.cat([training.trained(each, start, amount) for each, start in pairs])

    table = grid(["layer", "direction"], HEADINGS, title=f"{len(readout.concepts)} concepts")
    for layer in map(int, arguments.layers.split(",")):
        arms = [(f"S^-{power:g} d", writers(at(layer), power)) for power in POWERS]
        for name, directions in [*arms, *(tried(layer) if arguments.tried else ())]:
            table.add_row(*row(lens, layer, arguments.dose, arguments.loss, name, directions, list(readout.concepts)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
