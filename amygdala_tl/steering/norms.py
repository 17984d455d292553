"""The unit of dose: the mean norm of a layer's residual stream over plain texts."""

from collections.abc import Sequence

import torch
from einops import rearrange

from amygdala_tl.lens.decoder import Decoder
from amygdala_tl.steering.edits import norms_without_sinks
from amygdala_tl.steering.prompts import plain_tokens


def mean_norms(decoder: Decoder, layers: Sequence[int]) -> dict[int, float]:
    """Layer -> mean norm of resid_post over the tokens of the plain texts, without each text's first token and other sinks."""
    kept = []
    for tokens in plain_tokens(decoder.tokenizer):
        stream = decoder.resid_post(torch.tensor([tokens]), layers)[0, 1:].cpu()
        kept.append(norms_without_sinks(rearrange(stream, "token layer d_model -> layer token d_model")))
    means = torch.cat(kept, dim=1).double().nanmean(dim=1)
    # Five digits: the last ones depend on which other layers were asked for, and the journal would not find its blocks.
    return {layer: float(f"{mean:.5g}") for layer, mean in zip(layers, means.tolist(), strict=True)}
