"""Readouts in evaluations of Inspect (the package inspect_ai, an extra): a model provider that records them, and a scorer.

Inspect finds `registry.py` by the entry point `inspect_ai`. Nothing else imports this room.
"""

__all__: list[str] = []
