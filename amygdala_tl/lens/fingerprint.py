"""A fingerprint of a model's weights that is cheap at any size and the same in float32 and bfloat16."""

import hashlib

import torch

SAMPLES_PER_TENSOR = 4096


def weights_fingerprint(model: torch.nn.Module) -> str:
    """sha256, hexadecimal, over name, shape and evenly spaced values of every parameter of `model`.

    Values are rounded to bfloat16, so that one checkpoint has one fingerprint whether it is loaded in float32 or bfloat16.
    A fine-tuned model differs; two models that differ only between samples do not.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        step = max(1, -(-flat.numel() // SAMPLES_PER_TENSOR))
        sample = flat[::step].to(device="cpu", dtype=torch.bfloat16).view(torch.int16)
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()
