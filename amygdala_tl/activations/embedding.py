"""Mean token embeddings: a baseline that knows the words of a text but not their order or context."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from amygdala_tl.activations.mapped import mapped
from amygdala_tl.activations.runner import tokenize_for
from amygdala_tl.lens.model import Lens
from amygdala_tl.lens.tokenize import TokenizedText
from amygdala_tl.lens.weights import token_embeddings
from amygdala_tl.records import CaptureSettings

AT_A_TIME = 1024
"""Number of texts to hold the tokens of at once. The tokens of a whole corpus take more memory than its embeddings."""


def mean_embeddings(loaded: Lens, texts: Sequence[str], settings: CaptureSettings) -> Float[Tensor, "text 1 d_model"]:
    """Compute the mean embedding of each text's own tokens, shaped as activations of one layer, float32.

    NaN for a text that cannot be run.
    """
    table = token_embeddings(loaded)
    rows = mapped(len(texts), table.shape[-1]).fill_(torch.nan)
    for start in range(0, len(texts), AT_A_TIME):
        tokenized = tokenize_for(loaded, texts[start : start + AT_A_TIME], settings)
        for row, text in enumerate(tokenized, start):
            if isinstance(text, TokenizedText):
                own = [token for token, own in zip(text.ids, text.content, strict=True) if own]
                rows[row] = table[own].mean(dim=0)
    return rows[:, None]
