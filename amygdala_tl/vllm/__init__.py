"""Stock vLLM: which of its layers a readout's layer is, the proof of it, and the plugin that reads while it serves.

The package `vllm` is imported here and nowhere else, and only by the files that run inside it.
"""
