"""Embeddings as xarray objects and files: CRS and transform as rioxarray writes and reads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from rs_embed import OutputSpec, PointBuffer, get_embedding
from rs_embed.core.embedding import META_ATTR, Embedding
from rs_embed.core.grid import Grid
from rs_embed.raster.dims import identify_dims
from rs_embed.raster.embedding_array import embedding_of, grid_array
from rs_embed.raster.georeference import georeference

GRID = Grid("EPSG:32719", Affine(80.0, 0, 600000, 0, -80.0, 4700020), (4, 5))
META = {
    "model": "mosaiks", "variant": "512", "dim": 3, "options": {"seed": 0}, "temporal": None,
    "valid_fraction": 1.0, "fill_value": float("nan"), "flag": True, "dates": [["2022-06-01"]],
}  # fmt: skip


def cells(grid: Grid = GRID) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(3, *grid.shape)).astype(np.float32)
    values[:, 1, 2] = np.nan
    return values


def embedding(grid: Grid = GRID) -> Embedding:
    return Embedding(grid_array(cells(grid), grid, META), META)


@pytest.fixture(scope="module")
def real() -> Embedding:
    place = PointBuffer(-67.645, -47.850, 320)
    return get_embedding("mosaiks", spatial=place, backend="sample", output=OutputSpec.grid())


class TestGeoreference:
    @pytest.mark.parametrize(
        "crs", ["EPSG:32719", "EPSG:32631", "EPSG:32661", "EPSG:32761", "EPSG:3857", "EPSG:4326"]
    )
    def test_it_is_what_rioxarray_writes(self, crs):
        step = 0.125 if crs == "EPSG:4326" else 80.0
        grid = Grid(crs, Affine(step, 0, 8, 0, -step, 40), (4, 5))
        ours = grid_array(cells(), grid, META)
        plain = xr.DataArray(
            cells(), dims=ours.dims, coords={"y": grid.y(), "x": grid.x()}, name=ours.name
        )
        theirs = (
            plain.rio.write_crs(crs)
            .rio.write_transform(grid.transform)
            .rio.write_coordinate_system()
        )
        for name in ("spatial_ref", "x", "y"):
            assert ours[name].identical(theirs[name]), name
        assert ours.encoding == theirs.encoding
        assert ours.rio.crs == theirs.rio.crs

    @given(
        left=st.integers(-10**6, 10**6), top=st.integers(-10**7, 10**7),
        step=st.integers(1, 10_000), rows=st.integers(2, 40), cols=st.integers(2, 40),
        north_up=st.booleans(),
    )  # fmt: skip
    def test_stored_and_recomputed_transforms_agree(self, left, top, step, rows, cols, north_up):
        down = -step if north_up else step
        grid = Grid("EPSG:32719", Affine(step, 0, left, 0, down, top), (rows, cols))
        array = grid_array(np.zeros((1, rows, cols), np.float32), grid, META)
        assert array.rio.transform() == array.rio.transform(recalc=True) == grid.transform
        assert array.rio.bounds() == grid.bounds

    def test_a_custom_projection(self):
        crs = "+proj=laea +lat_0=-48 +lon_0=-67 +datum=WGS84 +units=m"
        grid = Grid(crs, GRID.transform, GRID.shape)
        array = grid_array(cells(), grid, META)
        assert array.rio.crs.to_dict()["lat_0"] == -48

    def test_a_real_embedding_lies_on_its_cells(self, real):
        assert real.data.rio.transform() == real.data.rio.transform(recalc=True)
        assert real.data.rio.crs.to_epsg() == 32719
        assert real.data.rio.transform().a == real.meta["cell_m"]

    def test_our_own_reader_finds_it(self, real):
        layout = identify_dims(real.data.isel(feature=0, drop=True)).unwrap()
        placed = georeference(layout, None).unwrap()
        assert placed.grid.transform == real.data.rio.transform()
        assert placed.notes == {}


class TestXarray:
    def test_attributes_are_flat(self, real):
        for array in (embedding().data, real.data, real.to_xarray()):
            assert all(type(v) in (str, int, float) for v in array.attrs.values())
            assert array.name == "mosaiks"
            assert array.attrs["units"] == "1"
            assert "feature" not in array.coords
        told = json.loads(real.data.attrs[META_ATTR])
        assert told == real.meta

    def test_pooled(self):
        pooled = Embedding(np.arange(3, dtype=np.float32), META).to_xarray()
        assert pooled.dims == ("feature",)
        assert pooled.attrs["model"] == "mosaiks"
        assert "spatial_ref" not in pooled.coords

    def test_and_back(self, real):
        again = embedding_of(real.to_xarray())
        assert again.data is real.data
        assert again.meta == real.meta
        pooled = Embedding(np.arange(3, dtype=np.float32), {"model": "m"})
        again = embedding_of(pooled.to_xarray())
        assert isinstance(again.data, np.ndarray)
        assert again.meta == pooled.meta

    def test_numbers_that_json_has_no_words_for(self):
        assert json.loads(embedding().data.attrs[META_ATTR])["fill_value"] is None


def test_the_schema_of_meta_is_strict_json(real: Any) -> None:
    json.dumps(real.meta, allow_nan=False)
