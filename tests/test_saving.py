"""Embeddings as files: what is written, and what is never lost by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from returns.result import Failure, Success

from rs_embed import OutputSpec, PointBuffer, ProviderError, SpecError, get_embedding
from rs_embed.core.embedding import META_ATTR, Embedding
from rs_embed.core.grid import Grid
from rs_embed.export import targets
from rs_embed.export.files import save, to_cog
from rs_embed.export.targets import check_suffix
from rs_embed.raster.embedding_array import embedding_of, grid_array
from tests.scenes import scene

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


class TestNothingIsLost:
    """By whatever path, an input or another's file stays what it is."""

    @EVERY
    @pytest.mark.parametrize("way", ["same", "relative", "link", "hard link", "home", "below"])
    def test_an_input_is_never_written_over(self, tmp_path, monkeypatch, name, way):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        source = embedding().save(tmp_path / name)
        before = content(source)
        other = tmp_path / f"other{source.suffix}"
        path = {"same": source, "relative": f"./{name}", "home": f"~/{name}"}.get(way, other)
        if way == "link":
            other.symlink_to(source)
        elif way == "hard link":
            if source.is_dir():
                pytest.skip("a folder has one name")
            os.link(source, other)
        elif way == "below":
            if not source.is_dir():
                pytest.skip("a file holds no files")
            path = source / "mosaiks" / "e.zarr"
        failed = save(embedding(add=1).data, path, overwrite=True, sources=[name])
        assert isinstance(failed.failure(), SpecError)
        assert "input" in str(failed.failure())
        assert content(source) == before

    def test_a_store_around_an_input_is_not_replaced(self, tmp_path):
        store = embedding().save(tmp_path / "e.zarr")
        failed = save(embedding().data, store, sources=[store / "mosaiks"])
        assert "holds the input" in str(failed.failure())

    def test_globs_and_names_of_gdal_are_inputs(self, tmp_path):
        source = embedding().save(tmp_path / "e[1].nc")
        for named in (str(source), str(tmp_path / "e*.nc"), f'NETCDF:"{source}":mosaiks'):
            failed = save(embedding().data, source, overwrite=True, sources=[named])
            assert "input" in str(failed.failure()), named

    def test_an_array_knows_what_it_was_read_from(self, tmp_path):
        path = embedding().save(tmp_path / "e.nc")
        with xr.open_dataarray(path) as array, pytest.raises(SpecError, match="is the input"):
            array.rsembed.save(path, overwrite=True)

    @EVERY
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_is_not_replaced(self, tmp_path, name, overwrite):
        mine = tmp_path / name / "labels" / "mine.csv"
        mine.parent.mkdir(parents=True)
        mine.write_text("a year of work")
        with pytest.raises(SpecError, match="is a folder and is not replaced"):
            embedding().save(tmp_path / name, overwrite=overwrite)
        assert mine.read_text() == "a year of work"
        assert os.listdir(tmp_path) == [name]

    @pytest.mark.parametrize("place", ["notes.txt", "mosaiks/notes.txt", "mine/0.0.0"])
    def test_a_store_of_ours_with_a_file_of_theirs_is_not_replaced(self, tmp_path, place):
        store = embedding().save(tmp_path / "e.zarr")
        (store / place).parent.mkdir(exist_ok=True)
        (store / place).write_text("mine")
        with pytest.raises(SpecError, match="no part of an embedding"):
            embedding(add=1).save(store, overwrite=True)
        assert (store / place).read_text() == "mine"

    def test_a_variable_of_theirs_in_a_file_of_ours_is_kept(self, tmp_path):
        mine = xr.Dataset({"mine": ("n", np.arange(3.0))})
        for path in (embedding().save(tmp_path / name) for name in ("e.zarr", "e.nc")):
            if path.suffix == ".nc":
                mine.to_netcdf(path, mode="a", engine="h5netcdf")
            else:
                mine.to_zarr(path, mode="a", zarr_format=2)
            with pytest.raises(SpecError, match="mine"):
                embedding(add=1).save(path)

    @EVERY
    def test_a_file_of_theirs_asks_for_overwrite(self, tmp_path, name):
        path = tmp_path / name
        path.write_text("a year of work")
        if name == "e.zarr":
            with pytest.raises(SpecError, match="Zarr is a folder"):
                embedding().save(path, overwrite=True)
            return
        with pytest.raises(SpecError, match="overwrite=True"):
            embedding().save(path)
        assert path.read_text() == "a year of work"
        embedding().save(path, overwrite=True)
        embedding(add=1).save(path)  # now it is ours

    def test_imagery_asks_for_overwrite(self, tmp_path):
        path, store = tmp_path / "scene.tif", tmp_path / "scene.zarr"
        scene(16, 16).rio.to_raster(path)
        scene(16, 16).to_dataset(name="pixels").to_zarr(store, zarr_format=2)
        np.savez(tmp_path / "x.npz", embedding=np.zeros(3), meta=np.array("{}"))
        for one in (path, tmp_path / "x.npz"):
            before = content(one)
            with pytest.raises(SpecError, match="overwrite=True"):
                embedding().save(one)
            assert content(one) == before
        with pytest.raises(SpecError, match="no embedding of ours"):
            embedding().save(store, overwrite=True)

    def test_a_link_is_written_through(self, tmp_path):
        real = tmp_path / "real.nc"
        (tmp_path / "e.nc").symlink_to(real)
        embedding().save(tmp_path / "e.nc")
        assert (tmp_path / "e.nc").is_symlink()
        assert real.is_file()

    def test_what_is_read_only_stays(self, tmp_path):
        path = embedding().save(tmp_path / "e.nc")
        path.chmod(0o444)
        with pytest.raises(SpecError, match="read-only"):
            embedding(add=1).save(path, overwrite=True)

    def test_places_that_cannot_be_written(self, tmp_path):
        (tmp_path / "afile").write_text("x")
        (tmp_path / "loop.nc").symlink_to(tmp_path / "loop.nc")
        os.mkfifo(tmp_path / "pipe.nc")
        for path, told in {
            tmp_path / "afile" / "e.nc": "is a file",
            tmp_path / "loop.nc": "loop.nc",
            tmp_path / "pipe.nc": "device or pipe",
            tmp_path / ("n" * 300 + ".nc"): "cannot be written",
            "s3://bucket/e.zarr": "is a URL",
            "~nobody-of-this-name/e.nc": "home folder",
            " ": "is no path",
            3: "not int",
        }.items():
            with pytest.raises(SpecError, match=told):
                embedding().save(path)  # type: ignore[arg-type]

    def test_a_disk_without_room_is_told_before(self, tmp_path, monkeypatch):
        def full(path):
            return os.terminal_size((0, 0)) and type("Usage", (), {"free": 10})

        monkeypatch.setattr(targets.shutil, "disk_usage", full)
        for name in ("e.nc", "e.npz", "e.tif"):
            with pytest.raises(SpecError, match="on another disk"):
                embedding().save(tmp_path / name)
        assert os.listdir(tmp_path) == []


