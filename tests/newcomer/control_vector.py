"""One emotion steers the model in llama.cpp (README: "Chat, llama.cpp and the hub")."""

import amygdala_tl as at

sh("amygdala-tl export --readout readout.safetensors --concept joy --output joy.gguf")

llama = llama_cpp("my-model.gguf")
prompt = list(range(10, 30))
joy = llama.control_vector("joy.gguf", 0.2)  # llama.cpp's option control-vector-scaled, with joy.gguf:0.2
d_model = at.load_readout("joy.gguf").d_model
shift = llama.logits(prompt, joy, d_model) - llama.logits(prompt)
assert shift.abs().max() > 0.01
