"""Arrays that are computed on demand: read part by part, the same numbers as in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_embed import register_model
from tests.scenes import as_dataset, scene
from tests.toys import toy

ROOT = Path(__file__).parents[1]
RGB = ("B4", "B3", "B2")


@pytest.fixture(scope="module", autouse=True)
def models():
    register_model(toy("lazy_toy", window_px=16, token_px=4))


def test_a_whole_tile_is_never_held():
    """10,980 x 10,980 x 6 of uint16, 1.4 GB, 2.9 GB as float32: a third of the former suffices."""
    command = [sys.executable, "-W", "error", "-m", "tests.peak", "10980"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["shape"] == [6, 686, 686]
    assert told["error"] < 1e-6
    assert told["looked"] == 0  # check and tiles compute nothing
    assert told["computed"] == told["chunks"] == 6 * 11 * 11
    assert told["twice"] == 0
    assert told["grown"] < told["array_bytes"] / 3


def test_a_series_is_put_together_in_its_place():
    """The cells of all dates and the result, 510 MB, are never held side by side."""
    command = [sys.executable, "-W", "error", "-m", "tests.series_peak"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["shape"] == [12, 512, 144, 144]
    assert told["error"] < 1e-4
    assert told["grown"] < 1.2 * told["output_bytes"]


@settings(max_examples=20)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.integers(1, 30), min_size=2, max_size=2),
    st.sampled_from([0, 2]),
)
def test_lazy_equals_eager(height, width, chunks, overlap):
    array = scene(height, width, bands=RGB)
    array[:, : height // 3, : width // 3] = np.nan
    lazy = array.chunk({"band": 2, "y": chunks[0], "x": chunks[1]})
    xr.testing.assert_identical(
        lazy.rsembed.embed("lazy_toy", overlap=overlap),
        array.rsembed.embed("lazy_toy", overlap=overlap),
    )


@pytest.mark.parametrize("time", ["each", "composite"])
def test_lazy_dates(time):
    array = scene(20, 30, bands=RGB, times=["2022-06-01", "2022-06-11", "2022-06-21"])
    lazy = array.chunk({"time": 1, "y": 16, "x": 16})
    wanted = array.rsembed.embed("lazy_toy", time=time)
    xr.testing.assert_identical(lazy.rsembed.embed("lazy_toy", time=time), wanted)
    xr.testing.assert_identical(as_dataset(lazy).rsembed.embed("lazy_toy", time=time), wanted)


def test_one_date_at_a_time_is_read():
    """Of the dates that temporal leaves out, nothing is computed; each other chunk is, once."""
    from rs_embed import TemporalSpec

    array = scene(64, 64, bands=RGB, times=["2022-06-01", "2022-06-11", "2022-07-21"])
    seen: list[int] = []

    def noted(values, block_info=None):
        seen.append(block_info[0]["chunk-location"][0])
        return values

    data = array.chunk({"time": 1, "y": 32, "x": 32}).data
    lazy = array.copy(data=data.map_blocks(noted, dtype=data.dtype, meta=data._meta))
    lazy.rsembed.embed("lazy_toy", temporal=TemporalSpec.range("2022-06-01", "2022-07-01"))
    assert sorted(set(seen)) == [0, 1]
    assert seen == sorted(seen)
    assert len(seen) == 2 * 4


def test_a_file_is_read_lazily(tmp_path):
    import rioxarray

    array = scene(70, 100, dtype="uint16")
    array.rio.to_raster(tmp_path / "scene.tif")
    with rioxarray.open_rasterio(tmp_path / "scene.tif") as opened:
        found = opened.rsembed.embed(
            "mosaiks", bands=tuple(array.band.values), units="reflectance_x10000"
        )
        assert not isinstance(opened.variable._data, np.ndarray)  # still not in memory
    np.testing.assert_array_equal(found, array.rsembed.embed("mosaiks"))
    assert found.rio.transform() == array.rsembed.embed("mosaiks").rio.transform()
