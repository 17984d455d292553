"""Checkpoints by name (`embedded`, a folder, a GGUF file, a hub id): their Hugging Face model and tokenizer."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.embedded import embedded_checkpoint
from amygdala_tl.lens.gguf_files import check_gguf, header_read_once
from amygdala_tl.lens.intact import check_complete
from amygdala_tl.lens.text_only import auto_class
from amygdala_tl.lens.third_party import library_errors, offline, quiet

_REMEDY = "name a checkpoint folder, a .gguf file, `embedded`, or a hub id that this machine can reach (HF_TOKEN for gated ones)"
_MOST_LAYERS = 10_000  # what a damaged config.json may ask for would be built for ever
_LFS_POINTER = b"version https://git-lfs"


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

    A folder or a file is read without any request to a model hub.

    Raises:
        ModelError: the model does not exist or cannot be read, is no decoder of text, or lacks weights.
    """
    with _reading(spec, revision, trust_remote_code) as (source, more):
        config = AutoConfig.from_pretrained(source, **more)
        _check_config(config, spec)
        # Only eager attention applies every architecture's rules: SDPA leaves out Gemma 2's soft-capping.
        hf_model, info = auto_class(config).from_pretrained(
            source,
            dtype=dtype,
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **more,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **more)
    check_complete(hf_model, info, spec)
    hf_model.eval().requires_grad_(False)
    return Checkpoint(short_name(spec), getattr(config, "_commit_hash", None), hf_model, tokenizer, source=spec)


def count_layers(spec: str, *, revision: str | None = None, trust_remote_code: bool = False) -> int:
    """Return the number of decoder layers of a model from its configuration, without its weights; raises as `load_checkpoint`."""
    with _reading(spec, revision, trust_remote_code) as (source, more):
        config = AutoConfig.from_pretrained(source, **more)
        _check_config(config, spec)
    return int(config.get_text_config().num_hidden_layers)


@contextmanager
def _reading(spec: str, revision: str | None, trust_remote_code: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where to read `spec` from and the arguments that reading needs; errors inside become one `ModelError`."""
    with library_errors("the checkpoint cannot be read", spec, "check the path and its permissions"):
        source, more = _locate(spec)
        here = Path(source).exists()
    message, remedy = ("the checkpoint cannot be read", "check its files") if here else ("no such model", _REMEDY)
    if spec == "embedded":
        remedy = f"delete {source}, and the next run makes it again"
    more |= {"trust_remote_code": trust_remote_code, "local_files_only": here}
    more |= {} if revision is None or here else {"revision": revision}
    once = header_read_once() if "gguf_file" in more else nullcontext()
    with offline() if here else nullcontext(), library_errors(message, spec, remedy), quiet(), once:
        yield source, more


def readable_source(spec: str) -> str:
    """Return the folder, file or hub id behind `spec`, for an engine that does not know `embedded`."""
    return str(embedded_checkpoint()) if spec == "embedded" else spec


def short_name(named: str) -> str:
    """Return a folder's or file's name, or a hub id (or `embedded`) as it is."""
    path = Path(named).expanduser()
    there = path.exists() and named != "embedded"
    return os.path.basename(os.path.abspath(path)) if there else named  # a link leads there by its own name


def _locate(spec: str) -> tuple[str, dict[str, Any]]:
    """Return where to read from, and the further arguments that reading needs."""
    path, wrong = Path(readable_source(spec)).expanduser(), partial(ModelError, label=spec)
    if path.is_file() and path.suffix == ".gguf":
        _check_no_pointer([path], spec)
        check_gguf(spec)
        return str(path.parent), {
            "gguf_file": str(path.absolute())
        }  # a bare name may be found in the working directory
    if path.is_dir():
        if (path / "adapter_config.json").exists():
            remedy = (
                "merge it into its base model (`merge_and_unload` of peft), and name the folder of the merged model"
            )
            raise wrong("the folder holds an adapter", got="adapter_config.json", remedy=remedy)
        if not (path / "config.json").exists():
            remedy = "name the folder that holds it"
            raise wrong("the folder is not a checkpoint", need="a config.json", remedy=remedy)
        _check_no_pointer(path.iterdir(), spec)
        return str(path), {}
    if path.is_file():
        remedy = "name a folder, a .gguf file or a hub id"
        raise wrong("the file is not a model", need="a .gguf file", remedy=remedy)
    if spec.startswith((".", "/", "~")) or spec.endswith(".gguf") or spec.count("/") > 1:
        raise wrong("no such folder or file", remedy="check the path")
    return spec, {}


def _check_no_pointer(files: Iterable[Path], spec: str) -> None:
    """Refuse a checkpoint that was cloned without its large files."""
    for file in files:
        if file.is_file():
            with file.open("rb") as opened:
                pointer = opened.read(len(_LFS_POINTER)) == _LFS_POINTER
            if pointer:
                what, remedy = "a file is a Git LFS pointer", "run `git lfs pull` in its folder, or download it again"
                raise ModelError(what, label=spec, got=file.name, need="the file itself", remedy=remedy)


def _check_config(config: Any, spec: str) -> None:
    """Refuse what no decoder of text can be built from."""
    remedy = "choose a decoder model such as Llama or Qwen"
    if config.is_encoder_decoder or auto_class(config) is None:
        what = (
            "the model is an encoder-decoder"
            if config.is_encoder_decoder
            else "the model is not a causal language model"
        )
        raise ModelError(what, label=spec, got=config.model_type, remedy=remedy)
    n_layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if not isinstance(n_layers, int) or not 1 <= n_layers <= _MOST_LAYERS:
        need, got = f"1 to {_MOST_LAYERS} decoder layers", f"num_hidden_layers={n_layers}"
        raise ModelError("the configuration is not one of a decoder", label=spec, got=got, need=need, remedy=remedy)
