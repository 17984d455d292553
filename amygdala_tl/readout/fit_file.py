"""A fit on disk, between `fit` and `export`: one safetensors file in float32 with its provenance in the header."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from amygdala_tl.errors import ReadoutError
from amygdala_tl.files import atomic_write_bytes, make_folder
from amygdala_tl.readout.manifest import fit_from_provenance, provenance
from amygdala_tl.records import Calibration, Fit


def save_fit(fit: Fit, path: str | Path) -> None:
    """Write `fit` to `path`.

    Raises:
        StorageError: the disk refused.
    """
    tensors = {
        "directions": fit.directions.clone(memory_format=torch.contiguous_format),
        "text_mean": fit.text_calibration.mean.clone(memory_format=torch.contiguous_format),
        "text_std": fit.text_calibration.std.clone(memory_format=torch.contiguous_format),
        "token_mean": fit.token_calibration.mean.clone(memory_format=torch.contiguous_format),
        "token_std": fit.token_calibration.std.clone(memory_format=torch.contiguous_format),
    }
    header = {
        "concepts": list(fit.concepts),
        "layers": list(fit.layers),
        "text_n": fit.text_calibration.n,
        "token_n": fit.token_calibration.n,
        "provenance": provenance(fit),
    }
    make_folder(Path(path).parent)
    atomic_write_bytes(Path(path), save(tensors, metadata={"fit": json.dumps(header)}))


def load_fit(path: str | Path) -> Fit:
    """Read what `save_fit` wrote.

    Raises:
        ReadoutError: there is no such file, or it holds no fit.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["fit"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return fit_from_provenance(
            header["provenance"],
            concepts=tuple(header["concepts"]),
            layers=tuple(header["layers"]),
            tensors={
                "directions": tensors["directions"],
                "text_calibration": Calibration(tensors["text_mean"], tensors["text_std"], header["text_n"]),
                "token_calibration": Calibration(tensors["token_mean"], tensors["token_std"], header["token_n"]),
            },
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as cause:
        raise ReadoutError(
            "is no fit", label=str(path), got=f"{type(cause).__name__}: {cause}", remedy="run `amygdala-tl fit` first"
        ) from cause
