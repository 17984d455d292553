"""A chat with tokens that are coloured by what the model feels (README: "Chat, llama.cpp and the hub")."""

import httpx
import torch
from rich.text import Text

import amygdala_tl as at

with serving("amygdala-tl serve --readout readout.safetensors") as url:  # the README says http://127.0.0.1:8010
    assert "<html" in httpx.get(url).text.lower()
    body = {
        "messages": [{"role": "user", "content": "How was your day?"}],
        "max_tokens": 20,
        "return_tokens": True,
        "ignore_eos": True,
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()

choice = answer["choices"][0]
readout = at.load_readout("readout.safetensors")
z = readout.combined_z(torch.tensor(choice["readout"]))  # [token, concept]
joy = z[:, readout.concepts.index("joy")].tolist()
coloured = Text.assemble(
    *((token, "on red" if value > 0 else "on blue") for token, value in zip(choice["tokens"], joy, strict=True))
)
assert coloured.plain == choice["message"]["content"]
assert len(joy) == 20
