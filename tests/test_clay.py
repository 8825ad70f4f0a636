"""Clay: what the network is told of a sensor, a date and a place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rs_embed import ModelChoice
from rs_embed.core.choice import resolve
from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import runtime
from rs_embed.embedders.families.clay import SENSORS, SPEC

RAW = Path(__file__).parent / "parity" / "raw" / "clay-raw.json"
PUBLISHED = json.loads(RAW.read_text())["facts"]["sensors"]
DAY = (("2022-07-05", "2022-07-06"),)


def chosen(modality: str = "s2", **options) -> Model:
    return unwrap_or_raise(resolve(SPEC, ModelChoice("clay", None, modality, options)))


def prepared(model: Model, value: float = 0.5, dates=DAY) -> dict[str, np.ndarray]:
    pixels = np.full((2, 1, len(model.bands), 8, 8), value, dtype=np.float32)
    place = np.array([[11.35, 47.26], [-70.0, -30.0]])
    return runtime.prepare(model, Windows(pixels, model.bands, (dates,) * 2, place, model.scale_m))


def test_every_sensor_is_there():
    assert sorted(sensor.platform for sensor in SENSORS.values()) == sorted(PUBLISHED)


@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_is_what_the_authors_publish(name):
    sensor, model = SENSORS[name], chosen(name)
    facts = PUBLISHED[sensor.platform]
    assert [band.lower() for band in model.bands] == [band.lower() for band in facts["bands"]]
    assert list(sensor.mean) == facts["mean"]
    assert list(sensor.std) == facts["std"]
    assert list(sensor.waves) == facts["wavelength_um"]
    assert model.scale_m == facts["gsd"]
    arrays = prepared(model)
    assert arrays["pixels"].shape == (2, len(facts["bands"]), 8, 8)
    assert arrays["gsd"] == np.float32(facts["gsd"])
    np.testing.assert_array_equal(arrays["waves"], np.float32(facts["wavelength_um"]))


def test_the_pixels_own_size_is_told():
    assert prepared(chosen("naip", scale_m=0.6))["gsd"] == np.float32(0.6)


def test_what_is_not_known_is_zeros():
    dated, undated = prepared(chosen()), prepared(chosen(), dates=())
    assert dated["time"].any(axis=1).all()
    assert not undated["time"].any()
    np.testing.assert_array_equal(undated["latlon"], dated["latlon"])
    silent = prepared(chosen(coords="none"))
    assert not silent["time"].any()
    assert not silent["latlon"].any()


def test_the_hour_is_the_callers():
    nine = prepared(chosen(hour=9))["time"]
    np.testing.assert_array_equal(nine[:, :2], prepared(chosen())["time"][:, :2])
    turn = 2 * np.pi * 9 / 24
    np.testing.assert_allclose(nine[:, 2:], [[np.sin(turn), np.cos(turn)]] * 2, rtol=1e-6)


@pytest.mark.parametrize("name", ["s2", "s1"])
def test_a_missing_pixel_is_the_mean(name):
    assert not prepared(chosen(name), np.nan)["pixels"].any()


def test_power_without_a_decibel_is_a_very_small_one():
    model = chosen("s1")
    shown = [prepared(model, value)["pixels"] for value in (-0.01, 0.0, 1e-10)]
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_allclose(shown[0], shown[2], rtol=1e-6)
