from __future__ import annotations

import pytest
from returns.result import Success

from rs_embed.core.bands import (
    ALIASES,
    LANDSAT_4_TO_7,
    LANDSAT_8_TO_9,
    common_name,
    is_sentinel2,
    landsat_names,
    match_bands,
)
from rs_embed.core.errors import ModelError, SpecError


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("B2", "blue"), ("B02", "blue"), ("blue", "blue"), ("Blue", "blue"), (" b2 ", "blue"),
        ("B8", "nir"), ("nir", "nir"), ("B8A", "nir08"), ("b8a", "nir08"), ("B08A", "nir08"),
        ("nir08", "nir08"), ("narrow nir", "nir08"), ("B11", "swir16"), ("swir16", "swir16"),
        ("swir1", "swir16"), ("B12", "swir22"), ("swir22", "swir22"), ("B5", "rededge1"),
        ("B02_10m", "blue"), ("B2_median", "blue"), ("B8A_20m", "nir08"), ("b04_p50", "red"),
        ("B2_stdDev", "b2_stddev"), ("B2_count", "b2_count"), ("SR_B2", "sr_b2"),
        ("VV", "vv"), ("vh", "vh"), ("elevation", "elevation"), ("DEM", "dem"),
    ],
)  # fmt: skip
def test_common_names(name, common):
    assert common_name(name) == common


def test_no_alias_stands_for_two_bands():
    names = [alias.lower() for name, aliases in ALIASES.items() for alias in (name, *aliases)]
    assert len(names) == len(set(names))


def test_bands_are_found_by_name_and_never_by_position():
    found = ("B02", "B03", "B04", "B08", "B8A", "B11")
    assert match_bands(("B4", "B3", "B2"), found) == Success((2, 1, 0))
    assert match_bands(("red", "nir", "nir08", "swir1"), found) == Success((2, 3, 4, 5))
    assert match_bands(("B4",), ("vv", "B4")) == Success((1,))


def test_a_missing_band_says_what_is_there_and_the_mending_call():
    error = match_bands(("B4", "B8A"), ("B4", "B8")).failure()
    assert type(error) is SpecError
    assert "the array has no band B8A; it has B4, B8" in str(error)
    assert "pass bands={'B8A': '<a band you have>'}" in str(error)
    error = match_bands(("B8A",), ("B4",), error=ModelError, where="the SensorSpec").failure()
    assert type(error) is ModelError
    assert "the SensorSpec has no band B8A" in str(error)


def test_a_stand_in_is_the_callers_own_word():
    assert match_bands(("B4", "B8A"), ("B4", "B8"), substitutes={"B8A": "B8"}) == Success((0, 1))
    assert match_bands(("nir08",), ("B4", "B8"), substitutes={"B8A": "nir"}) == Success((1,))
    error = match_bands(("B8A",), ("B4",), substitutes={"B8A": "B9"}).failure()
    assert "the stand-in 'B9' is not in the array, which has B4" in str(error)


def test_two_bands_of_one_name_are_refused():
    error = match_bands(("B2",), ("B02", "blue")).failure()
    assert type(error) is SpecError
    assert "'B02' and 'blue' are both blue; keep one of the two" in str(error)


def test_a_collections_own_names_come_first():
    # On Landsat, B5 is the near infrared, not a red edge.
    landsat = {"SR_B5": "nir", "B5": "nir"}
    assert match_bands(("B8",), ("B5",), common=landsat) == Success((0,))
    assert match_bands(("B8",), ("SR_B4", "SR_B5"), common=landsat) == Success((1,))


def test_long_lists_are_shortened():
    error = match_bands(("B4",), [f"x{i}" for i in range(40)]).failure()
    assert "and 20 more" in str(error)
    assert "it has none" in str(match_bands(("B4",), ()).failure())


def test_which_names_are_sentinel2s():
    assert is_sentinel2(("B2", "B8A", "swir16"))
    assert not is_sentinel2(("B2", "vv"))
    assert not is_sentinel2(("B2", "elevation"))
    assert not is_sentinel2(())


def test_a_suffix_is_taken_off_where_one_band_then_fits():
    found = ("B02_10m", "B8A_20m", "B11_20m", "B4_median")
    assert match_bands(("B4", "B8A", "B2"), found) == Success((3, 1, 0))
    assert match_bands(("B4",), ("B04_10m", "B04")) == Success((1,)), "the plain name holds"
    error = match_bands(("B5",), ("B05_20m", "B05_60m")).failure()
    assert "'B05_20m' and 'B05_60m' are both rededge1; keep one" in str(error)
    both = ("B05_20m", "B05_60m", "B4")
    assert match_bands(("B4",), both) == Success((2,)), "nobody asks which B5 it is"
    assert match_bands(("B5",), both, substitutes={"B5": "B05_60m"}) == Success((1,))


def test_landsats_numbers_are_looked_up_and_never_stripped():
    found = ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7")
    older, newer = (landsat_names(found, one) for one in (LANDSAT_4_TO_7, LANDSAT_8_TO_9))
    assert match_bands(("blue", "red", "nir08", "B12"), found, common=older) == Success(
        (0, 2, 3, 5)
    )
    assert match_bands(("blue", "red", "nir08"), found, common=newer) == Success((1, 3, 4))
    error = str(match_bands(("blue",), found, common=landsat_names(found, None)).failure())
    assert "has no band blue; it has SR_B1, SR_B2" in error
    assert "da.attrs['platform'] = 'landsat-8'" in error
    assert error == str(match_bands(("blue",), found).failure()), "the same without a platform"
    assert "platform" not in str(match_bands(("B9",), found, common=newer).failure())
