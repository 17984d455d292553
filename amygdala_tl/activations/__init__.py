"""Texts to activations: batching, one forward pass a text, pooling at read positions, and a store that computes nothing twice."""
