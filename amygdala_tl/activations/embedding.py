"""Mean token embeddings: a baseline that knows the words of a text but not their order or context."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.runner import tokenize_for
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.lens.weights import token_embeddings
from amygdala_tl.records import CaptureSettings


def mean_embeddings(loaded: Lens, texts: Sequence[str], settings: CaptureSettings) -> Float[Tensor, "text 1 d_model"]:
    """Compute the mean embedding of each text's own tokens, shaped as activations of one layer, float32.

    NaN for a text that cannot be run.
    """
    table = token_embeddings(loaded)
    rows = torch.full((len(texts), table.shape[-1]), torch.nan)
    for row, text in enumerate(tokenize_for(loaded, texts, settings)):
        if isinstance(text, TokenizedText):
            rows[row] = table[[token for token, own in zip(text.ids, text.content, strict=True) if own]].mean(dim=0)
    return rows[:, None]
