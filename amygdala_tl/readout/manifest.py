"""The manifest: the four keys that every reader knows, and what amygdala-tl says of the vectors."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from amygdala_tl.readout.contract import DTYPE, FORMAT_VERSION, calibration_values
from amygdala_tl.records import Calibration, CaptureSettings, Fit, ModelInfo, hook_name


def build_manifest(fit: Fit, tensors_sha256: str) -> dict[str, Any]:
    """What `readout.json` holds for `fit`, as JSON-ready values.

    Args:
        fit: the directions and where they come from.
        tensors_sha256: of the whole safetensors file.
    """
    return {
        "concepts": list(fit.concepts),
        "layers": list(fit.layers),
        "hidden_size": fit.model.d_model,
        "dtype": DTYPE,
        "amygdala_tl": {
            "format_version": FORMAT_VERSION,
            "tensors_sha256": tensors_sha256,
            **provenance(fit),
            "calibration": {
                "texts": _calibration_entry(fit.text_calibration),
                "tokens": _calibration_entry(fit.token_calibration),
            },
        },
    }


def provenance(fit: Fit) -> dict[str, Any]:
    """Where directions come from, as JSON-ready values: everything of `fit` but its tensors."""
    return {
        "model": asdict(fit.model),
        "hooks": {str(layer): hook_name(layer) for layer in fit.layers},
        "capture": asdict(fit.settings),
        "read_position": fit.read_position,
        "estimator": dict(fit.estimator),
        "denoisers": [dict(denoiser) for denoiser in fit.denoisers],
        "corpus_sha256": fit.corpus_sha256,
        "counts": {concept: dict(count) for concept, count in fit.counts.items()},
        "left_out": dict(fit.left_out),
        "verdicts": {concept: dict(verdict) for concept, verdict in fit.verdicts.items()},
    }


def fit_from_provenance(
    said: Mapping[str, Any], *, concepts: tuple[str, ...], layers: tuple[int, ...], tensors: Mapping[str, Any]
) -> Fit:
    """The inverse of `provenance`, given the tensors (`directions` and both calibrations)."""
    return Fit(
        concepts=concepts,
        layers=layers,
        model=ModelInfo(**said["model"]),
        settings=CaptureSettings(**said["capture"]),
        read_position=said["read_position"],
        estimator=said["estimator"],
        denoisers=tuple(said["denoisers"]),
        corpus_sha256=said["corpus_sha256"],
        counts=said["counts"],
        left_out=said["left_out"],
        verdicts=said.get("verdicts", {}),
        **tensors,
    )


def capture_settings(manifest: Mapping[str, Any]) -> CaptureSettings:
    """How texts must be run to be read as the bundle's training texts were; the defaults where it does not say."""
    return CaptureSettings(**manifest.get("amygdala_tl", {}).get("capture", {}))


def calibration_of(manifest: Mapping[str, Any], kind: str) -> Calibration | None:
    """The calibration `texts` or `tokens` of a manifest, None where there is none.

    Raises:
        ReadoutError: it does not have one finite mean and one positive deviation a layer and concept.
    """
    values = calibration_values(manifest, kind)
    if values is None:
        return None
    mean, std, n = values
    return Calibration(mean=torch.tensor(mean), std=torch.tensor(std), n=n)


def _calibration_entry(calibration: Calibration) -> dict[str, Any]:
    return {"mean": calibration.mean.tolist(), "std": calibration.std.tolist(), "n": calibration.n}
