"""The strongest windows of a long text, on the embedded model's own tokens, against a loop over `score_tokens`."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from amygdala_tl.api.score import LONG, for_whole_texts, read_texts, score_tokens
from amygdala_tl.readout.provenance import Provenance
from amygdala_tl.readout.record import Readout
from amygdala_tl.readout.scale import Combined, Scale
from amygdala_tl.readout.windows import WIDTHS, of_the_largest
from amygdala_tl.records import Calibration, CaptureSettings, LengthCalibration

SHORT = "The tide came in again, and nobody had moved the chairs."
LONG_TEXT = "\n\n".join(f"Day {day}. The tide came in {day} times, and we moved the chairs." for day in range(1, 16))


@pytest.fixture(scope="module")
def readout(embedded):
    vectors = torch.nn.functional.normalize(
        torch.randn(2, 3, embedded.info.d_model, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    of_texts = Calibration(torch.zeros(2, 3), torch.ones(2, 3), 9)
    many = LengthCalibration(torch.zeros(2, 3), torch.full((2, 3), 0.1), torch.full((2, 1), 3.0), 9)
    of_tokens = Calibration(torch.full((1, 3), 0.5), torch.full((1, 3), 4.0), 9)
    lengths = LengthCalibration(torch.zeros(1, 3), torch.full((1, 3), 0.1), torch.full((1, 1), 3.0), 9)
    return Readout(
        ("awe", "joy", "grief"), (4, 9), vectors, of_texts, of_texts,
        Provenance(model=embedded.info, capture=CaptureSettings(chat_template="user", max_tokens=100)),
        length_calibration=many,
        combined=Combined(torch.tensor([[1.0] * 3, [0.5] * 3]), Scale(of_texts, of_tokens, lengths)),
    )  # fmt: skip


def test_a_long_text_has_the_best_of_all_its_windows_and_their_words(readout, embedded):
    readout = for_whole_texts(readout, embedded)
    reading = read_texts([SHORT, LONG_TEXT], readout, embedded)
    short, windows = reading.windows
    assert short is None
    assert windows is not None
    (tokens,) = score_tokens([LONG_TEXT], readout, embedded, calibrated=False)
    places = tokens.readable.all(dim=1).nonzero()[:, 0].tolist()
    assert len(places) >= LONG
    for concept in range(3):
        best, words = -math.inf, ""
        for width in WIDTHS:
            for first in range(len(places) - width + 1):
                own = places[first : first + width]
                z = float(readout.combined_z(tokens.scores[own].mean(dim=0), tokens=width)[concept])
                if z > best:
                    best, words = z, "".join(tokens.pieces[own[0] : own[-1] + 1]).strip()
        assert windows[concept].z == pytest.approx(float(of_the_largest(np.array(best), len(places))), abs=1e-3)
        assert windows[concept].text == words


def test_a_text_is_cut_where_training_texts_were_unless_z_holds_for_any_length(readout, embedded):
    (cut,) = score_tokens([LONG_TEXT], readout, embedded)
    assert len(cut.pieces) == 100
    assert for_whole_texts(replace(readout, length_calibration=None), embedded).provenance.capture.max_tokens == 100
