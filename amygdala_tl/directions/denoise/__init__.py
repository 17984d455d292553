"""Denoisers: subspaces to remove from activations, or a common part to remove from directions, one a file."""
