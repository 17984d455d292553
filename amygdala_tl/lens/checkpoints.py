"""Checkpoints by name (`embedded`, a folder, a GGUF file, a hub id): their Hugging Face model and tokenizer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.lens.quiet import without_progress_bars


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Hugging Face model as stored, before TransformerLens takes it over."""

    id: str
    revision: str | None
    hf_model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def load_checkpoint(
    spec: str, dtype: torch.dtype, *, revision: str | None = None, trust_remote_code: bool = False
) -> Checkpoint:
    """Read the Hugging Face model and tokenizer that `spec` names, onto the CPU.

    Args:
        spec: `embedded`, a checkpoint folder, a `.gguf` file, or a hub id.
        dtype: of the weights.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run code that the checkpoint brings.

    Raises:
        ModelError: the model does not exist or cannot be read.
    """
    source, more = _locate(spec)
    if revision is not None and not Path(source).exists():
        more = {**more, "revision": revision}
    try:
        with without_progress_bars():
            # Only eager attention applies every architecture's rules: SDPA leaves out Gemma 2's soft-capping.
            hf_model = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, trust_remote_code=trust_remote_code, attn_implementation="eager", **more
            )
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code, **more)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as cause:
        raise _unreadable(spec, source, cause) from cause
    hf_model.eval().requires_grad_(False)
    commit = getattr(hf_model.config, "_commit_hash", None)
    return Checkpoint(id=_name(spec), revision=commit, hf_model=hf_model, tokenizer=tokenizer)


def readable_source(spec: str) -> str:
    """Return the folder, file or hub id behind `spec`, for an engine that does not know `embedded`."""
    return str(embedded_checkpoint()) if spec == "embedded" else spec


def _locate(spec: str) -> tuple[str, Mapping[str, Any]]:
    """Return where to read from, and the further arguments that reading needs."""
    if spec == "embedded":
        return str(embedded_checkpoint()), {}
    path = Path(spec).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelError(
                "the folder is not a checkpoint",
                label=spec,
                need="a config.json",
                remedy="name the folder that holds it",
            )
        return str(path), {}
    if path.is_file():
        raise ModelError(
            "the file is not a model", label=spec, need="a .gguf file", remedy="name a folder, a .gguf file or a hub id"
        )
    if spec.startswith((".", "/", "~")) or spec.endswith(".gguf") or spec.count("/") > 1:
        raise ModelError("no such folder or file", label=spec, remedy="check the path")
    return spec, {}


def _name(spec: str) -> str:
    path = Path(spec).expanduser()
    return path.resolve().name if path.exists() and spec != "embedded" else spec


def _unreadable(spec: str, source: str, cause: Exception) -> ModelError:
    first_line = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
    if Path(source).exists():
        return ModelError("the checkpoint cannot be read", label=spec, got=first_line, remedy="check its files")
    return ModelError(
        "no such model",
        label=spec,
        got=first_line,
        remedy="name a checkpoint folder, a .gguf file, `embedded`, or a hub id that this machine can reach "
        "(HF_TOKEN for gated ones)",
    )
