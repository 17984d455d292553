"""Cross-talk of activations and labels in hand: labels as names or as a matrix, and what is refused."""

import pytest
import torch

import amygdala_tl as at
from amygdala_tl.errors import InputError
from tests.readout.example import CONCEPTS, D_MODEL, LAYERS, a_readout

N = 60


@pytest.fixture(scope="module")
def labels():
    random = torch.Generator().manual_seed(1)
    drawn = torch.rand(N, len(CONCEPTS), generator=random) < 0.4
    return [[name for name, yes in zip(CONCEPTS, row, strict=True) if yes] for row in drawn.tolist()]


@pytest.fixture(scope="module")
def activations(labels):
    """Noise that a text's concepts move along their directions."""
    readout, streams = a_readout(), torch.randn(N, len(LAYERS), D_MODEL, generator=torch.Generator().manual_seed(2))
    for row, names in enumerate(labels):
        for name in names:
            streams[row] += 2 * readout.vectors[:, CONCEPTS.index(name)]
    return streams


def matrix(labels):
    return torch.tensor([[name in names for name in CONCEPTS] for names in labels])


FORMS = {
    "names": lambda labels: labels,
    "tuples of names, in any case": lambda labels: tuple(tuple(map(str.upper, row)) for row in labels),
    "names that the readout does not know too": lambda labels: [[*row, "envy"] for row in labels],
    "a tensor": matrix,
    "an integer tensor": lambda labels: matrix(labels).int(),
    "an array": lambda labels: matrix(labels).numpy(),
    "nested lists": lambda labels: matrix(labels).int().tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_mean_the_same_in_every_form(labels, activations, form):
    readout = a_readout()
    found = at.cross_talk(readout, activations, FORMS[form](labels), layer=10)
    for place, name in enumerate(CONCEPTS):
        has = torch.tensor([name in row for row in labels])
        assert int(found.n_positive[place]) == int(has.sum())
        assert int(found.n_negative[place]) == N - int(has.sum())
        scores = activations[:, 1] @ readout.vectors[1, place]
        pairs = scores[has][:, None] - scores[~has]
        area = ((pairs > 0).float() + 0.5 * (pairs == 0)).mean()
        assert float(found.auroc[place, place]) == pytest.approx(float(area), abs=1e-5)
    torch.testing.assert_close(found.cosine.float(), readout.vectors[1] @ readout.vectors[1].T, rtol=1e-4, atol=1e-5)


def test_the_layer_is_the_one_that_most_concepts_are_read_at(labels, activations):
    assert at.cross_talk(a_readout(), activations, labels).layer == 10


def test_it_shows_itself_in_one_line_and_as_a_table(labels, activations):
    names = ("<b>awe</b>", "joy", "grief")
    found = at.cross_talk(a_readout(concepts=names), activations, matrix(labels), layer=3)
    assert repr(found).startswith("CrossTalk(layer 3, 3 concepts")
    assert found._repr_html_().count("<tr>") == 4
    assert "<b>" not in found._repr_html_()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ([["envy"]] * N, "no label of these texts is a concept"),
        (["joy"] * N, "the labels cannot be used"),
        (torch.full((N, 3), 2), "the labels cannot be used"),
        (torch.ones(N), "the labels cannot be used"),
        ([["joy"]] * (N - 1), rf"labels \({N - 1}, 3\)"),
        (torch.ones(N, 2).bool(), rf"labels \({N}, 2\).*labels \({N}, 3\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(activations, wrong, expected):
    with pytest.raises(InputError, match=expected):
        at.cross_talk(a_readout(), activations, wrong)


def test_groups_activations_and_layers_that_do_not_fit_are_refused(labels, activations):
    with pytest.raises(InputError, match="3 groups"):
        at.cross_talk(a_readout(), activations, labels, groups=["a", "b", "c"])
    with pytest.raises(InputError, match="does not have the layer"):
        at.cross_talk(a_readout(), activations, labels, layer=4)
    with pytest.raises(InputError, match=r"\(60, 1, 16\)"):
        at.cross_talk(a_readout(), activations[:, :1], labels, layer=10)
