"""A readout of random unit directions with everything that a readout can say of itself."""

from dataclasses import replace

import torch

from amygdala_tl.readout.provenance import Provenance, Verdict
from amygdala_tl.readout.record import Readout
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.records import Calibration, CaptureSettings, LengthCalibration, ModelInfo, hook_name

CONCEPTS = ("awe", "joy", "grief")
LAYERS = (3, 10)
D_MODEL = 16
INFO = ModelInfo("m", None, "f" * 64, "A", "TransformerBridge", {"torch": "2"}, "float32", 12, D_MODEL, 512)
VERDICTS = {
    "awe": Verdict("readable", "separates", None, 10, 0.875, (0.75, 0.9375), 0.01, 0.625, 0.5, 9, 30),
    "joy": Verdict("weak", "hardly separates", None, 3, 0.625, (0.5, 0.75), 0.25, 0.625, 0.5, 8, 31),
    "grief": Verdict("redundant", "like awe", "awe", 10, 0.75, (None, None), None, None, None, 7, 32),
}


def a_readout(concepts=CONCEPTS, layers=LAYERS, d_model=D_MODEL, seed=0, **said) -> Readout:
    """Random unit directions, calibrations that differ from each other, and a full provenance; `said` replaces parts of it."""
    generator = torch.Generator().manual_seed(seed)
    shape, one = (len(layers), len(concepts)), (1, len(concepts))

    def calibration(n, shape=shape):
        return Calibration(torch.randn(shape, generator=generator), torch.rand(shape, generator=generator) + 0.5, n)

    def of_lengths(shape):
        return LengthCalibration(
            mean=torch.randn(shape, generator=generator),
            floor=torch.rand(shape, generator=generator),
            reach=1 + 9 * torch.rand(shape[0], 1, generator=generator),
            n=38,
        )

    provenance = Provenance(
        model=replace(INFO, d_model=d_model),
        hooks={str(layer): hook_name(layer) for layer in layers},
        capture=CaptureSettings(chat_template="user"),
        read_position="last",
        estimator={"aggregator": "mean", "method": "mean", "labels": "classes"},
        denoisers=({"denoiser": "neutral-pca", "share": 0.5},),
        corpus_sha256="c" * 64,
        corpus={"min_examples": 5, "seed": 0},
        counts={concept: {"positive": 9, "negative": 30} for concept in concepts},
        left_out={"calm": "2 positive training texts, need 5"},
        verdicts={concept: VERDICTS[concept] for concept in concepts if concept in VERDICTS},
    )
    vectors = torch.randn(*shape, d_model, generator=generator)
    return Readout(
        concepts=tuple(concepts),
        layers=tuple(layers),
        vectors=torch.nn.functional.normalize(vectors, dim=-1),
        text_calibration=calibration(40),
        token_calibration=calibration(4000),
        provenance=replace(provenance, **said),
        length_calibration=of_lengths(shape),
        combined=Combined(
            weights=torch.rand(shape, generator=generator) + 0.5,
            scale=Scale(calibration(40, one), calibration(3900, one), of_lengths(one)),
        ),
    )
