"""What a look at values finds odd, and what it makes of what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from rs_embed.core.times import composite
from rs_embed.core.values import ValueLook


def good(bands: int = 2, size: int = 20) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.02, 0.5, (1, bands, size, size)).astype("f4")


def said(values: np.ndarray, *units: str) -> str:
    look = ValueLook(units)
    look.see(values)
    return " | ".join(look.problems())


def test_good_values_come_back_as_they_are():
    values = good()
    values[0, 0, 0, 0] = np.nan
    look = ValueLook(("reflectance", "reflectance"))
    assert look.see(values) is values
    assert look.problems() == ()


@pytest.mark.parametrize("what", [np.inf, -np.inf, np.finfo("f4").min, 1e31])
def test_what_no_quantity_is_becomes_missing(what):
    values = good()
    values[0, 1, 2, 3] = what
    look = ValueLook(("db", "db"))
    clean = look.see(values)
    assert np.argwhere(np.isnan(clean)).tolist() == [[0, 1, 2, 3]]
    assert values[0, 1, 2, 3] == np.float32(what)  # the caller's own are left alone
    assert "infinite" in look.problems()[0]


@pytest.mark.parametrize(
    ("scaled", "units", "words"),
    [
        (lambda v: v * 10000, "reflectance", "above 1.6"),
        (lambda v: v, "reflectance_x10000", "below 0.01"),
        (lambda v: v * 1e-4, "reflectance", "below 0.01"),
        (lambda v: v * 1e8, "reflectance_x10000", "above 16000"),
        (lambda v: v * 10000, "s2_dn_offset1000", "below 0 as"),
        (lambda v: v, "uint8", "every value is below 1.01"),
        (lambda v: v * 40, "kelvin", "every value is below 100"),
    ],
)
def test_values_that_their_units_contradict(scaled, units, words):
    values = scaled(good()).astype("f4")
    if units == "s2_dn_offset1000":
        values *= 0.4
    assert words in said(values, units, units)


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (good() * 10000, "reflectance_x10000"),
        (good() * 10000 + 1000, "s2_dn_offset1000"),
        (good() * 255, "uint8"),
        (good() * -20, "db"),
        (good() * 4000 - 100, "metres"),
        (good() * 0, "metres"),
        (good() * 100000, "class"),
    ],
)
def test_values_that_may_well_be(values, units):
    assert said(values, units, units) == ""


def test_a_few_bright_pixels_are_snow_or_glint():
    values = good()
    values[0, :, 0, :8] = 1.9
    assert "above 1.6" in said(values, "reflectance", "reflectance")
    values[0, :, 0, 3:] = 0.3
    assert said(values, "reflectance", "reflectance") == ""


@pytest.mark.parametrize("fill", [-9999, 65535, -32768, -999])
def test_fills_that_nobody_declared(fill):
    values = good() * 10
    values[0, 0, 5, 5] = fill
    assert f"{fill:g}" in said(values, "db", "db")


def test_a_block_of_zeros_in_every_band():
    values = good()
    values[0, :, :3] = 0
    assert "0 in every band" in said(values, "reflectance", "reflectance")
    values[0, 1, :3] = 0.1
    assert said(values, "reflectance", "reflectance") == ""


def test_what_is_said_does_not_depend_on_the_parts_that_are_read():
    values = good() * 10000
    whole, parts = (ValueLook(("reflectance", "db")) for _ in range(2))
    whole.see(values)
    for row in range(0, 20, 3):
        parts.see(values[:, :, row : row + 3])
    assert whole.problems() == parts.problems() != ()


def test_between_two_classes_there_is_none():
    dates = np.array([4.0, 6.0], "f4").reshape(2, 1, 1, 1) * np.ones((2, 2, 2, 2), "f4")
    dates[1, 0, 0, 0] = np.nan
    found = composite(dates, [[0, 1]], "median", classes=(0,))[0]
    np.testing.assert_array_equal(found[0], [[4, 6], [6, 6]])
    np.testing.assert_array_equal(found[1], 5)
