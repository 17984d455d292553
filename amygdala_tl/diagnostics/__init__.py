"""What can be believed of a readout: pure functions on tensors, with intervals and null models beside every number."""
