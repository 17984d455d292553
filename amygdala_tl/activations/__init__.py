"""From texts to activations: batching, one forward pass per text, pooling at read positions, and a store that keeps results."""
