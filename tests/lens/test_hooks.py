"""Layer lists as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.hooks import parse_layers


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("3,18", (3, 18)),
        ("18, 3,3", (3, 18)),
        ("-1", (29,)),
        ("-30,-1", (0, 29)),
        ("0.0,1.0", (0, 29)),
        ("0.6", (17,)),
        (".5", (14,)),
        ("all", tuple(range(30))),
        ([4, -1], (4, 29)),
    ],
)
def test_layers_are_indices_negatives_fractions_or_all(spec, expected):
    assert parse_layers(spec, 30) == expected


@pytest.mark.parametrize("spec", ["30", "-31", "1.5", "-0.5", "two", "", ",", "3;18", "nan", "1e1.0"])
def test_what_is_no_layer_is_refused_with_the_range(spec):
    with pytest.raises(ModelError, match="layer"):
        parse_layers(spec, 30)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(-n, n - 1), min_size=1))))
def test_parsed_layers_are_ascending_unique_and_inside(case):
    n_layers, wanted = case
    layers = parse_layers(",".join(map(str, wanted)), n_layers)
    assert list(layers) == sorted(set(layers))
    assert set(layers) == {layer % n_layers for layer in wanted}
