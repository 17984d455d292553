"""Bundles of random directions, for tests of what is done with a bundle."""

import hashlib
import json
from dataclasses import asdict, replace

import torch
from safetensors.torch import save

from amygdala_tl.lens.hugging_face import run_decoder_layers
from amygdala_tl.readout.golden import golden_scores
from amygdala_tl.readout.record import load_readout
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.records import Calibration, ModelInfo, hook_name

MODEL = ModelInfo("m", None, "0" * 64, "LlamaForCausalLM", "HookedTransformer", {}, "float32", 40, 64, 512)


def write_bundle(path, *, d_model, layers, concepts=("awe", "calm", "grief"), hooks=None, model=None, **said):
    """Write a bundle to `path` (`.safetensors`), and return it.

    Args:
        path: of the vectors.
        d_model: hidden size.
        layers: layer indices.
        concepts: names.
        hooks: layer -> layer that its hook names, where another.
        model: fields of `ModelInfo` that matter, the others are made up; None for a manifest that names no model.
        said: further keys below `amygdala_tl`.
    """
    generator = torch.Generator().manual_seed(d_model)
    tensors = {}
    for layer in layers:
        vectors = torch.randn(len(concepts), d_model, generator=generator)
        tensors[f"layer_{layer}.vectors"] = (vectors / vectors.norm(dim=-1, keepdim=True)).to(torch.float16)
    data = save(tensors)
    path.write_bytes(data)
    manifest = {
        "concepts": list(concepts),
        "layers": list(layers),
        "hidden_size": d_model,
        "dtype": "float16",
        "amygdala_tl": {
            "format_version": 1,
            "tensors_sha256": hashlib.sha256(data).hexdigest(),
            "hooks": {str(layer): hook_name((hooks or {}).get(layer, layer)) for layer in layers},
            "model": None if model is None else {**asdict(MODEL), "d_model": d_model, **model},
            **said,
        },
    }
    path.with_suffix(".json").write_text(json.dumps(manifest))
    return path


def add_calibration(path):
    """Put calibrations into a bundle with golden texts, by the scores of their tokens, and a score over all layers."""
    readout = load_readout(path)
    scores = golden_scores(readout.provenance.golden, len(readout.layers), len(readout.concepts))[1:]
    of = Calibration(scores.mean(dim=0), scores.std(dim=0), len(scores))
    total = (scores / of.std).sum(dim=1)
    combined = Scale(None, Calibration(total.mean(dim=0)[None], total.std(dim=0)[None], len(scores)), None)
    return replace(readout, token_calibration=of, combined=Combined(1 / of.std, combined)).save(path)


def add_golden(path, model, tokenizer, texts):
    """Put golden texts into a bundle, with the scores that Hugging Face's `model` gives; returns the bundle."""
    readout = load_readout(path)
    ids = [tokenizer(text).input_ids for text in texts]
    streams = []
    for one in ids:
        outputs = run_decoder_layers(model, torch.tensor([one]))
        streams.append(torch.stack([outputs[layer][0] for layer in readout.layers], dim=1))
    return readout.with_golden(texts, ids, torch.cat(streams)).save(path)
