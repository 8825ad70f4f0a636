"""What was saved, opened again: by our own function, and plainly by xarray and rioxarray."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import rioxarray
import xarray as xr

from rs_embed import (
    OutputSpec,
    PointBuffer,
    ProviderError,
    SpecError,
    open_embedding,
    open_roi,
    sample_scene,
)  # fmt: skip
from tests.scenes import scene

PLACE = (-67.65, -47.85)
NAMES = ["e.nc", "e.zarr", "e.tif", "e.npz"]
PLAIN = {
    "e.nc": [xr.open_dataarray, lambda path: xr.open_dataset(path)["mosaiks"]],
    "e.zarr": [
        lambda path: xr.open_zarr(path)["mosaiks"],
        lambda path: xr.open_dataset(path, engine="zarr")["mosaiks"],
    ],
    "e.tif": [
        rioxarray.open_rasterio,
        lambda path: rioxarray.open_rasterio(path, masked=True),
        lambda path: xr.open_dataarray(path, engine="rasterio"),
    ],
}


@pytest.fixture(scope="module")
def grid():
    return sample_scene().rsembed.embed("mosaiks")[:40]


@pytest.fixture
def series(grid):
    days = np.array(["2022-06-01", "2022-07-15"], dtype="datetime64[ns]")
    return xr.concat([grid, grid * 2], xr.Variable("time", days)).assign_attrs(grid.attrs)


@pytest.mark.parametrize("name", NAMES)
def test_an_embedding_comes_back_as_it_was(grid, tmp_path, name):
    back = open_embedding(grid.rsembed.save(tmp_path / name))
    xr.testing.assert_equal(back, grid)
    assert (back.name, back.attrs) == (grid.name, grid.attrs)
    assert back.dtype == np.float32
    assert back.rsembed.grid == grid.rsembed.grid
    assert back.rio.transform() == back.rio.transform(recalc=True) == grid.rio.transform()
    again = open_embedding(back.rsembed.save(tmp_path / f"again{name[1:]}"))
    xr.testing.assert_equal(again, grid)


@pytest.mark.parametrize("name", ["e.nc", "e.zarr", "e.npz"])
def test_dates_come_back(series, tmp_path, name):
    back = open_embedding(series.rsembed.save(tmp_path / name))
    assert back.dims == ("time", "feature", "y", "x")
    xr.testing.assert_equal(back, series)
    one = open_embedding(series[1].rsembed.save(tmp_path / f"one{name[1:]}"))
    assert one["time"].values == series["time"].values[1]


def test_a_cog_tells_the_date_of_its_entry(series, tmp_path):
    back = open_embedding(series[1].rsembed.save(tmp_path / "e.tif"))
    assert back["time"].values == series["time"].values[1]


@pytest.mark.parametrize("name", ["e.nc", "e.zarr", "e.npz"])
def test_vectors_come_back(tmp_path, name):
    pooled = scene(16, 16).rsembed.embed("mosaiks", output=OutputSpec.pooled())
    back = open_embedding(pooled.rsembed.save(tmp_path / name))
    xr.testing.assert_identical(back, pooled)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_features_come_back(grid, tmp_path, name):
    named = grid[:3].assign_coords(feature=["A00", "A01", "A02"])
    back = open_embedding(named.rsembed.save(tmp_path / name))
    assert back["feature"].values.tolist() == ["A00", "A01", "A02"]


@pytest.mark.parametrize(("name", "way"), [(n, i) for n in PLAIN for i in range(len(PLAIN[n]))])
def test_what_xarray_opens_plainly_is_an_embedding(grid, tmp_path, name, way):
    from matplotlib import pyplot as plt

    with PLAIN[name][way](grid.rsembed.save(tmp_path / name)) as back:
        assert back.rio.crs == grid.rio.crs
        np.testing.assert_allclose(
            back.rsembed.similarity(PLACE), grid.rsembed.similarity(PLACE), atol=1e-6
        )
        np.testing.assert_array_equal(back.rsembed.sample([PLACE]), grid.rsembed.sample([PLACE]))
        np.testing.assert_allclose(back.rsembed.pca(2), grid.rsembed.pca(2), atol=1e-5)
        np.testing.assert_array_equal(back.rsembed.kmeans(3), grid.rsembed.kmeans(3))
        if name != "e.tif":
            assert back.name == "mosaiks"
        try:
            assert "mosaiks" in back.rsembed.plot().get_title()
        finally:
            plt.close("all")


def test_a_selection_of_a_reopened_cog_keeps_its_names(grid, tmp_path):
    named = grid[:3].assign_coords(feature=["A00", "A01", "A02"])
    with rioxarray.open_rasterio(named.rsembed.save(tmp_path / "e.tif")) as back:
        found = back.isel(band=[2, 0]).rsembed.sample([PLACE])
    assert found["feature"].values.tolist() == ["A02", "A00"]


def test_cells_chosen_before_saving_lie_where_they_are(grid, tmp_path):
    """A stored transform that no longer fits is written anew."""
    part = grid[:, 3:, ::2]
    for name in NAMES:
        back = open_embedding(part.rsembed.save(tmp_path / name))
        assert back.rio.transform() == back.rio.transform(recalc=True)
        np.testing.assert_array_equal(back.x, part.x)
        np.testing.assert_array_equal(back.y, part.y)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_told(grid, tmp_path, name):
    path = grid.rsembed.save(tmp_path / name)
    if path.is_dir():
        chunk = next(p for p in sorted((path / "mosaiks").iterdir()) if p.name[0] != ".")
        chunk.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ProviderError, match=rf"{name}.*is damaged"):
        open_embedding(path)


def test_a_flipped_byte_of_an_npz_is_told(grid, tmp_path):
    path = grid.rsembed.save(tmp_path / "e.npz")
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 3] ^= 255
    path.write_bytes(broken)
    with pytest.raises(ProviderError, match="is damaged"):
        open_embedding(path)


@pytest.mark.parametrize("name", NAMES)
def test_files_of_others_are_told(tmp_path, name):
    path, pixels = tmp_path / name, scene(16, 16)
    if name == "e.npz":
        np.savez(path, embedding=np.zeros(3), meta=np.array("{}"))
        with zipfile.ZipFile(path) as archive:
            assert not archive.comment
    elif name == "e.tif":
        pixels.rio.to_raster(path)
    elif name == "e.zarr":
        pixels.to_dataset(name="pixels").to_zarr(path, zarr_format=2)
    else:
        pixels.to_dataset(name="pixels").to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SpecError, match="no embedding that rs_embed wrote"):
        open_embedding(path)


def test_what_is_no_file(tmp_path):
    for name in NAMES:
        with pytest.raises(ProviderError, match="there is no file"):
            open_embedding(tmp_path / name)
        if name != "e.zarr":
            (tmp_path / name).write_text("words")
            with pytest.raises(ProviderError, match="is damaged, or is not what"):
                open_embedding(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SpecError, match="no embedding that"):
        open_embedding(tmp_path / "folder")
    with pytest.raises(SpecError, match="is no embedding"):
        open_embedding(tmp_path / "e.csv")


def test_a_region_written_by_rioxarray_keeps_the_names_of_its_bands(tmp_path):
    import rasterio

    place = PointBuffer(-67.645, -47.852, buffer_m=160)
    pixels = open_roi(place, None, "mosaiks", backend="sample")
    pixels.rio.to_raster(tmp_path / "roi.tif")
    with rasterio.open(tmp_path / "roi.tif") as source:
        assert source.descriptions == tuple(pixels["band"].values.tolist())


def test_an_embedding_knows_the_file_of_its_pixels(tmp_path):
    path = tmp_path / "scene.tif"
    scene(16, 16).rio.to_raster(path)
    before = path.read_bytes()
    with rioxarray.open_rasterio(path) as pixels:
        bands = scene(16, 16)["band"].values.tolist()
        found = pixels.rsembed.embed("mosaiks", bands=bands, units="reflectance_x10000")
    with pytest.raises(SpecError, match="is the input"):
        found.rsembed.save(path, overwrite=True)
    assert path.read_bytes() == before
