"""Stores as earlier versions wrote them."""

import hashlib
import json

import torch
from safetensors.torch import load_file

from amygdala_tl.activations.runner import run_batches, tokenize_for
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.tensor_files import tensor_bytes


def as_before(store, lens, texts):
    """Rewrite each shard of a store with sums over all tokens in place of the sample, and open the store again.

    Args:
        store: of the texts.
        lens: its model.
        texts: id -> text.
    """
    for shard in store._shards:
        tokenized = tokenize_for(lens, [texts[text] for text in shard.rows], store.settings)
        count = torch.zeros(len(shard.layers))
        total = torch.zeros(len(shard.layers), store.info.d_model)
        product = torch.zeros(len(shard.layers), store.info.d_model, store.info.d_model)
        for batch in run_batches(lens, tokenized, list(shard.layers)):
            for column in shard.layers.values():
                tokens = batch.residuals[:, :, column][batch.readable[:, :, column]]
                count[column] += len(tokens)
                total[column] += tokens.sum(dim=0)
                product[column] += tokens.T @ tokens
        kept = {
            name: value for name, value in load_file(shard.path).items() if name in ("pooled", "last", "last-content")
        }
        kept |= {"token_count": count.long(), "token_sum": total, "token_product": product}
        header = {"ids": json.dumps(list(shard.rows)), "layers": json.dumps(list(shard.layers))}
        shard.path.unlink()
        data = tensor_bytes(kept, header)
        (store.folder / f"shard-{hashlib.sha256(data).hexdigest()[:32]}.safetensors").write_bytes(data)
    (store.folder / "index.json").unlink()
    return ActivationStore.find(store.folder)
