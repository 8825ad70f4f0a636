"""AnySat's branches on a small network: missing dates, dense cells, patches, days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rs_embed import ModelChoice
from rs_embed.core.choice import resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.families import anysat
from rs_embed.embedders.runtime import LoadedModel, check_dates, encode, prepare
from rs_embed.parity.checkpoint import filled, published_entries, recipe_state

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
DATES = tuple((f"2022-{month:02d}-05", f"2022-{month:02d}-06") for month in (3, 6, 9))
SMALL = {
    **anysat.SPEC.variants[0].config,
    "embed_dim": 128, "spatial_depth": 1, "depth": 1, "num_heads": 4,
    "ltae": {"n_head": 16, "d_k": 8, "T": 367, "mlp_in": (16, 128), "mlp": (128,)},
}  # fmt: skip
SPEC = replace(
    anysat.SPEC, variants=(replace(anysat.SPEC.variants[0], name="base", dim=128, config=SMALL),)
)


def model(modality: str = "s2", **options) -> Model:
    choice = ModelChoice("anysat", None, modality, {"window_px": 4, **options})
    return unwrap_or_raise(resolve(SPEC, choice))


@pytest.fixture(scope="module")
def network():
    of = model()
    return filled(of, recipe_state(published_entries(of)))


def windows(of: Model, *, dates=DATES) -> Windows:
    rng = np.random.default_rng(0)
    count = max(1, len(dates))
    pixels = rng.uniform(100, 4000, (1, count, len(of.bands), of.window_px, of.window_px))
    return Windows(pixels.astype(np.float32), of.bands, (dates,), np.zeros((1, 2)), 10.0)


def tokens(network, of: Model, given: Windows):
    return encode(LoadedModel(of, network, "cpu"), prepare(of, given), of)


def test_a_date_that_is_missing_is_as_one_that_was_not_taken(network) -> None:
    of = model()
    given = windows(of)
    given.pixels[:, 1, 3] = np.nan
    shorter = replace(given, pixels=given.pixels[:, [0, 2]], intervals=((DATES[0], DATES[2]),))
    found, wanted = (tokens(network, of, one) for one in (given, shorter))
    np.testing.assert_allclose(found.grid, wanted.grid, **CLOSE)
    np.testing.assert_allclose(found.image, wanted.image, **CLOSE)
    assert np.abs(found.grid - tokens(network, of, windows(of)).grid).max() > 1e-3


def test_a_pixel_without_any_date_is_at_the_mean(network) -> None:
    of = model()
    given, mean = windows(of), windows(of)
    given.pixels[..., 0, 0] = np.nan
    table = np.array(anysat._statistics(anysat.S2)[0], dtype=np.float32)
    mean.pixels[..., 0, 0] = table
    np.testing.assert_allclose(
        tokens(network, of, given).grid, tokens(network, of, mean).grid, **CLOSE
    )


def test_dense_cells_hold_their_patch_and_themselves(network) -> None:
    patch, dense = model(token_px=2), model(features="dense", patch_px=2)
    assert (patch.dim, dense.dim) == (128, 256)
    cells = tokens(network, patch, windows(patch)).grid
    pixels = tokens(network, dense, windows(dense)).grid
    assert cells.shape == (1, 2, 2, 128)
    assert pixels.shape == (1, 4, 4, 256)
    np.testing.assert_array_equal(
        pixels[..., :128], cells.repeat(2, axis=1).repeat(2, axis=2)
    )  # fmt: skip
    assert np.abs(pixels[0, 0, 0, 128:] - pixels[0, 0, 1, 128:]).max() > 1e-3


@pytest.mark.parametrize("modality", ["s1_asc", "s2s1_asc"])
def test_other_sensors_run(network, modality) -> None:
    of = model(modality)
    found = tokens(network, of, windows(of))
    assert np.isfinite(found.grid).all()
    assert np.abs(found.grid - tokens(network, model(), windows(model())).grid).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": "dense", "token_px": 2}, "cells of one pixel"),
        ({"features": "dense", "patch_px": 3}, "divide window_px=4"),
        ({"token_px": 2, "patch_px": 4}, "set token_px alone"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, words) -> None:
    with pytest.raises(ModelError, match=words):
        unwrap_or_raise(check_dates(model(**options), DATES))


def test_days_are_from_zero_and_undated_pixels_take_theirs() -> None:
    of = model()
    assert prepare(of, windows(of))["s2_dates"].tolist() == [[63, 155, 247]]
    assert prepare(model(day=1), windows(of, dates=()))["s2_dates"].tolist() == [[0]]
    with pytest.raises(ModelError, match="needs the day of each of the 1 dates"):
        prepare(of, windows(of, dates=()))
    with pytest.raises(ModelError, match="leave out day"):
        prepare(model(day=1), windows(of))
