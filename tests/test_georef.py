"""Embeddings as xarray objects and files: CRS and transform as rioxarray writes and reads them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure, Success

from rs_embed import OutputSpec, PointBuffer, SpecError, get_embedding
from rs_embed.core.embedding import META_ATTR, Embedding
from rs_embed.core.grid import Grid
from rs_embed.export import files as written
from rs_embed.export.files import check_suffix, to_cog
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


def same(array: xr.DataArray, grid: Grid, values: np.ndarray) -> None:
    assert array.dtype == np.float32
    assert np.array_equal(array.values, values, equal_nan=True)
    assert array.rio.crs.to_epsg() == 32719
    assert array.rio.transform() == array.rio.transform(recalc=True) == grid.transform


class TestFiles:
    GRIDS = pytest.mark.parametrize("grid", [GRID, GRID.flip_rows()], ids=["north-up", "south-up"])

    @GRIDS
    def test_netcdf(self, tmp_path, grid):
        path = embedding(grid).save(tmp_path / "e.nc")
        with xr.open_dataarray(path, decode_coords="all") as array:
            same(array, grid, cells())
            assert array.dims == ("feature", "y", "x")
            assert array.name == "mosaiks"
            assert json.loads(array.attrs[META_ATTR])["options"] == {"seed": 0}

    @GRIDS
    def test_zarr(self, tmp_path, grid):
        path = embedding(grid).save(tmp_path / "e.zarr")
        for opened in (
            xr.open_zarr(path, decode_coords="all"),
            xr.open_dataset(path, engine="zarr", decode_coords="all"),
        ):
            with opened as ds:
                same(ds["mosaiks"], grid, cells())
                assert ds["mosaiks"].attrs["model"] == "mosaiks"

    @GRIDS
    def test_cog(self, tmp_path, grid):
        path = embedding(grid).save(tmp_path / "e.tif")
        with rioxarray.open_rasterio(path) as array:
            same(array, grid, cells())
            assert np.isnan(array.rio.nodata)
            assert json.loads(array.attrs[META_ATTR])["model"] == "mosaiks"
        import rasterio

        with rasterio.open(path) as source:
            assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"

    @GRIDS
    def test_npz(self, tmp_path, grid):
        path = embedding(grid).save(tmp_path / "e.npz")
        with np.load(path) as parts:
            assert np.array_equal(parts["embedding"], cells(), equal_nan=True)
            assert json.loads(str(parts["meta"]))["fill_value"] is None
            assert np.array_equal(parts["y"], grid.y())
            assert np.array_equal(parts["x"], grid.x())
            from pyproj import CRS

            assert CRS.from_wkt(str(parts["crs"])).to_epsg() == 32719

    @pytest.mark.parametrize("suffix", [".nc", ".zarr", ".npz"])
    def test_pooled(self, tmp_path, suffix):
        values = np.arange(3, dtype=np.float32)
        path = Embedding(values, META).save(tmp_path / f"e{suffix}")
        if suffix == ".npz":
            with np.load(path) as parts:
                assert sorted(parts.files) == ["embedding", "meta"]
                assert np.array_equal(parts["embedding"], values)
            return
        engine = {"engine": "zarr"} if suffix == ".zarr" else {}
        with xr.open_dataset(path, **engine) as ds:
            assert np.array_equal(ds["mosaiks"], values)
            assert ds["mosaiks"].dims == ("feature",)

    def test_a_real_embedding_comes_back_from_every_format(self, real, tmp_path):
        for name in ("e.nc", "e.zarr"):
            path = real.save(tmp_path / name)
            with xr.open_dataset(path, decode_coords="all") as ds:
                again = embedding_of(ds["mosaiks"].load())
            assert np.array_equal(again.data, real.data)
            assert again.data.spatial_ref.attrs == real.data.spatial_ref.attrs
            assert again.meta == real.meta
        with rioxarray.open_rasterio(real.save(tmp_path / "e.tif")) as array:
            assert np.array_equal(array.values, real.data.values)
            assert array.rio.transform() == real.data.rio.transform()

    def test_a_long_description(self, tmp_path):
        long = {**META, "dates": [[f"scene {i:05d}" for i in range(20_000)]]}
        for name in ("e.nc", "e.zarr", "e.tif", "e.npz"):
            path = Embedding(grid_array(cells(), GRID, long), long).save(tmp_path / name)
            if name == "e.nc":
                with xr.open_dataarray(path, decode_coords="all") as array:
                    assert json.loads(array.attrs[META_ATTR])["dates"] == long["dates"]

    def test_refusals(self, tmp_path):
        with pytest.raises(SpecError, match=r"\.nc, \.zarr, \.tif or \.npz, not '\.csv'"):
            embedding().save(tmp_path / "e.csv")
        with pytest.raises(SpecError, match="no suffix"):
            embedding().save(tmp_path / "e")
        with pytest.raises(SpecError, match=r"OutputSpec\.grid"):
            Embedding(np.zeros(3, np.float32), META).save(tmp_path / "e.tif")
        stack = embedding().data.expand_dims(time=2)
        assert "select one" in str(to_cog(stack, tmp_path / "e.tif").failure())
        assert list(tmp_path.iterdir()) == []
        assert isinstance(check_suffix("a.tif", pooled=False), Success)
        assert isinstance(check_suffix("a.tif", pooled=True), Failure)
        assert isinstance(check_suffix("a.NPZ", pooled=True), Success)

    def test_upper_case_and_new_folders(self, tmp_path):
        path = embedding().save(tmp_path / "new" / "folder" / "E.NPZ")
        assert path.is_file()
        assert os.listdir(path.parent) == ["E.NPZ"]


class TestAtomic:
    @pytest.mark.parametrize("name", ["e.nc", "e.zarr", "e.tif", "e.npz"])
    def test_a_failing_write_leaves_what_was_there(self, tmp_path, monkeypatch, name):
        path = embedding().save(tmp_path / name)
        before = _content(path)

        def broken(part: Path) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(written, "_to_disk", broken)
        other = Embedding(grid_array(cells() + 1, GRID, META), META)
        with pytest.raises(OSError, match="no space"):
            other.save(path)
        assert _content(path) == before
        assert os.listdir(tmp_path) == [name]
        path_2 = tmp_path / f"second{path.suffix}"
        with pytest.raises(OSError, match="no space"):
            other.save(path_2)
        assert os.listdir(tmp_path) == [name]

    @pytest.mark.parametrize("name", ["e.nc", "e.zarr", "e.tif", "e.npz"])
    def test_a_second_write_replaces_the_first(self, tmp_path, name):
        path = embedding().save(tmp_path / name)
        before = _content(path)
        Embedding(grid_array(cells() + 1, GRID, META), META).save(path)
        assert _content(path) != before
        assert os.listdir(tmp_path) == [name]


def _content(path: Path) -> dict[str, bytes]:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def test_the_schema_of_meta_is_strict_json(real: Any) -> None:
    json.dumps(real.meta, allow_nan=False)
