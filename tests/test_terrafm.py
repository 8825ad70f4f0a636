"""TerraFM: which patch embedding an image takes, how it is scaled, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rs_embed import ModelChoice, ModelError
from rs_embed.core.choice import resolve
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.statistics import TERRAMIND
from rs_embed.embedders import runtime
from rs_embed.embedders.blocks import resample_positions
from rs_embed.embedders.families.terrafm import SPEC


def prepared(modality: str | None = None, value: float = 2500.0, **options) -> dict:
    model = unwrap_or_raise(resolve(SPEC, ModelChoice(SPEC.id, None, modality, options)))
    pixels = np.full((1, 1, len(model.bands), 16, 16), value, dtype=np.float32)
    pixels[..., 0, 0] = np.nan
    windows = Windows(pixels, model.bands, ((),), np.zeros((1, 2)), 10.0)
    return runtime.prepare(model, windows)


def test_the_image_goes_by_the_name_of_its_patch_embedding() -> None:
    assert set(prepared()) == {"s2_l1c"}
    assert set(prepared(branch="s2_l2a")) == {"s2_l2a"}
    assert set(prepared("s1", -12.0)) == {"s1"}


def test_values_are_scaled_by_the_table_or_as_reflectance() -> None:
    mean, std = (np.array(one)[:, None, None] for one in TERRAMIND["S2L2A"])
    image = prepared()["s2_l1c"][0]
    np.testing.assert_allclose(image[:, 1:], np.broadcast_to((2500 - mean) / std, (12, 15, 16)))
    image = prepared(normalisation="reflectance")["s2_l1c"][0]
    assert np.unique(image).tolist() == [0, 0.25]
    assert prepared(value=2e4, normalisation="reflectance")["s2_l1c"].max() == 1
    mean, std = (np.array(one)[:, None, None] for one in TERRAMIND["S1GRD"])
    image = prepared("s1", -12.0)["s1"][0]
    np.testing.assert_allclose(image[:, 1:], np.broadcast_to((-12 - mean) / std, (2, 15, 16)))
    assert (image[:, 0, 0] == 0).all(), "missing"


@pytest.mark.parametrize("option", [{"branch": "s2_l2a"}, {"normalisation": "reflectance"}])
def test_an_option_of_the_other_sensor_is_refused(option) -> None:
    with pytest.raises(ModelError, match="about Sentinel-2"):
        prepared("s1", **option)


def test_an_offset_moves_the_places_at_which_positions_are_read() -> None:
    rows = torch.arange(4.0).repeat_interleave(4)[None, :, None]
    table = torch.cat([torch.full((1, 1, 1), 9.0), rows], dim=1)
    plain, moved = (resample_positions(table, 8, 8, mode="bilinear", offset=o) for o in (0, 0.1))
    assert plain.shape == moved.shape == (1, 65, 1)
    assert plain[0, 0] == moved[0, 0] == 9
    # The centre of cell i lies at (i + 0.5) * 4 / (8 + offset) - 0.5 of the stored rows.
    wanted = [np.clip((np.arange(8) + 0.5) * 4 / (8 + o) - 0.5, 0, 3) for o in (0, 0.1)]
    np.testing.assert_allclose(plain[0, 1::8, 0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(moved[0, 1::8, 0], wanted[1], rtol=1e-5)
    assert torch.equal(resample_positions(table, 4, 4, offset=0.1), table), "one that fits stays"
