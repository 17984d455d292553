"""The unit of dose, measured on a model."""

from collections.abc import Sequence

import torch
from einops import rearrange

from amygdala_tl.lens.decoder import Decoder
from amygdala_tl.readout.dose import dose_units, plain_tokens


def mean_norms(decoder: Decoder, layers: Sequence[int]) -> dict[int, float]:
    """Layer -> mean norm of resid_post over the tokens of the plain texts, without each text's first token and other sinks."""
    norms = []
    for tokens in plain_tokens(decoder.tokenizer):
        stream = decoder.resid_post(torch.tensor([tokens]), layers)[0].cpu().float()
        norms.append(rearrange(stream.norm(dim=-1), "token layer -> layer token"))
    return dict(zip(layers, dose_units(norms), strict=True))
