"""Generation stays within the model's context."""

import pytest
import torch

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.generation import generate


def test_nothing_is_generated_beyond_the_models_context(tiny):
    tokens = torch.full((1, tiny.info.n_ctx - 2), 5)
    assert generate(tiny, tokens, 2).shape == (1, 2)
    with pytest.raises(ModelError, match="context is too short"):
        generate(tiny, tokens, 3)
