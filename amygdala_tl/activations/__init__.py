"""From texts to activations: batching, one forward pass per text, pooling at read positions, and a store that keeps results."""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.activations.runner import pool_texts
    from amygdala_tl.activations.store import ActivationStore

__all__ = ["ActivationStore", "pool_texts"]

__getattr__ = lazily(__name__, runner="pool_texts", store="ActivationStore")
