"""SVG files of a diagnosis: well-formed, with every concept, and with marks where the numbers put them."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch

from amygdala_tl.errors import StorageError
from amygdala_tl.records import LengthCalibration
from amygdala_tl.report.drawings import SCALE
from amygdala_tl.report.plots import (
    cross_talk_plot,
    layers_plot,
    lengths_plot,
    plot_files,
    verdicts_plot,
    write_plots,
)
from amygdala_tl.report.steering_plots import steering_plots
from tests.report.example import example_diagnosis
from tests.report.steering_example import example_run

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def diagnosis():
    return example_diagnosis()


def lines(sheet, colour):
    """Points of the lines in a colour."""
    found = re.findall(rf'<polyline points="([^"]*)" fill="none" stroke="{colour}"', "".join(sheet.drawn))
    return [[tuple(map(float, point.split(","))) for point in points.split()] for points in found]


def marks(sheet, colour):
    """Positions of the marks in a colour."""
    found = re.findall(rf'translate\(([\d.]+) ([\d.]+)\)" fill="[^"]+" stroke="{colour}"', "".join(sheet.drawn))
    return [tuple(map(float, point)) for point in found]


def boxes(sheet):
    """Positions and colours of a matrix's cells."""
    found = re.findall(
        r'<rect x="([\d.]+)" y="([\d.]+)" width="15.0" height="15.0" fill="([^"]+)"', "".join(sheet.drawn)
    )
    return [(float(x), float(y), colour) for x, y, colour in found]


def test_every_figure_is_a_file_that_parses_with_names_as_text(diagnosis, tmp_path):
    readout = replace(
        diagnosis.readout,
        length_calibration=LengthCalibration(torch.zeros(4, 16), torch.full((4, 16), 0.2), torch.full((4, 1), 3.0), 50),
    )
    run = example_run(2, layers=(7,), samples=False)
    files = write_plots(replace(diagnosis, readout=readout), tmp_path / "plots", run)
    assert files == plot_files(readout, tmp_path / "plots", run)
    own = {"verdicts", "layers", "lengths", *(f"cross-talk-{layer}" for layer in diagnosis.layers)}
    assert set(files) == own | set(steering_plots(run))
    for path in files.values():
        tree = ElementTree.fromstring(path.read_text())
        assert not {each.tag for each in tree.iter()} - {
            f"{SVG}{name}" for name in ("svg", "title", "rect", "polyline", "path", "text")
        }
    names = {text.text for text in ElementTree.parse(files["verdicts"]).iter(f"{SVG}text")}
    assert {concept for concept in diagnosis.concepts if len(concept) <= 36} <= names
    write_plots(replace(diagnosis, readout=readout), tmp_path / "plots")  # over its own kind


def test_a_foreign_file_is_not_replaced(diagnosis, tmp_path):
    (tmp_path / "verdicts.svg").write_text("<svg>mine</svg>")
    with pytest.raises(StorageError, match="another kind of file"):
        write_plots(diagnosis, tmp_path)


def test_the_verdicts_stand_in_order_of_auroc_each_on_its_interval(diagnosis):
    sheet, scores = verdicts_plot(diagnosis), diagnosis.evaluation.auroc
    colours = ("#0a7060", "#9a5b00", "#7747a6", "#1f6b96", "#666c75")
    found = sorted((point for colour in colours for point in marks(sheet, colour)), key=lambda point: point[1])
    known = sorted((value for value in scores.value.tolist() if value == value), reverse=True)
    across = [x for x, _ in found]
    assert len(found) == len(known)
    assert across == sorted(across, reverse=True)
    slope = (across[0] - across[-1]) / (known[0] - known[-1])
    assert across == pytest.approx([across[0] + slope * (value - known[0]) for value in known], abs=0.11)
    best = int(scores.value.nan_to_num(-1).argmax())
    (interval,) = [line for colour in colours for line in lines(sheet, colour) if line[0][1] == found[0][1]]
    ends = [across[0] + slope * (float(end[best]) - known[0]) for end in (scores.low, scores.high)]
    assert [x for x, _ in interval] == pytest.approx(ends, abs=0.11)


def test_the_layers_are_a_line_a_concept_and_their_mean(diagnosis):
    sheet = layers_plot(diagnosis)
    assert len(lines(sheet, "#c3c7cc")) == len(diagnosis.concepts)
    (mean,) = lines(sheet, "#1c1e22")
    values = diagnosis.by_layer.auroc.value.nanmean(dim=1)
    heights = torch.tensor([y for _, y in mean])
    assert heights.argsort().tolist() == values.argsort(descending=True).tolist()


def test_the_matrix_has_readouts_in_rows_and_labels_in_columns(diagnosis):
    found = diagnosis.crosstalk[1]
    cells = boxes(cross_talk_plot(found))
    assert len(cells) == len(found.order) ** 2
    ordered = found.auroc[list(found.order)][:, list(found.order)]
    for x, y, colour in cells:
        value = float(ordered[round((y - 250) / 16), round((x - 250) / 16)])
        assert colour == SCALE[round(8 * value)]


def test_longer_means_vary_less():
    lengths = LengthCalibration(torch.zeros(2, 3), torch.full((2, 3), 0.1), torch.tensor([[1.0], [4.0]]), 50)
    curves = lines(lengths_plot((10, 14), lengths), "#1c5d9f")
    assert len(curves) == 2
    for curve in curves:
        assert [y for _, y in curve] == sorted(y for _, y in curve)
    assert curves[0][0] == curves[1][0]  # a single token
    assert curves[0][3][1] > curves[1][3][1]  # tokens that are alike average out more slowly
