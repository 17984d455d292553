"""Stock vLLM: how its decoder layers map to a readout's layers, capture for `verify`, and the plugin that reads while it serves.

Only this room imports the package `vllm`, and only in the files that run inside it.
"""

__all__: list[str] = []
