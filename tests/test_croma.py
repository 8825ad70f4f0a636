"""CROMA: where each band's range lies, by which statistics, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rs_embed.core.choice import resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import runtime
from rs_embed.embedders.families import croma
from tests.parity.raw_cases import RAW, raw_pixels


def chosen(modality: str, **options) -> Model:
    return unwrap_or_raise(resolve(croma.SPEC, ModelChoice("croma", None, modality, options)))


def prepared(model: Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    windows = Windows(
        pixels.astype(np.float32), model.bands, ((),) * len(pixels),
        np.zeros((len(pixels), 2)), 10.0,
    )  # fmt: skip
    return runtime.prepare(model, windows)


def test_the_default_range_is_two_deviations_of_terraminds_data() -> None:
    # VV: -12.599 and 5.195; B1: 1390.458 and 2106.761; B12: 1857.648 and 1334.311.
    model = chosen("s2s1")
    pixels = np.zeros((1, 1, 14, 8, 8))
    pixels[0, 0, 0, 0, :3] = -12.599 + 5.195 * np.array([-3, 0.1, 3])
    pixels[0, 0, 2, 0, :2] = 1390.458 + 2106.761 * np.array([1, 3])
    pixels[0, 0, 13, 0, :2] = 1857.648 + 1334.311 * np.array([-1.99, 1.5])
    arrays = prepared(model, pixels)
    np.testing.assert_allclose(arrays["s1"][0, 0, 0, :3] * 255, [0, 133, 255], rtol=1e-6)
    np.testing.assert_allclose(arrays["s2"][0, 0, 0, :2] * 255, [191, 255], rtol=1e-6)
    np.testing.assert_allclose(arrays["s2"][0, 11, 0, :2] * 255, [0, 223], rtol=1e-6)


def test_given_statistics_are_used() -> None:
    """The raw case's own, given as numbers, make what the window's make."""
    case = json.loads((RAW / "croma-raw.json").read_text())
    told = case["raw"]["statistics"]
    mean, std = (
        ",".join(str(v) for name in ("s1", "s2") for v in told[name][key])
        for key in ("mean", "std")
    )
    pixels = np.concatenate([raw_pixels(item) for item in case["inputs"]], axis=1)[None]
    ours = prepared(chosen("s2s1", statistics="window"), pixels)
    given = prepared(chosen("s2s1", statistics="given", mean=mean, std=std), pixels)
    default = prepared(chosen("s2s1"), pixels)
    for name in ("s1", "s2"):
        np.testing.assert_array_equal(given[name], ours[name])
        assert not np.allclose(default[name], ours[name])


def test_a_windows_statistics_are_its_own() -> None:
    model = chosen("s1", statistics="window")
    pixels = np.random.default_rng(0).normal(-15, 4, (2, 1, 2, 16, 16))
    both = prepared(model, pixels)["s1"]
    np.testing.assert_array_equal(both[1:], prepared(model, pixels[1:])["s1"])


@pytest.mark.parametrize("statistics", ["terramind", "window"])
@pytest.mark.parametrize(("eight_bit", "middle"), [(True, 127 / 255), (False, 0.5)])
def test_what_is_missing_lies_in_the_middle(statistics, eight_bit, middle) -> None:
    model = chosen("s1", statistics=statistics, eight_bit=eight_bit)
    pixels = np.random.default_rng(0).normal(-15, 4, (1, 1, 2, 16, 16))
    pixels[..., 0, 3, 4] = np.nan
    pixels[..., 1, :, :] = np.nan
    image = prepared(model, pixels)["s1"]
    np.testing.assert_allclose(image[0, 0, 3, 4], middle)
    np.testing.assert_allclose(image[0, 1], middle)
    assert image[0, 0].std() > 0.1


def test_a_constant_band_has_no_range_of_its_own() -> None:
    model = chosen("s1", statistics="window")
    image = prepared(model, np.full((1, 1, 2, 8, 8), -10.0))["s1"]
    np.testing.assert_allclose(image, 127 / 255)


@pytest.mark.parametrize(
    "options",
    [
        {"statistics": "given"},
        {"statistics": "given", "mean": "1,2,3", "std": "1,2"},
        {"statistics": "given", "mean": "1,2", "std": "1,0"},
        {"statistics": "given", "mean": "1,nan", "std": "1,1"},
        {"statistics": "given", "mean": "1,two", "std": "1,1"},
    ],
)
def test_statistics_that_do_not_fit_are_refused(options) -> None:
    with pytest.raises(ModelError, match=r"2 numbers .*VV, VH"):
        croma.check(chosen("s1", **options), ())


def test_statistics_without_their_option_are_refused() -> None:
    with pytest.raises(ModelError, match="statistics='given'"):
        croma.check(chosen("s1", mean="1,2", std="1,1"), ())