class TestAtomic:
    @EVERY
    def test_a_failing_write_leaves_what_was_there(self, tmp_path, monkeypatch, name):
        path = embedding().save(tmp_path / name)
        before = content(path)

        def broken(part: Path) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(targets, "_to_disk", broken)
        for one in (path, tmp_path / f"second{path.suffix}"):
            with pytest.raises(ProviderError, match=r"no space.*as it was"):
                embedding(add=1).save(one)
            assert content(path) == before
            assert os.listdir(tmp_path) == [name]

    @EVERY
    def test_a_file_that_may_not_grow(self, tmp_path, name):
        """The limit of a process on the size of its files stands for a disk that is full."""
        path = embedding().save(tmp_path / name)
        before = content(path)
        code = (
            "import resource, sys, numpy as np, rs_embed\n"
            "from tests.test_saving import GRID, grid_array\n"
            "values = np.random.default_rng(0).random((8, 300, 300), dtype='float32')\n"
            "array = grid_array(values, GRID.window(0, 0, 300, 300), {'model': 'mosaiks'})\n"
            "import rioxarray, zarr, h5netcdf\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
            "try:\n"
            "    array.rsembed.save(sys.argv[1])\n"
            "except rs_embed.ProviderError as error:\n"
            "    print('told', error)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert done.stdout.startswith("told"), done.stderr
        assert content(path) == before
        assert os.listdir(tmp_path) == [name]

    @EVERY
    def test_a_second_write_replaces_the_first(self, tmp_path, name):
        path = embedding().save(tmp_path / name)
        before = content(path)
        embedding(add=1).save(path)
        assert content(path) != before
        assert os.listdir(tmp_path) == [name]

    def test_a_store_steps_back_where_the_new_one_gets_no_name(self, tmp_path, monkeypatch):
        path = embedding().save(tmp_path / "e.zarr")
        before, replace = content(path), os.replace

        def failing(one, other):
            if Path(other) == path and Path(one).name != "before":
                raise OSError("refused")
            replace(one, other)

        monkeypatch.setattr(targets.os, "replace", failing)
        with pytest.raises(ProviderError, match="refused"):
            embedding(add=1).save(path)
        assert content(path) == before


def test_a_cog_is_written_in_bounded_memory(tmp_path):
    """Beside a grid of 128 MB, what tiles and GDAL's cache take: far below one more grid."""
    code = (
        "import resource, sys, numpy as np, rs_embed, rioxarray\n"
        "from tests.test_saving import GRID, grid_array\n"
        "values = np.ones((32, 1000, 1000), dtype='float32')\n"
        "values[0] = np.arange(1000)\n"
        "array = grid_array(values, GRID.window(0, 0, 1000, 1000), {'model': 'mosaiks'})\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "array.rsembed.save(sys.argv[1])\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print((after - before) * 1024 / values.nbytes)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "e.tif")], capture_output=True, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert float(done.stdout) < 0.6, done.stderr
    import rasterio

    with rasterio.open(tmp_path / "e.tif") as source:
        assert source.overviews(1) == [2]
        smaller = source.read(1, out_shape=(500, 500))
        np.testing.assert_array_equal(smaller[0], np.arange(500) * 2 + 0.5)


def test_a_cog_of_chunks_is_the_whole(tmp_path):
    lazy = embedding().data.chunk({"feature": 2, "y": 3, "x": 2})
    with rioxarray.open_rasterio(lazy.rsembed.to_cog(tmp_path / "e.tif")) as back:
        np.testing.assert_array_equal(back, cells())


def test_the_options_of_a_cog_allow_large_files(tmp_path, monkeypatch):
    import rasterio
    from rasterio import shutil as copying

    seen = []
    for place, name in ((rasterio, "open"), (copying, "copy")):
        plain = getattr(place, name)

        def noting(*args, plain=plain, **kwargs):
            seen.append(kwargs.get("bigtiff"))
            return plain(*args, **kwargs)

        monkeypatch.setattr(place, name, noting)
    embedding().save(tmp_path / "e.tif")
    assert seen == ["IF_SAFER", "IF_SAFER"]
