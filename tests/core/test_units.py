from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.units import MEANINGS, check_convertible, check_units, convert, convertible

PAIRS = [(a, b) for a in MEANINGS for b in MEANINGS if convertible(a, b) and convertible(b, a)]


@pytest.mark.parametrize(
    ("given_", "wanted", "value", "result"),
    [
        ("reflectance_x10000", "reflectance", 2500, 0.25),
        ("reflectance", "reflectance_x10000", 0.25, 2500),
        ("s2_dn_offset1000", "reflectance", 3500, 0.25),
        ("s2_dn_offset1000", "reflectance_x10000", 3500, 2500),
        ("reflectance_x10000", "s2_dn_offset1000", 2500, 3500),
        ("landsat_c2_sr", "reflectance", 18182, 0.300005),
        ("reflectance", "landsat_c2_sr", 0.3, 18181.818),
        ("linear", "db", 0.01, -20),
        ("db", "linear", -20, 0.01),
        ("celsius", "kelvin", 20, 293.15),
        ("kelvin", "celsius", 293.15, 20),
        ("percent", "probability", 35, 0.35),
    ],
)
def test_known_conversions(given_, wanted, value, result):
    found = convert(np.array([value, np.nan], dtype=np.float32), given_, wanted)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [result, np.nan], rtol=1e-5)


@given(st.sampled_from(PAIRS), st.floats(0.015625, 1, width=32))
def test_there_and_back(pair, value):
    here, there = pair
    values = np.array([value], dtype=np.float32)
    back = convert(convert(values, here, there), there, here)
    # An offset of 1000 or 273 costs digits of a small value.
    np.testing.assert_allclose(back, values, rtol=1e-4, atol=4e-4)


def test_whole_numbers_stay_whole():
    numbers = np.arange(0, 10001, 7, dtype=np.float32)
    out = convert(numbers + 1000, "s2_dn_offset1000", "reflectance_x10000")
    np.testing.assert_array_equal(out, numbers)


def test_power_without_a_decibel_is_missing():
    found = convert(np.array([0.0, -1.0, 1.0], dtype=np.float32), "linear", "db")
    np.testing.assert_array_equal(found, [np.nan, np.nan, 0.0])


def test_the_same_units_are_the_same_array():
    values = np.ones(3, dtype=np.float32)
    assert convert(values, "db", "db") is values


def test_what_cannot_become_what():
    assert not convertible("reflectance", "uint8")
    assert not convertible("kelvin", "reflectance")
    assert not convertible("db", "reflectance")
    assert all(convertible(unit, unit) for unit in MEANINGS)


def test_unknown_units_list_those_there_are():
    assert check_units("db") == Success("db")
    error = check_units("DN").failure()
    assert type(error) is SpecError
    assert all(unit in str(error) for unit in MEANINGS)


def test_a_band_that_cannot_be_converted_is_named():
    assert isinstance(check_convertible(("VV",), ("linear",), ("db",)), Success)
    outcome = check_convertible(("B4", "VV"), ("reflectance", "uint8"), ("reflectance", "db"))
    assert isinstance(outcome, Failure)
    assert "band VV is in uint8, which cannot become db" in str(outcome.failure())
    assert "units=" in str(outcome.failure())


def test_an_annual_embedding_as_its_files_store_it():
    stored = np.array([127, -64, 0], dtype=np.float32)
    found = convert(stored, "aef_int8", "1")
    np.testing.assert_allclose(found, [(127 / 127.5) ** 2, -((64 / 127.5) ** 2), 0], rtol=1e-6)
    assert not convertible("1", "aef_int8")
