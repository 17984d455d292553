"""The map of concepts beside scikit-learn's PCA, and its correlation with norms."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from amygdala_tl.diagnostics.geometry import geometry

NAMES = tuple("abcdefgh")


def directions(seed=0, n=8, d_model=12):
    rows = torch.randn(n, d_model, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=-1)


def test_coordinates_and_shares_are_scikit_learns_up_to_sign():
    rows = directions()
    found = geometry(NAMES, 3, rows)
    oracle = PCA(3).fit(rows.double().numpy())
    assert found.explained.numpy() == pytest.approx(oracle.explained_variance_ratio_)
    expected = oracle.transform(rows.double().numpy())
    assert np.abs(found.coordinates.numpy()) == pytest.approx(np.abs(expected), abs=1e-9)


def test_signs_do_not_depend_on_the_order_of_concepts():
    rows, order = directions(), [3, 1, 7, 0, 2, 6, 5, 4]
    found = geometry(NAMES, 3, rows)
    other = geometry([NAMES[place] for place in order], 3, rows[order])
    assert torch.allclose(other.coordinates, found.coordinates[order], atol=1e-9)


def test_an_axis_that_is_valence_correlates_with_it_where_values_are_missing():
    rows = directions()
    coordinates = geometry(NAMES, 3, rows).coordinates
    valence = {name.upper(): -2 * float(value) + 7 for name, value in zip(NAMES, coordinates[:, 0], strict=True)}
    del valence["C"]
    found = geometry(NAMES, 3, rows, {"valence": valence, "arousal": {"a": 1.0, "b": 2.0}})
    assert float(found.norms["valence"][0]) == pytest.approx(-1.0)
    kept = [place for place, name in enumerate(NAMES) if name != "c"]
    expected = np.corrcoef(coordinates[kept, 0], coordinates[kept, 1])[0, 1]
    assert float(found.norms["valence"][1]) == pytest.approx(-expected)
    assert found.norms["arousal"].isnan().all()
    assert found.n_norms == 7


def test_without_norms_there_are_no_correlations():
    found = geometry(NAMES, 3, directions())
    assert found.norms == {}
    assert found.n_norms == 0


@pytest.mark.parametrize("n", [1, 2])
def test_few_concepts_have_few_axes(n):
    found = geometry(NAMES[:n], 3, directions(n=n))
    assert found.coordinates.shape == (n, n)
    assert found.explained.isfinite().all()
    assert 0 <= float(found.explained.sum()) <= 1 + 1e-9
