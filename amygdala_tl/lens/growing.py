"""A text that runs part by part: its keys and values stay, and each part gives its logits and its residual streams.

What an architecture keeps of earlier tokens differs (keys and values, a window of them, recurrent states), and so does what the
libraries make of it when a text goes on. So `check_growing` compares a text that ran in parts with one that ran whole.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.caches import behind, empty_cache
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.parity import TOLERANCES, golden_ids, relative_difference
from amygdala_tl.lens.residuals import on_resid_post, run_resid_post, stacked
from amygdala_tl.lens.third_party import library_errors

_PARTS = (24, 12, 1, 1)  # tokens; the first is longer than the window of any model that the tests run


class GrowingText:
    """One text, or a batch of equally long ones, on either engine.

    Attributes:
        n_tokens: how many tokens of it have run.
    """

    def __init__(self, loaded: Lens, batch: int = 1) -> None:
        """Begin with an empty text."""
        self.n_tokens = 0
        self._model: Any = loaded.model
        self._device = loaded.device
        self._argument, self._cache = empty_cache(loaded.model, batch)

    def run(self, tokens: Int[Tensor, "batch position"]) -> Float[Tensor, "batch vocab"]:
        """Run the next tokens; hooks of the model fire. Returns the logits after the last one."""
        tokens = tokens.to(self._device)
        options = behind(self._argument, self._cache, torch.ones_like(tokens))
        with torch.no_grad():
            logits: Tensor = self._model(tokens, **options)[:, -1].float()
        self.n_tokens += tokens.shape[1]
        return logits

    def read(
        self, ids: Sequence[int], layers: Sequence[int]
    ) -> tuple[Float[Tensor, " vocab"], Float[Tensor, "token layer d_model"]]:
        """Run the next tokens of a single text, and read resid_post of `layers` after all edits.

        Returns:
            The logits after the last token, and the streams, both on the model's first device.
        """
        seen: dict[int, Tensor] = {}

        def keeping(layer: int) -> Callable[[Tensor], None]:
            def keep(stream: Tensor) -> None:
                seen[layer] = stream

            return keep

        with ExitStack() as stack:
            for layer in layers:
                stack.callback(on_resid_post(self._model, layer, keeping(layer)).remove)
            logits = self.run(torch.tensor([list(ids)]))
        return logits[0], stacked([seen[layer].to(self._device) for layer in layers])[0]


def check_growing(loaded: Lens, layers: Sequence[int]) -> None:
    """Check that a text that runs in parts has the same streams as one that runs whole.

    Raises:
        ModelError: it has not, or the model's cache does not work.
    """
    allowed = TOLERANCES[loaded.info.dtype]
    ids = golden_ids(loaded.vocabulary, sum(_PARTS))
    what, remedy = "the model cannot continue a text from its cache", "serve another model"
    with library_errors(what, loaded.info.id, remedy):
        text = GrowingText(loaded)
        parts = [text.read(ids[sum(_PARTS[:at]) :][:count], layers)[1] for at, count in enumerate(_PARTS)]
        whole = run_resid_post(loaded.model, torch.tensor([ids]), layers)[0]
        found = relative_difference(torch.cat(parts), whole, allowed)
    if found > allowed:
        got = f"streams {found:.1e} of their norm apart"
        raise ModelError(what, label=loaded.info.id, got=got, need=f"{allowed:.0e} at most", remedy=remedy)
