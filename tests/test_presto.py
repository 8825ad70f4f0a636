"""Presto's branches: months, what is missing, classes, the place, and the speed's own chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rs_embed import ModelChoice, load_model
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.families import presto
from rs_embed.embedders.runtime import encode, prepare, unload_models
from rs_embed.parity import write_checkpoint

CLOSE = {"rtol": 1e-5, "atol": 2e-6}
SUMMER = tuple((f"2022-{month:02d}-05", f"2022-{month:02d}-25") for month in (6, 7, 8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("w") / "default_model.pt"
    return str(write_checkpoint((presto.SPEC, "default"), path))


@pytest.fixture(scope="module", autouse=True)
def _free():
    yield
    unload_models()


@pytest.fixture
def model(weights):
    """``model(modality=..., option=...)``: a Model with windows of 4 pixels."""

    def resolved(modality: str = "s2", **options) -> Model:
        full = {"window_px": 4, **options}
        return unwrap_or_raise(find_model(ModelChoice("presto", None, modality, full, weights)))

    return resolved


def windows(of: Model, *, batch=1, dates=SUMMER, steps=None) -> Windows:
    rng = np.random.default_rng(0)
    side, count = of.window_px, steps or max(1, len(dates))
    scale = [3000.0 if band.startswith("B") else 1.0 for band in of.bands]
    pixels = rng.uniform(0.1, 1, (batch, count, len(of.bands), side, side))
    if "label" in of.bands:
        pixels[:, :, of.bands.index("label")] = 4
    lonlat = np.array([[121.5, 31.2], [-70.0, -45.0]])[:batch]
    values = (pixels * np.array(scale)[:, None, None]).astype(np.float32)
    return Windows(values, of.bands, (dates,) * batch, lonlat, 10.0)


def without(given: Windows, *where: object) -> Windows:
    pixels = given.pixels.copy()
    pixels[where] = np.nan
    return replace(given, pixels=pixels)


def grid(of: Model, given: Windows) -> np.ndarray:
    choice = ModelChoice("presto", None, of.modality, of.options, of.weights)
    return encode(load_model(choice, device="cpu"), prepare(of, given), of).grid


def test_a_pixel_knows_nothing_of_its_neighbours(model) -> None:
    of = model()
    given = windows(of)
    other = replace(given, pixels=given.pixels.copy())
    other.pixels[..., 0, 0] *= 1.5
    change = np.abs(grid(of, given) - grid(of, other)).max(axis=-1)[0]
    assert change[0, 0] > 1e-3
    assert change.ravel()[1:].max() < 1e-5


def test_the_place_is_the_windows(model) -> None:
    of = model()
    given = windows(of, batch=2)
    np.testing.assert_allclose(prepare(of, given)["latlons"][1], [-45.0, -70.0])
    same = replace(given, pixels=np.repeat(given.pixels[:1], 2, axis=0))
    first, second = grid(of, same)
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("option", ["era5", "srtm", "dw"])
def test_each_layer_changes_the_numbers(model, option) -> None:
    plain, with_it = model(), model(**{option: True})
    given = windows(with_it)
    bare = replace(given, pixels=given.pixels[:, :, :10], bands=plain.bands)
    assert np.abs(grid(with_it, given) - grid(plain, bare)).max() > 1e-3
    # A layer without any value is a layer that was not asked for.
    gone = without(given, slice(None), slice(None), slice(10, None))
    np.testing.assert_allclose(grid(with_it, gone), grid(plain, bare), **CLOSE)


def test_pixels_that_lack_different_months_do_not_touch_each_other(model) -> None:
    of = model("s2s1")
    given = without(windows(of), 0, 2, slice(None), 1, 1)
    given = without(given, 0, 0, slice(10, 12), 2, 3)
    found = grid(of, given)[0]
    whole = grid(of, windows(of))[0]
    np.testing.assert_allclose(found[0], whole[0], **CLOSE)
    for row, col in ((1, 1), (2, 3)):
        assert np.abs(found[row, col] - whole[row, col]).max() > 1e-3
    one = replace(given, pixels=given.pixels[:, :2, :, 1:2, 1:2], intervals=(SUMMER[:2],))
    np.testing.assert_allclose(found[1, 1], grid(of, one)[0, 0, 0], **CLOSE)


def test_one_missing_band_hides_its_group_and_ndvi(model) -> None:
    of = model()
    masks = prepare(of, without(windows(of), 0, 1, of.bands.index("B4"), 0, 0))["mask"][0]
    hidden = [presto.BANDS[i] for i in np.flatnonzero(masks[1, :, 0, 0])]
    absent = ["VV", "VH", "temperature_2m", "total_precipitation", "elevation", "slope"]
    assert sorted(hidden) == sorted([*absent, "B4", "NDVI"])
    assert not masks[0, presto.BANDS.index("NDVI")].any()


def test_a_pixel_without_any_token_is_missing(model) -> None:
    of = model()
    found = grid(of, without(windows(of), 0, slice(None), slice(None), 3, 0))[0]
    assert np.isnan(found[3, 0]).all()
    assert np.isfinite(found).all(axis=-1).sum() == 15


def test_ndvi_of_nothing_is_zero_and_seen(model) -> None:
    of = model()
    given = windows(of)
    given.pixels[0, 0, :, 0, 0] = 0
    arrays = prepare(of, given)
    assert arrays["x"][0, 0, -1, 0, 0] == 0
    assert not arrays["mask"][0, 0, -1, 0, 0]


def test_a_class_that_does_not_exist_is_an_error(model) -> None:
    of = model(dw=True)
    given = windows(of)
    given.pixels[0, 0, -1, 0, 0] = 11
    with pytest.raises(ModelError, match="class from 0 to 8, and these pixels hold 11"):
        prepare(of, given)


def test_months_follow_the_dates_and_undated_pixels_take_theirs(model) -> None:
    of, undated = model(), model(month=7)
    assert prepare(of, windows(of))["months"].tolist() == [[5, 6, 7]]
    july = windows(of, dates=SUMMER[1:2])
    np.testing.assert_array_equal(
        grid(of, july), grid(undated, replace(july, intervals=((),)))
    )  # fmt: skip
    with pytest.raises(ModelError, match="presto needs the month of each of the 2 steps"):
        prepare(undated, windows(undated, dates=(), steps=2))
    with pytest.raises(ModelError, match="at most 24 steps, not 25"):
        prepare(of, windows(of, dates=SUMMER[:1] * 25))


def test_pixels_run_in_parts_as_in_one(model, monkeypatch) -> None:
    of = model()
    given = windows(of, batch=2)
    whole = grid(of, given)
    monkeypatch.setattr(presto, "AT_ONCE", 5)
    np.testing.assert_allclose(grid(of, given), whole, **CLOSE)
