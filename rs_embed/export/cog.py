"""An embedding as a cloud-optimised GeoTIFF, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_embed.core.embedding import FEATURE, META_ATTR
from rs_embed.core.grid import Grid
from rs_embed.export.formats import with_mark
from rs_embed.raster.embedding_array import grid_coords

if TYPE_CHECKING:
    import xarray as xr

_TILE_BYTES = 4 << 20  # of one tile, all features in it
_CACHE_BYTES = 8 << 20  # GDAL's own
_SMALLEST = 512  # pixels a side from which on smaller versions are kept


def write_cog(array: xr.DataArray, grid: Grid, out: Path) -> None:
    """A GeoTIFF of one band a feature, NaN for missing, the description in a tag.

    The driver of COGs copies a raster that is there, so one is written before, beside the other:
    feature by feature, since overviews are then made of one feature at a time. Memory holds some
    tiles of each, whatever the size of the grid.
    """
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.shutil import copy

    tile = _tile_px(array.sizes[FEATURE])
    levels = _levels(max(array.sizes["y"], array.sizes["x"]))
    first = out.with_name("tiles.tif")
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
            _write_tiles(array, grid, first, tile, levels)
            copy(
                first, out, driver="COG", compress="DEFLATE", blocksize=tile, bigtiff="IF_SAFER",
                overviews="FORCE_USE_EXISTING" if levels else "NONE",
            )  # fmt: skip
    except RasterioError as error:
        raise OSError(str(error)) from error
    finally:
        first.unlink(missing_ok=True)


def _write_tiles(array: xr.DataArray, grid: Grid, path: Path, tile: int, levels: list[int]) -> None:
    import rasterio
    from rasterio.crs import CRS
    from rasterio.enums import Resampling

    marked = with_mark(array)
    crs = CRS.from_wkt(grid_coords(grid)["spatial_ref"].attrs["crs_wkt"])
    size = {"count": array.sizes[FEATURE], "height": array.sizes["y"], "width": array.sizes["x"]}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=array.dtype, nodata=np.nan, **size,
        crs=crs, transform=grid.transform,
        tiled=True, blockxsize=tile, blockysize=tile, interleave="band", bigtiff="IF_SAFER",
    ) as raster:  # fmt: skip
        raster.update_tags(**_tags(marked))
        if FEATURE in array.coords:
            raster.descriptions = tuple(str(name) for name in array[FEATURE].values)
        for rows, cols in _parts(array, tile):
            values = np.asarray(array.isel(y=slice(*rows), x=slice(*cols)))
            raster.write(values, window=(rows, cols))
    if levels:
        with rasterio.open(path, "r+") as raster:
            raster.build_overviews(levels, Resampling.average)


def _tags(marked: xr.DataArray) -> dict[str, str]:
    """The description, and the date of an entry of a series."""
    tags = {META_ATTR: str(marked.attrs[META_ATTR])}
    if "time" in marked.coords and marked["time"].ndim == 0:
        tags["time"] = str(marked["time"].values)
    return tags


def _parts(array: xr.DataArray, tile: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Rows and columns of each part: of a lazy array its own chunks, each computed once."""
    chunks = array.chunksizes
    ends = [
        list(accumulate(chunks[dim]))
        if dim in chunks
        else [*range(tile, array.sizes[dim], tile), array.sizes[dim]]
        for dim in ("y", "x")
    ]
    rows, cols = (list(zip([0, *stops[:-1]], stops, strict=True)) for stops in ends)
    yield from product(rows, cols)


def _tile_px(features: int) -> int:
    """Pixels a side of a tile: 512 as usual, fewer where many features would make it heavy."""
    fits = [px for px in (512, 256, 128, 64) if px * px * 4 * features <= _TILE_BYTES]
    return fits[0] if fits else 64


def _levels(side: int) -> list[int]:
    """Factors of the smaller versions, down to one of at most 512 pixels a side."""
    return [2**k for k in range(1, 20) if side / 2 ** (k - 1) > _SMALLEST]
