"""Prompts on the bench at one layer: the part below the edit runs once, the part above runs for many arms in one batch.

Arms lie on the batch axis. HookedTransformer keeps every prompt's stream up to the edited layer and runs only the layers above it
again; the bridge runs whole passes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.upper import can_start_above, head, run_above
from amygdala_tl.steering.arms import Readers
from amygdala_tl.steering.edits import Edit
from amygdala_tl.steering.hooks import apply_all, intervene
from amygdala_tl.steering.words import ConceptWords

Edits = Callable[[slice], Mapping[int, Sequence[Edit]]]
"""Some rows of the batch of arms -> layer -> their edits."""

TOKENS_AT_A_TIME = 2048
LOGITS_AT_A_TIME = 20_000_000


@dataclass(frozen=True, slots=True)
class Damage:
    """What each arm breaks on plain texts.

    Attributes:
        kl: [arm] Kullback-Leibler divergence of the steered model from the unsteered one, nats a token.
        loss: [arm] rise of the mean negative log-likelihood, nats a token: log of the ratio of perplexities.
    """

    kl: Float[Tensor, " arm"]
    loss: Float[Tensor, " arm"]


class Bench:
    """Prompts ready to be run with edits at `layer` and above."""

    def __init__(
        self, loaded: Lens, layer: int, prompts: Sequence[Sequence[int]], *, readers: Readers | None = None
    ) -> None:
        self.loaded = loaded
        self.layer = layer
        self.readers = readers
        self.last = loaded.info.n_layers - 1
        self.read = [self.last] if readers is None else [readers.layer, self.last]
        self.prompts = [torch.tensor([list(prompt)]) for prompt in prompts]
        self.short = can_start_above(loaded)
        self._below = (
            [run_resid_post(loaded.model, prompt, [layer])[:, :, 0] for prompt in self.prompts] if self.short else []
        )
        self._plain = [next(iter(self._streams(place, 1, lambda _: {}))) for place in range(len(prompts))]

    def word_shift(
        self, words: ConceptWords, arms: int, edits: Edits
    ) -> tuple[Float[Tensor, "arm prompt concept"], Float[Tensor, "arm half concept"] | None]:
        """Shift of every concept's words after every prompt, in nats, and of the later layer's readouts, as z.

        The readouts' shift is the mean over all tokens but the first, and over prompts; None without readers.
        """
        shifts, reads = [], []
        for place, plain in enumerate(self._plain):
            base = words.contrast(head(self.loaded, plain[:, -1, -1], words.tokens).float().cpu())
            found = list(self._streams(place, arms, edits))
            logits = [head(self.loaded, part[:, -1, -1], words.tokens).float().cpu() for part in found]
            shifts.append(words.contrast(torch.cat(logits)) - base)
            if self.readers is not None:
                moved = torch.cat(
                    [(part[:, 1:, 0].float() - plain[:, 1:, 0].float()).mean(dim=1).cpu() for part in found]
                )
                score = einsum(moved, self.readers.vectors, "arm d_model, half concept d_model -> arm half concept")
                reads.append(score / self.readers.deviation)
        shift = rearrange(shifts, "prompt arm concept -> arm prompt concept")
        return shift, torch.stack(reads).mean(dim=0) if reads else None

    def damage(self, arms: int, edits: Edits) -> Damage:
        """How much less likely the prompts' own next tokens become, and how far the whole prediction moves.

        The first token's prediction does not count: nothing is added there.
        """
        kl, loss = torch.zeros(arms), torch.zeros(arms)
        tokens = 0
        for place, plain in enumerate(self._plain):
            prompt = self.prompts[place]
            target = prompt[0, 2:]
            base = head(self.loaded, plain[0, 1:-1, -1]).float().log_softmax(dim=-1)
            chance = base.exp()
            entropy = -(chance * base).sum()
            base_loss = F.nll_loss(base.cpu(), target, reduction="sum")
            tokens += len(target)
            start = 0
            for part in self._streams(place, arms, edits):
                for some in torch.split(part[:, 1:-1, -1], max(1, LOGITS_AT_A_TIME // base.numel())):
                    logits = head(self.loaded, some).float()
                    rows = slice(start, start := start + len(some))
                    # KL = sum p log p - sum p z + log sum exp z: two passes over the vocabulary and no copy of it.
                    normaliser = logits.logsumexp(dim=-1).sum(dim=1)
                    expected = einsum(logits, chance, "arm position vocab, position vocab -> arm")
                    kl[rows] += (normaliser - expected - entropy).cpu()
                    own = logits.gather(2, target.to(logits.device)[None, :, None].expand(len(some), -1, -1))
                    loss[rows] += (normaliser - own.sum(dim=(1, 2))).cpu() - base_loss
        return Damage(kl / tokens, loss / tokens)

    def _streams(self, place: int, arms: int, edits: Edits) -> Iterator[Float[Tensor, "some position layer d_model"]]:
        """resid_post at the read layers of one prompt, arms in parts."""
        prompt = self.prompts[place]
        positions = torch.arange(prompt.shape[1], device=self.loaded.device)[None]
        step = max(1, TOKENS_AT_A_TIME // prompt.shape[1])
        for start in range(0, arms, step):
            rows = slice(start, min(arms, start + step))
            size = rows.stop - rows.start
            todo = dict(edits(rows))
            if not self.short:
                with intervene(self.loaded, todo):
                    yield run_resid_post(self.loaded.model, prompt.expand(size, -1), self.read)
                continue
            here = todo.pop(self.layer, [])
            residual = apply_all(here, self._below[place].expand(size, -1, -1), positions)
            with intervene(self.loaded, todo):
                yield run_above(self.loaded, residual, self.layer, self.read)
