"""From texts to activations: batching, one forward pass per text, pooling at read positions, and a store that keeps results."""

from amygdala_tl.activations.runner import pool_texts
from amygdala_tl.activations.store import ActivationStore

__all__ = ["ActivationStore", "pool_texts"]
