"""The fingerprint of a loaded model's weights."""

import torch

from amygdala_tl.fingerprint import tensors_fingerprint


def weights_fingerprint(model: torch.nn.Module) -> str:
    """`tensors_fingerprint` of every parameter of `model`, by name."""
    return tensors_fingerprint(sorted(model.named_parameters()))
