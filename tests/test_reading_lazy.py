"""Lazy arrays: the part that is asked for is read, a chunk once, memory bounded."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from rs_embed.core.grid import Grid
from rs_embed.core.result import unwrap_or_raise
from rs_embed.raster import read_xarray
from rs_embed.raster.raster import Raster
from tests.strategies import around

LEFT, TOP = 600000.0, 4700020.0


def wrap(data: object, bands: list[str], **coords: object) -> xr.DataArray:
    *_, height, width = data.shape
    dims = ("time", "band", "y", "x")[-data.ndim :]
    return xr.DataArray(
        data,
        dims=dims,
        coords={
            "band": bands,
            "y": TOP - 10 * (np.arange(height) + 0.5),
            "x": LEFT + 10 * (np.arange(width) + 0.5),
            **coords,
        },
        attrs={"crs": "EPSG:32719", "units": "reflectance"},
    )


def read(array: xr.DataArray) -> Raster:
    return unwrap_or_raise(read_xarray(array))


def counted(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[da.Array, Counter]:
    """A dask array of running numbers that counts how often each chunk is computed."""
    computed: Counter = Counter()
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)

    def note(block, block_info=None):
        computed[tuple(block_info[0]["chunk-location"])] += 1
        return block

    source = da.from_array(numbers, chunks=chunks)
    return source.map_blocks(
        note, dtype=np.float32, meta=np.empty((0,) * len(shape), "f4")
    ), computed


def test_each_chunk_is_computed_once_window_by_window():
    data, computed = counted((3, 1000, 1100), (3, 300, 270))
    raster = read(wrap(data, ["B2", "B3", "B4"]))
    assert not computed
    for row in range(0, 1000 - 64, 64):
        for col in range(0, 1100 - 64, 64):
            raster.load(row, col, 64, 64)
    assert len(computed) == 4 * 5
    assert set(computed.values()) == {1}


def test_a_part_computes_only_the_chunks_it_touches():
    data, computed = counted((2, 1000, 1000), (2, 300, 300))
    raster = read(wrap(data, ["B2", "B3"]))
    raster.load(310, 620, 20, 30)
    assert dict(computed) == {(0, 1, 2): 1}


def test_only_the_bands_and_dates_that_are_asked_for_are_computed():
    days = np.array(["2022-06-01", "2022-06-11", "2022-06-21"], "M8[ns]")
    data, computed = counted((3, 2, 300, 300), (1, 1, 300, 300))
    raster = read(wrap(data, ["B2", "B3"], time=days))
    picked = raster.only([1], [2, 0])
    assert picked.intervals == (raster.intervals[2], raster.intervals[0])
    part = picked.only([0, 0], [1]).load(5, 6, 2, 2)
    assert part.shape == (1, 2, 2, 2)
    assert np.array_equal(part[0, 0], data[0, 1, 5:7, 6:8].compute())
    assert {(0, 1, 0, 0)} == set(computed)


@given(
    height=st.integers(1, 400), width=st.integers(1, 400), cy=st.integers(1, 400),
    cx=st.integers(1, 400), flip=st.booleans(), data=st.data(),
)  # fmt: skip
def test_any_part_of_any_chunking_equals_the_array_in_memory(height, width, cy, cx, flip, data):
    numbers = np.arange(2 * height * width, dtype=np.int32).reshape(2, height, width)
    array = wrap(numbers, ["B2", "B3"])
    # A single row or column has no spacing of its own.
    array.attrs["resolution"] = 10
    if flip and height > 1:
        array = array.isel(y=slice(None, None, -1))
    lazy = read(array.chunk(y=cy, x=cx))
    eager = read(array)
    for _ in range(3):
        row = data.draw(st.integers(0, height - 1))
        col = data.draw(st.integers(0, width - 1))
        rows = data.draw(st.integers(1, height - row))
        cols = data.draw(st.integers(1, width - col))
        part = eager.load(row, col, rows, cols)
        assert np.array_equal(lazy.load(row, col, rows, cols), part)
        assert lazy.grid == eager.grid


def test_a_dataset_of_dask_variables_keeps_their_chunks_apart():
    first, once = counted((500, 500), (250, 250))
    second, twice = counted((500, 500), (500, 125))
    ds = xr.Dataset(
        {
            name: xr.DataArray(
                values,
                dims=("y", "x"),
                coords={
                    "y": TOP - 10 * (np.arange(500) + 0.5),
                    "x": LEFT + 10 * (np.arange(500) + 0.5),
                },
                attrs={"units": "reflectance", "crs": "EPSG:32719"},
            )
            for name, values in (("B2", first), ("B3", second))
        }
    )
    raster = unwrap_or_raise(read_xarray(ds))
    for row in range(0, 500, 50):
        loaded = np.concatenate([raster.load(row, c, 50, 50) for c in range(0, 500, 50)], axis=-1)
        expected = np.arange(250000, dtype=np.float32).reshape(500, 500)[row : row + 50]
        assert np.array_equal(loaded[0, 0], expected)
        assert np.array_equal(loaded[0, 1], expected)
    assert set(once.values()) == set(twice.values()) == {1}


class Watched(xr.backends.BackendArray):
    """A file that notes what is asked of it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.asked: list[int] = []

    def __getitem__(self, key):
        return xr.core.indexing.explicit_indexing_adapter(
            key, self.shape, xr.core.indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key):
        self.asked.append(self.values[key].size)
        return self.values[key]

    def opened(self, **encoding) -> xr.DataArray:
        array = wrap(self.values, ["B2", "B3"])
        lazy = array.copy(data=xr.core.indexing.LazilyIndexedArray(self))
        lazy.encoding = encoding
        return lazy


