"""Arrays opened by xee are embedded like any other."""

from __future__ import annotations

import warnings

import ee
import numpy as np
import pytest

from rs_embed import OutputSpec, PointBuffer, SpecError, TemporalSpec, get_embedding, open_roi
from tests.earth_engine import Server
from tests.gee.plans import JUNE, S2

xr = pytest.importorskip("xarray")
pytest.importorskip("xee")

PLACE = PointBuffer(3.6, 41.0, 320)
BANDS = ["B2", "B3", "B4", "B8", "B11", "B12"]


def opened():
    """June's clear scenes over the grid of `PLACE`, dates along time."""
    grid = open_roi(PLACE, TemporalSpec.range(*JUNE), "mosaiks").rsembed.grid
    scenes = (
        ee.ImageCollection(S2)
        .filterBounds(ee.Geometry.Point([3.6, 41.0]))
        .filterDate(*JUNE)
        .filter(ee.Filter.lte("CLOUDY_PIXEL_PERCENTAGE", 30))
        .select(BANDS)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xee's own
        return xr.open_dataset(
            scenes, engine="ee", crs=grid.crs, crs_transform=tuple(grid.transform)[:6],
            shape_2d=(grid.width, grid.height),
        )  # fmt: skip


def test_a_median_of_xee_is_our_composite(server: Server) -> None:
    ours = get_embedding(
        "mosaiks", spatial=PLACE, temporal=TemporalSpec.range(*JUNE), output=OutputSpec.grid()
    )
    dataset = opened()
    assert dict(dataset.sizes) == {"time": 3, "y": 64, "x": 64}
    composite = dataset.median("time", keep_attrs=True)
    theirs = composite.rsembed.embed("mosaiks", units="reflectance_x10000")
    assert np.allclose(ours.data, theirs, rtol=1e-5)
    assert np.allclose(ours.data.x, theirs.x)
    assert np.allclose(ours.data.y, theirs.y)


def test_each_date_of_xee_by_itself(server: Server) -> None:
    each = opened().rsembed.embed("mosaiks", units="reflectance_x10000")
    assert each.dims == ("time", "feature", "y", "x")
    alone = get_embedding(
        "mosaiks", spatial=PLACE, temporal=TemporalSpec.range("2022-06-11", "2022-06-12"),
        output=OutputSpec.grid(),
    )  # fmt: skip
    assert np.allclose(each.isel(time=1), alone.data, rtol=1e-5)


def test_units_have_to_be_said(server: Server) -> None:
    with pytest.raises(SpecError, match="units"):
        opened().median("time", keep_attrs=True).rsembed.embed("mosaiks")
