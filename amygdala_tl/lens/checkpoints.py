"""Checkpoints by name (`embedded`, a folder, a GGUF file, a hub id): their Hugging Face model and tokenizer."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.embedded import embedded_checkpoint, without_progress_bars

_REMEDY = "name a checkpoint folder, a .gguf file, `embedded`, or a hub id that this machine can reach (HF_TOKEN for gated ones)"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Hugging Face model before TransformerLens takes it over: in evaluation mode, with eager attention.

    Attributes:
        id, revision: as in `ModelInfo`.
        hf_model, tokenizer: from Hugging Face.
        source: folder, file or hub id from which it can be read again; None if there is none.
    """

    id: str
    revision: str | None
    hf_model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: str | None


def load_checkpoint(
    spec: str, dtype: torch.dtype, *, revision: str | None = None, trust_remote_code: bool = False
) -> Checkpoint:
    """Read the Hugging Face model and tokenizer that `spec` names, onto the CPU; arguments as in `load_model`.

    Raises:
        ModelError: the model does not exist or cannot be read.
    """
    source, more = _locate(spec)
    here = Path(source).exists()
    more |= {"trust_remote_code": trust_remote_code} | ({} if revision is None or here else {"revision": revision})
    try:
        with without_progress_bars():
            # Only eager attention applies every architecture's rules: SDPA leaves out Gemma 2's soft-capping.
            hf_model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, attn_implementation="eager", **more)
            tokenizer = AutoTokenizer.from_pretrained(source, **more)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as cause:
        first_line = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        message, remedy = ("the checkpoint cannot be read", "check its files") if here else ("no such model", _REMEDY)
        raise ModelError(message, label=spec, got=first_line, remedy=remedy) from cause
    hf_model.eval().requires_grad_(False)
    commit = getattr(hf_model.config, "_commit_hash", None)
    return Checkpoint(short_name(spec), commit, hf_model, tokenizer, source=spec)


def readable_source(spec: str) -> str:
    """Return the folder, file or hub id behind `spec`, for an engine that does not know `embedded`."""
    return str(embedded_checkpoint()) if spec == "embedded" else spec


def short_name(named: str) -> str:
    """Return a folder's or file's name, or a hub id (or `embedded`) as it is."""
    path = Path(named).expanduser()
    return path.resolve().name if path.exists() and named != "embedded" else named


def _locate(spec: str) -> tuple[str, dict[str, Any]]:
    """Return where to read from, and the further arguments that reading needs."""
    path, wrong = Path(readable_source(spec)).expanduser(), partial(ModelError, label=spec)
    if path.is_file() and path.suffix == ".gguf":
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").exists():
            remedy = "name the folder that holds it"
            raise wrong("the folder is not a checkpoint", need="a config.json", remedy=remedy)
        return str(path), {}
    if path.is_file():
        remedy = "name a folder, a .gguf file or a hub id"
        raise wrong("the file is not a model", need="a .gguf file", remedy=remedy)
    if spec.startswith((".", "/", "~")) or spec.endswith(".gguf") or spec.count("/") > 1:
        raise wrong("no such folder or file", remedy="check the path")
    return spec, {}