def test_a_file_without_chunks_is_read_window_by_window():
    file = Watched(np.arange(2 * 400 * 500, dtype="int32").reshape(2, 400, 500))
    raster = read(file.opened())
    assert file.asked == []
    raster.load(10, 20, 30, 40)
    raster.only([1]).load(10, 20, 30, 40)
    assert file.asked == [2 * 30 * 40, 30 * 40]


def test_a_chunk_of_a_file_is_decoded_once():
    file = Watched(np.arange(2 * 700 * 800, dtype="int32").reshape(2, 700, 800))
    raster = read(file.opened(preferred_chunks={"band": 2, "y": 300, "x": 500}))
    for row in range(0, 700, 50):
        part = np.concatenate([raster.load(row, c, 50, 80) for c in range(0, 800, 80)], axis=-1)
        assert np.array_equal(part[0], file.values[:, row : row + 50])
    assert sorted(file.asked) == sorted(2 * h * w for h in (300, 300, 100) for w in (500, 300))


PEAK = """
import resource, sys
import dask, dask.array as da, numpy as np, xarray as xr
from rs_embed.core.result import unwrap_or_raise
from rs_embed.raster import read_xarray
dask.config.set(scheduler="threads", num_workers=2)
side = 10980
data = da.random.default_rng(0).integers(
    0, 10000, (6, side, side), chunks=(6, 1024, 1024), dtype="uint16"
) + np.uint16(1)
array = xr.DataArray(
    data, dims=("band", "y", "x"),
    coords={"band": ["B2", "B3", "B4", "B8", "B11", "B12"],
            "y": 4700020 - 10 * (np.arange(side) + 0.5),
            "x": 600000 + 10 * (np.arange(side) + 0.5)},
    attrs={"crs": "EPSG:32719", "units": "reflectance_x10000"},
)
raster = unwrap_or_raise(read_xarray(array))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for row in range(0, 2 * 1024, 256):
    for col in range(0, side - 256, 256):
        raster.load(row, col, 256, 256)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_peak_memory_over_a_sentinel2_tile_is_a_row_of_chunks():
    # 1447 MB as uint16; a row of chunks is 135 MB, and two are computed at a time.
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PEAK], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 400


class TestReading:
    GRID = Grid("EPSG:32719", Affine(10, 0, LEFT, 0, -10, TOP), (40, 50))

    @pytest.fixture
    def raster(self) -> Raster:
        numbers = np.arange(2 * 40 * 50, dtype=np.float32).reshape(2, 40, 50)
        return read(wrap(numbers, ["B2", "B3"]))

    def test_native_pixels_come_back_bit_for_bit(self, raster):
        inside = raster.read(self.GRID.window(3, 4, 10, 12))
        assert np.array_equal(inside, raster.load(3, 4, 10, 12))

    def test_beyond_the_array_is_nan(self, raster):
        wider = raster.read(around(self.GRID, 2, 3, 4, 5))
        assert np.array_equal(wider[..., 2:-4, 3:-5], raster.load(0, 0, 40, 50))
        assert np.isnan(wider).sum() == 2 * (46 * 58 - 40 * 50)
        assert np.isnan(raster.read(self.GRID.window(100, 100, 4, 4))).all()

    def test_three_by_three_pixels_are_averaged_without_the_missing(self):
        numbers = np.arange(1.0, 37.0, dtype=np.float32).reshape(1, 6, 6)
        numbers[0, 0, 0] = np.nan
        numbers[0, 3:, 3:] = np.nan
        raster = read(wrap(numbers, ["B2"]))
        coarse = raster.read(raster.grid.coarsen(3))[0, 0]
        assert coarse[0, 0] == (2 + 3 + 7 + 8 + 9 + 13 + 14 + 15) / 8
        assert coarse[0, 1] == (4 + 5 + 6 + 10 + 11 + 12 + 16 + 17 + 18) / 9
        assert coarse[1, 0] == (19 + 20 + 21 + 25 + 26 + 27 + 31 + 32 + 33) / 9
        assert np.isnan(coarse[1, 1])

    def test_off_the_lattice_the_nearest_pixel_holds(self, raster):
        moved = Grid("EPSG:32719", Affine(10, 0, LEFT + 4, 0, -10, TOP - 4), (3, 3))
        assert np.array_equal(raster.read(moved), raster.load(0, 0, 3, 3))
        further = Grid("EPSG:32719", Affine(10, 0, LEFT + 6, 0, -10, TOP - 6), (3, 3))
        assert np.array_equal(raster.read(further), raster.load(1, 1, 3, 3))
