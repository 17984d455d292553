"""The only door to TransformerLens: wrap or load a model, read its residual stream, compare it with other engines.

Everything downstream sees a `Lens`: a model that runs with hooks, its tokenizer and a `ModelInfo`. `load_model` leaves weights
as they are stored, so that resid_post is the stream that other engines compute; `wrap` takes processed weights too, and records
what was done to them.
"""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.lens.generation import generate
    from amygdala_tl.lens.hooks import parse_layers
    from amygdala_tl.lens.model import Lens, load_model
    from amygdala_tl.lens.residuals import run_resid_post
    from amygdala_tl.lens.wrap import exported, wrap

__all__ = ["Lens", "exported", "generate", "load_model", "parse_layers", "run_resid_post", "wrap"]

__getattr__ = lazily(
    __name__, generation="generate", hooks="parse_layers", model="Lens load_model", residuals="run_resid_post",
    wrap="exported wrap",
)  # fmt: skip
