"""Does a direction do anything? Interventions on the residual stream, and the causal check with its controls.

A direction that predicts an emotion need not cause it (AxBench, Wu et al. 2025, arXiv:2501.17148: linear probes detect best and
steer worst). Here every direction is added to the stream and taken out of it, beside random directions of the same length.
"""
