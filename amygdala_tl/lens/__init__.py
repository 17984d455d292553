"""The only door to TransformerLens: load a model, name its hooks, read its residual stream.

Everything downstream sees a `Lens`: a model that runs with hooks, its tokenizer and a `ModelInfo`. Weights are loaded
without processing (no LayerNorm folding, no centring), so that resid_post is the stream that other engines compute too.
"""
