"""The readout bundle, as a server reads it: `readout.safetensors` with `readout.json` beside it.

    readout.safetensors   layer_<idx>.vectors   float16 [n_concepts, hidden_size], unit rows, one tensor a layer
    readout.json          {"concepts", "layers", "hidden_size", "dtype", "amygdala_tl": {...}}

A reader needs only the first four keys; all that is said about the vectors is in the fifth.
"""
