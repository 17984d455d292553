"""Denoisers: what to take out of activations or directions before they are trusted, one a file."""

from amygdala_tl.directions.denoise.chain import (
    DENOISERS,
    SHARES,
    VECTOR_DENOISERS,
    Denoiser,
    DenoiseStep,
    denoise,
    denoise_vectors,
    parse_steps,
)
from amygdala_tl.directions.denoise.grand_mean import grand_mean
from amygdala_tl.directions.denoise.massive import massive
from amygdala_tl.directions.denoise.neutral_pca import neutral_pca
from amygdala_tl.directions.denoise.removal import Removal, combine
from amygdala_tl.directions.denoise.topic import topic

__all__ = [
    "DENOISERS",
    "SHARES",
    "VECTOR_DENOISERS",
    "DenoiseStep",
    "Denoiser",
    "Removal",
    "combine",
    "denoise",
    "denoise_vectors",
    "grand_mean",
    "massive",
    "neutral_pca",
    "parse_steps",
    "topic",
]
