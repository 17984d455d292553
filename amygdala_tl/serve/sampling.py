"""The next token from logits: greedy, or a sample from the nucleus of the distribution."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: divides the logits; 0 takes the most likely token.
        top_p: samples from the most likely tokens that have this probability together.
        seed: of the noise; None for another one each time.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None


class Sampler:
    """Chooses the tokens of one sequence; its noise is its own, so other sequences do not change it."""

    def __init__(self, said: Sampling) -> None:
        self._said = said
        self._generator = torch.Generator()
        if said.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(said.seed)

    def choose(self, logits: Float[Tensor, " vocab"]) -> int:
        """Return the next token."""
        logits = logits.double().cpu()
        if self._said.temperature == 0:
            return int(logits.argmax())
        shares = (logits / self._said.temperature).softmax(dim=0)
        if self._said.top_p < 1:
            ordered, tokens = shares.sort(descending=True)
            kept = ordered.cumsum(dim=0) - ordered < self._said.top_p  # the token that reaches top_p is the last
            shares = torch.zeros_like(shares).index_copy(0, tokens[kept], ordered[kept])
        return int(torch.multinomial(shares, 1, generator=self._generator))
