"""Embeddings as files: what is written, and what is never lost by it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from returns.result import Failure, Success

from rs_embed import OutputSpec, PointBuffer, SpecError, get_embedding
from rs_embed.core.embedding import META_ATTR, Embedding
from rs_embed.core.grid import Grid
from rs_embed.export.files import to_cog
from rs_embed.export.targets import check_suffix
from rs_embed.raster.embedding_array import embedding_of, grid_array

GRID = Grid("EPSG:32719", Affine(80.0, 0, 600000, 0, -80.0, 4700020), (4, 5))
META = {
    "model": "mosaiks", "variant": "512", "dim": 3, "options": {"seed": 0}, "temporal": None,
    "valid_fraction": 1.0, "fill_value": float("nan"), "flag": True, "dates": [["2022-06-01"]],
}  # fmt: skip
NAMES = ["e.nc", "e.zarr", "e.tif", "e.npz"]
EVERY = pytest.mark.parametrize("name", NAMES)


def cells(grid: Grid = GRID) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(3, *grid.shape)).astype(np.float32)
    values[:, 1, 2] = np.nan
    return values


def embedding(grid: Grid = GRID, add: float = 0) -> Embedding:
    return Embedding(grid_array(cells(grid) + np.float32(add), grid, META), META)


def content(path: Path) -> dict[str, bytes]:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def real() -> Embedding:
    place = PointBuffer(-67.645, -47.850, 320)
    return get_embedding("mosaiks", spatial=place, backend="sample", output=OutputSpec.grid())


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
