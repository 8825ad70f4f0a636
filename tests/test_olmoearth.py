"""OlmoEarth: dates, hidden steps, what a cell is, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_embed import ModelChoice
from rs_embed.core.choice import resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import runtime
from rs_embed.embedders.families import olmoearth
from rs_embed.embedders.families.olmoearth import SPEC, sensors
from rs_embed.parity.checkpoint import filled, published_entries, recipe_state

RAW = Path(__file__).parent / "parity" / "raw" / "olmoearth-raw.json"
PUBLISHED = json.loads(RAW.read_text())["facts"]["sensors"]
OLI = {
    "B1": "coastal", "B2": "blue", "B3": "green", "B4": "red", "B5": "nir08", "B6": "swir16",
    "B7": "swir22", "B8": "pan", "B9": "cirrus", "B10": "lwir11", "B11": "lwir12",
}  # fmt: skip
MONTHS = (("2022-06-01", "2022-07-01"), ("2022-07-01", "2022-08-01"))


def chosen(variant: str = "v1_2_nano", modality: str | None = None, **options) -> Model:
    return unwrap_or_raise(resolve(SPEC, ModelChoice("olmoearth", variant, modality, options)))


def prepared(model: Model, pixels: np.ndarray, dates=MONTHS) -> dict[str, np.ndarray]:
    place = np.zeros((len(pixels), 2))
    windows = Windows(pixels, model.bands, (dates,) * len(pixels), place, model.scale_m)
    return runtime.prepare(model, windows)


def noise(model: Model, batch: int = 2, steps: int = 2) -> np.ndarray:
    random = np.random.default_rng(3)
    return random.uniform(0, 3000, (batch, steps, len(model.bands), 8, 8)).astype(np.float32)


@pytest.mark.parametrize(("name", "short"), [("sentinel2_l2a", "s2"), ("sentinel1", "s1")])
def test_a_sensor_is_what_the_authors_publish(name, short):
    facts = PUBLISHED[short]
    assert list(sensors.INPUTS[name].bands) == facts["bands"]
    assert (list(sensors.MEAN[name]), list(sensors.STD[name])) == (facts["mean"], facts["std"])


def test_landsat_is_what_the_authors_publish():
    facts = PUBLISHED["landsat"]
    assert list(sensors.LANDSAT.bands) == [OLI[band] for band in facts["bands"]]
    assert list(sensors.MEAN["landsat"]) == facts["mean"]
    assert list(sensors.STD["landsat"]) == facts["std"]


def test_a_date_counts_days_from_one_and_months_from_nought():
    model = chosen()
    arrays = prepared(model, noise(model))
    np.testing.assert_array_equal(arrays["timestamps"][0], [[16, 5, 2022], [16, 6, 2022]])
    single = chosen(date="2021-12-31")
    arrays = prepared(single, noise(single, steps=1), dates=())
    np.testing.assert_array_equal(arrays["timestamps"], [[[31, 11, 2021]]] * 2)


@pytest.mark.parametrize(
    ("options", "dates", "text"),
    [
        ({}, (), "has no date"),
        ({"date": "July"}, (), "cannot read the date 'July'"),
        ({"date": "2022-07-15"}, MONTHS, "leave date out"),
        ({"cells": "location"}, MONTHS, "came with v1.3"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_fetch(options, dates, text):
    with pytest.raises(ModelError, match=text):
        unwrap_or_raise(runtime.check_dates(chosen(**options), dates))


def test_one_date_is_not_of_two_steps():
    model = chosen(date="2022-07-15")
    with pytest.raises(ModelError, match="these pixels have 2"):
        prepared(model, noise(model), dates=())


def given(model: Model, pixels: np.ndarray) -> dict[str, torch.Tensor]:
    network = filled(model, recipe_state(published_entries(model)))
    with torch.inference_mode():
        return runtime.forward(SPEC, network, prepared(model, pixels))


def test_a_hidden_step_is_as_if_it_were_not_there():
    """And a window's numbers do not hang on what else is in its batch."""
    model = chosen(patch_px=4)
    pixels = noise(model)
    pixels[1, 1] = np.nan
    both = given(model, pixels)
    alone = filled(model, recipe_state(published_entries(model)))
    arrays = prepared(model, pixels[1:, :1], dates=MONTHS[:1])
    with torch.inference_mode():
        one = runtime.forward(SPEC, alone, arrays)
    torch.testing.assert_close(both["grid"][1:], one["grid"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both["image"][1:], one["image"], rtol=1e-4, atol=1e-5)
    assert not both["tokens_sentinel2_l2a"][1, :, :, 1].any()


def test_a_sensor_that_is_missing_is_out_of_the_mean():
    model = chosen(modality="s2s1", patch_px=8)
    pixels = noise(model)
    pixels[:, :, 12:] = np.nan
    found = given(model, pixels)
    only = found["tokens_sentinel2_l2a"].mean(dim=(3, 4))
    torch.testing.assert_close(found["grid"], only, rtol=1e-5, atol=1e-6)


def test_a_window_without_any_pixel_gives_numbers_to_mask():
    model = chosen(patch_px=8)
    pixels = noise(model)
    pixels[0] = np.nan
    assert torch.isfinite(given(model, pixels)["grid"]).all()


def test_a_cell_of_the_newest_version_is_its_location_token():
    asked = {cells: olmoearth._cells(chosen("v1_3_base", cells=cells)) for cells in
             ("auto", "mean", "location")}  # fmt: skip
    assert asked == {"auto": "location", "mean": "mean", "location": "location"}
    assert olmoearth._cells(chosen("v1_2_base")) == "mean"
