"""A readout is published and read again (README: "Chat, llama.cpp and the hub")."""

import amygdala_tl as at

sh("amygdala-tl push readout.safetensors ./published")
sh("amygdala-tl pull ./published --output-dir ./theirs")

mine, theirs = at.load_readout("readout.safetensors"), at.load_readout("theirs/readout.safetensors")
assert theirs.sha256 == mine.sha256
