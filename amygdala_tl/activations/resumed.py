"""Texts that run once up to a layer, and from there as often as one likes, each time under other edits.

What is edited at a layer and above changes nothing below it. So the texts' streams at that layer are kept, and each edit runs the
layers above only. What all texts begin with (BOS, chat template, system prompt) runs once for each edit, from the model's input.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from amygdala_tl.activations.pooling import TokenBatch
from amygdala_tl.activations.runner import in_batches, pool_batches, shared_prefix, tokenize_for
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.prefix import run_prefix
from amygdala_tl.lens.residuals import run_resid_post
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.lens.upper import run_above
from amygdala_tl.records import CaptureSettings, ReadPosition

Start = Callable[
    [Float[Tensor, "text token d_model"], Int[Tensor, "1 token"]],
    Float[Tensor, "text token d_model"],
]
"""Edits the stream that a pass starts with; the second argument is the positions of the tokens."""


class ResumedTexts:
    """Texts ready to run from one layer on. Needs an engine that can start above a layer (`can_start_above`)."""

    def __init__(self, loaded: Lens, texts: Sequence[str], settings: CaptureSettings) -> None:
        self._loaded = loaded
        found = tokenize_for(loaded, texts, settings)
        self._texts = {index: text for index, text in enumerate(found) if isinstance(text, TokenizedText)}
        self._layer = -1
        self._prefix: tuple[int, ...] = ()
        self._streams: dict[int, Tensor] = {}

    def up_to(self, layer: int) -> None:
        """Run all texts up to `layer`, unless that is where they are. The model must not be edited meanwhile.

        Their streams at one layer stay in memory, on the CPU: as many numbers as the texts have tokens, times d_model.

        Raises:
            ModelError: a single text does not fit into memory.
        """
        if layer == self._layer:
            return
        loaded, texts = self._loaded, self._texts
        behind = shared_prefix(loaded, list(texts.values()), range(layer, loaded.info.n_layers), {})
        start = behind.n_tokens if behind else 0

        def forward(_indices: list[int], tokens: TokenBatch) -> Tensor:
            return run_resid_post(loaded.model, tokens.ids, [layer], behind=behind)

        self._streams = {
            index: batch.residuals[row, : texts[index].last + 1 - start, 0].cpu().clone()
            for batch in in_batches(loaded.device, texts, forward, start=start)
            for row, index in enumerate(batch.indices)
        }
        self._layer, self._prefix = layer, next(iter(texts.values())).ids[:start] if texts else ()

    def pool(
        self, rows: Sequence[int], read: Sequence[int], position: ReadPosition, start: Start
    ) -> Float[Tensor, "row layer d_model"]:
        """Run some texts on from the layer of `up_to`, and pool them, float32 on the CPU.

        Hooks of the model above that layer fire. `start` edits the stream at the layer itself, where the model's hooks do so for
        the tokens that all texts begin with. A text that cannot be run has NaN.

        Args:
            rows: numbers of the texts.
            read: layers, the layer of `up_to` or above.
            position: where the texts are read.
            start: the edit.

        Raises:
            ModelError: a single text does not fit into memory.
        """
        loaded, first = self._loaded, len(self._prefix)
        behind = run_prefix(loaded.model, self._prefix, read) if first else None

        def forward(indices: list[int], tokens: TokenBatch) -> Tensor:
            below = pad_sequence([self._streams[rows[index]] for index in indices], batch_first=True).to(loaded.device)
            positions = torch.arange(first, first + below.shape[1], device=loaded.device)[None]
            return run_above(loaded, start(below, positions), self._layer, read, behind=behind)

        texts = {at: self._texts[row] for at, row in enumerate(rows) if row in self._streams}
        batches = in_batches(loaded.device, texts, forward, start=first)
        return pool_batches(batches, (len(rows), len(read), loaded.info.d_model), position)[0]
