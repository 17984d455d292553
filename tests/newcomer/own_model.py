"""One's own HookedTransformer, or bridge of TransformerLens 4, gets a readout (README: "In Python")."""

from pathlib import Path

from transformers import AutoTokenizer

import amygdala_tl as at

try:  # the user's own
    from transformer_lens import HookedTransformer, HookedTransformerConfig  # noqa: TID251
except ImportError:  # TransformerLens 4
    from transformer_lens.model_bridge import TransformerBridge  # noqa: TID251

    model = TransformerBridge.boot_transformers("my-model")
else:
    tokenizer = AutoTokenizer.from_pretrained("my-model")
    sizes = {"n_layers": 4, "d_model": 32, "d_head": 8, "n_heads": 4, "n_ctx": 128, "d_vocab": len(tokenizer)}
    config = HookedTransformerConfig(**sizes, act_fn="gelu", seed=0, device="cpu")
    model = HookedTransformer(config, tokenizer=tokenizer)
tokens = model.to_tokens("The lamp went out.")
files = sorted(Path("my-texts").glob("*/positive/*.txt"))
texts = [file.read_text() for file in files]
labels = [[file.parts[1]] for file in files]
days = [file.stem for file in files]

lens = at.wrap(model)
corpus = at.Corpus.from_texts(texts, labels, groups=days)
readout = at.train(corpus, lens, layers=[1, 2], aggregator="whitened")  # without, it compares several
readout.save("own.safetensors")

logits, cache = model.run_with_cache(tokens)
z = readout.z(cache)  # [batch, pos, layer, concept]
scores = at.score(["The lamp went out."], readout, lens)  # [text, layer, concept]

joy = readout.write_direction("joy", layer=2)
with at.intervene(model, {2: at.Add(joy, dose=0.2)}):
    model.generate(tokens, max_new_tokens=5, verbose=False)
model.run_with_hooks(tokens, fwd_hooks=[("blocks.2.hook_resid_post", at.Ablate(joy))])

assert z.shape == (*tokens.shape, 2, len(readout.concepts))
assert scores.shape == (1, 2, len(readout.concepts))
