"""Tiny random models on both engines."""

import pytest

from amygdala_tl.lens.engines import has_hooked_transformer
from amygdala_tl.lens.model import load_model

ENGINES = [
    *(["HookedTransformer"] if has_hooked_transformer() else []),
    "TransformerBridge",
]
MODELS = [
    *((engine, kind) for engine in ENGINES for kind in ("llama", "gpt2", "qwen3")),
    ("TransformerBridge", "gemma2"),
    ("TransformerBridge", "qwen3_5_text"),
]


@pytest.fixture(scope="session", params=MODELS, ids="-".join)
def model(request, tiny_checkpoint):
    """A tiny random checkpoint on one engine: 4 layers of 64."""
    engine, kind = request.param
    return load_model(str(tiny_checkpoint(kind)), device="cpu", engine=engine)
