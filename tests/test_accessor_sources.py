"""The same pixels in the forms in which the libraries of the field give them: one embedding.

The libraries themselves are read in test_reading_libraries; here are their forms, by hand.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine

from tests.scenes import S2, as_dataset, scene

DAYS = ["2022-06-01", "2022-06-11"]


@pytest.fixture(scope="module")
def series():
    return scene(40, 56, times=DAYS, dtype="uint16")


@pytest.fixture(scope="module")
def wanted(series):
    return series.rsembed.embed("mosaiks")


def bare(series, **attrs):
    """Values and band names without a CRS."""
    array = series.drop_vars("spatial_ref").drop_attrs()
    array.encoding = {}
    return array.assign_attrs(attrs)


def at_corners(array):
    return array.assign_coords(x=array.x - 5, y=array.y + 5)


def stackstac(series):
    array = at_corners(bare(series, crs="epsg:32631", resolution=10.0))
    array.attrs["transform"] = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    array = array.assign_coords(epsg=32631, title=("band", [f"band {b}" for b in S2]))
    return array.astype("float64"), {"units": "reflectance_x10000"}


def cubo(series):
    array = at_corners(bare(series, epsg=32631, resolution=10, central_lat=45.1, central_lon=3.0))
    array.attrs.update(collection="sentinel-2-l2a", stac="https://example.org", edge_size=40)
    return array.astype("float64").rename("sentinel-2-l2a"), {"units": "reflectance_x10000"}


def xee(series):
    dataset = as_dataset(bare(series)).astype("float32")
    for name, band in dataset.data_vars.items():
        band.attrs = {"id": name, "crs": "EPSG:32631", "crs_transform": (10, 0, 0, 0, -10, 0)}
        band.attrs |= {"data_type": "{}", "dimensions": [10980, 10980]}
        band.encoding["scale_factor"] = 10
    return dataset, {"units": "reflectance_x10000"}


def odc(series):
    dataset = as_dataset(bare(series))
    crs = series.spatial_ref.attrs
    dataset = dataset.assign_coords(spatial_ref=xr.Variable((), 32631, crs))
    names = dict(zip(S2, ("blue", "green", "red", "nir", "swir16", "swir22"), strict=True))
    for band in dataset.data_vars.values():
        band.attrs = {"nodata": 0, "units": "1"}
        band.encoding["grid_mapping"] = "spatial_ref"
    # Common names are those of other satellites too, so the units are said.
    return dataset.rename(names), {"units": "reflectance_x10000"}


def rioxarray_one_date(series):
    array = series.isel(time=0, drop=True)
    array = array.assign_coords(band=np.arange(1, 7)).drop_attrs(deep=False)
    return array.assign_attrs(long_name=S2, scale_factor=1.0, add_offset=0.0), {}


def renamed(series):
    array = bare(series, epsg=32631).rename(y="northing", x="easting", time="date")
    return array, {"units": "reflectance_x10000"}


FORMS = [stackstac, cubo, xee, odc, rioxarray_one_date, renamed]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore:16-bit integers with Sentinel-2 band names")
def test_every_form_gives_the_same_embedding(series, wanted, form):
    obj, keywords = form(series)
    assert obj.rsembed.check("mosaiks", **keywords).ok
    found = obj.rsembed.embed("mosaiks", **keywords)
    expected = wanted if "time" in found.dims else wanted.isel(time=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.x, wanted.x)
    np.testing.assert_array_equal(found.y, wanted.y)
    assert found.rio.crs == wanted.rio.crs
    assert found.rio.transform() == found.rio.transform(recalc=True) == wanted.rio.transform()
