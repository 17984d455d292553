"""Evidence for and against a readout: pure functions on tensors, with intervals and null models beside every number."""
