"""Generations side by side: the same prompt and the same noise, in every dose of a concept's direction."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.lens.generation import generate
from amygdala_tl.lens.model import Lens
from amygdala_tl.steering.hooks import intervening
from amygdala_tl.steering.interventions import NOT_FIRST, Add
from amygdala_tl.steering.records import Sample

QUESTION = "How are you?"
OPENING = "I feel"

NEW_TOKENS = 32

TEMPERATURE = 0.7
"""At 1 the tail of the vocabulary breaks a small model's sentences before any steering does."""

NGRAM = 3


def sample_doses(
    loaded: Lens,
    concept: str,
    layer: int,
    direction: Float[Tensor, " d_model"],
    norm: float,
    doses: Sequence[float],
    samples: int,
    seed: int,
    *,
    new_tokens: int = NEW_TOKENS,
) -> list[Sample]:
    """`samples` generations a dose and prompt.

    Args:
        loaded: the model.
        concept: name of what is added.
        layer: where.
        direction: unit vector.
        norm: unit of dose.
        doses: 0 is the model as it is.
        samples: how many a prompt and dose.
        seed: of the first sample's noise; the next sample has the next seed.
        new_tokens: length of each.
    """
    found = []
    for ids in _prompts(loaded):
        prompt = loaded.tokenizer.decode(ids)
        tokens = torch.tensor([ids]).expand(len(doses) * samples, -1)
        amounts = torch.tensor([dose * norm for dose in doses for _ in range(samples)])
        seeds = [seed + number for number in range(samples)]

        def noise(step: int, vocabulary: int, seeds: list[int] = seeds) -> Tensor:
            rows = torch.stack([_gumbel(vocabulary, one, step) for one in seeds])
            return rows.repeat(len(doses), 1)

        with intervening(loaded, {layer: [Add(direction[None], amounts, NOT_FIRST)]}):
            said = generate(loaded, tokens, new_tokens, noise=noise, temperature=TEMPERATURE).cpu()
        ends = loaded.tokenizer.eos_token_id
        for row, tokens_said in enumerate(said.tolist()):
            kept = tokens_said[: tokens_said.index(ends)] if ends in tokens_said else tokens_said
            found.append(
                Sample(
                    concept=concept,
                    layer=layer,
                    dose=doses[row // samples],
                    prompt=prompt,
                    seed=seeds[row % samples],
                    text=loaded.tokenizer.decode(kept),
                    repetition=repetition(torch.tensor(kept, dtype=torch.long)),
                )
            )
    return found


def repetition(tokens: Int[Tensor, " step"], n: int = NGRAM) -> float:
    """Share of the n-token sequences that occurred before, 0 to 1; 0 for texts with fewer than two."""
    if len(tokens) <= n:
        return 0.0
    pieces = tokens.unfold(0, n, 1)
    return 1.0 - len(torch.unique(pieces, dim=0)) / len(pieces)


def _prompts(loaded: Lens) -> list[list[int]]:
    tokenizer = loaded.tokenizer
    prompts: list[list[int]] = [list(tokenizer(OPENING).input_ids)]
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": QUESTION}], tokenize=False, add_generation_prompt=True
        )
        prompts.append(list(tokenizer(text, add_special_tokens=False).input_ids))
    return prompts


def _gumbel(vocabulary: int, seed: int, step: int) -> Float[Tensor, " vocab"]:
    """Noise that depends on the sample and the step, not on what else is in the batch."""
    generator = torch.Generator().manual_seed(seed * 100_003 + step)
    uniform = torch.rand(vocabulary, generator=generator).clamp_min(1e-20)
    result: Tensor = -(-uniform.log()).clamp_min(1e-20).log()
    return result
