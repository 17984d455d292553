"""float16 on the disk: half the bytes, no overflow, and only the read positions that are asked for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amygdala_tl.activations.half import from_half, to_half
from amygdala_tl.activations.store import ActivationStore
from amygdala_tl.errors import ActivationStoreError
from amygdala_tl.records import CaptureSettings
from tests.activations.test_shard_index import IDS, LAYERS, made

SMALL = CaptureSettings(store_dtype="float16", read_position="pooled")


@given(power=st.integers(-120, 120), spread=st.floats(0.0, 20.0), seed=st.integers(0, 99))
def test_rows_of_any_size_keep_eleven_bits(power, spread, seed):
    values = torch.randn(5, 16, generator=torch.manual_seed(seed), dtype=torch.float64)
    values = (values * 2.0**power * 2.0 ** -(spread * torch.rand(5, 16, generator=torch.manual_seed(seed)))).float()
    values[0] = 0.0
    values[1, 0] = torch.nan
    found = from_half(*to_half(values))
    assert found.isnan().sum() == found[1, 0].isnan() == 1
    largest = values.nan_to_num(nan=0.0).abs().amax(dim=1, keepdim=True)
    allowed = (values.abs() * 2.0**-11).maximum(largest * 2.0**-38)
    kept = ~values.isnan()
    assert ((found - values).abs() <= allowed)[kept].all()


def test_rows_below_the_normal_numbers_keep_their_place():
    values = torch.tensor([[2.0**-140, -(2.0**-141), 0.0], [2.0**-149, 0.0, 0.0]])
    torch.testing.assert_close(from_half(*to_half(values)), values, rtol=2.0**-10, atol=0)


def test_a_store_in_float16_gives_the_activations_to_eleven_bits_and_has_a_folder_of_its_own(tmp_path):
    wide, values = made(tmp_path)
    half, _ = made(tmp_path, SMALL)
    assert half.folder != wide.folder
    again = ActivationStore.for_model(tmp_path, half.info, SMALL)
    torch.testing.assert_close(again.load(IDS, LAYERS, "pooled"), values, rtol=2.0**-10, atol=1e-7)
    (part,) = (part for part in again.tokens(IDS[:3], [2]))
    torch.testing.assert_close(part.tokens, values[:3, 1], rtol=2.0**-10, atol=1e-7)
    with pytest.raises(ActivationStoreError, match=r"another read position.*last"):
        half.load(IDS, LAYERS, "last")


def test_settings_at_their_defaults_leave_the_name_of_a_store_as_it_was(tmp_path):
    assert CaptureSettings().key.keys() == {"chat_template", "max_tokens", "token_components", "rendered"}
    assert SMALL.key.keys() > CaptureSettings().key.keys()


@pytest.mark.parametrize(("settings", "most"), [(SMALL, 45e9), (CaptureSettings(), 250e9)])
def test_a_million_texts_at_four_layers_of_5120_take_no_more_than_documented(tmp_path, settings, most):
    layers, d_model = [0, 1, 2, 3], 256

    def written(n_texts):
        """Bytes of all files of a store of texts that give one token each."""
        ids = [f"{number:064x}" for number in range(n_texts)]
        made(tmp_path / f"{n_texts}", settings, ids, 512, layers, d_model)
        return sum(file.stat().st_size for file in (tmp_path / f"{n_texts}").rglob("*"))

    size = {"float32": 4, "float16": 2}[settings.store_dtype]
    token = len(layers) * d_model * size
    a_text = (written(2048) - written(1024)) / 1024 - token
    beside = a_text - len(settings.positions) * token
    assert 0 < beside < 300  # ids, in the shard and in the index, and counts
    bytes_of_numbers = size * len(layers) * 5120
    assert 1e6 * (len(settings.positions) * bytes_of_numbers + beside) + 16_384 * bytes_of_numbers < most
